"""HTTP/2's cases against our server: ``python tests/compliance/http2.py``.

What RFC 9113, 7541 and 8441 say of servers, case by case (``http2_cases.py``), in the clear and through TLS with ALPN.
A case passes when what must come has come within two seconds, and the connection has ended if it had to, and else not.

Exit status: 0 when every case passed, 1 when some did not. ``--address HOST:PORT`` asks another server, which must
answer as the cases' application does, and ``--tls`` does so through TLS.
"""

from __future__ import annotations

import argparse
import re
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpack import Decoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

# A script finds the tests' helpers only after the line above.
from compliance.http2_cases import APPLICATION, CASES, Case, Seen, Want  # noqa: E402
from support.http2_client import PING, frame  # noqa: E402
from support.server import HTTP2_SOCKET, Server, faults  # noqa: E402
from support.tls import Authority, https  # noqa: E402

#: Seconds for what must come.
DEADLINE = 2.0
#: Ends what a case sends: its answer shows that the connection goes on.
PROBE = b"the last"
CARRIERS = ("h2c", "tls")


class Conversation:
    """One connection, and what has come on it."""

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self.sock = socket.create_connection(address, DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="127.0.0.1")
        self.seen = Seen()
        self._decoder = Decoder()
        self._data = bytearray()
        self._block = b""
        self._deadline = time.monotonic() + DEADLINE

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            pass  # whether the end was right, the case says

    def receive(self) -> bool:
        """Take what comes next; False at the end, or when time is up."""
        left = self._deadline - time.monotonic()
        if self.seen.is_over or left <= 0:
            return False
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65_536)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            self.seen.is_over = True
            return False
        self._data += data
        while len(self._data) >= 9:
            found, size = Frame.parse_frame_header(memoryview(bytes(self._data[:9])))
            if len(self._data) < 9 + size:
                break
            found.parse_body(memoryview(bytes(self._data[9 : 9 + size])))
            del self._data[: 9 + size]
            self._take(found)
        return True

    def _take(self, found: Frame) -> None:
        seen, stream = self.seen, found.stream_id
        if isinstance(found, SettingsFrame):
            if "ACK" in found.flags:
                seen.settings_acknowledged += 1
            else:
                seen.settings.update(found.settings)
        elif isinstance(found, PingFrame):
            if "ACK" in found.flags:
                seen.pongs.append(found.opaque_data)
        elif isinstance(found, (HeadersFrame, ContinuationFrame)):
            self._block += found.data
            if "END_HEADERS" in found.flags:
                fields = {str(name): str(value) for name, value in self._decoder.decode(self._block)}
                self._block = b""
                seen.heads.setdefault(stream, []).append(fields)
        elif isinstance(found, DataFrame):
            if found.data:
                seen.pieces.setdefault(stream, []).append(found.data)
        elif isinstance(found, RstStreamFrame):
            seen.resets.setdefault(stream, found.error_code)
        elif isinstance(found, GoAwayFrame):
            seen.goodbyes.append((found.last_stream_id, found.error_code))
        elif isinstance(found, WindowUpdateFrame):
            seen.opened[stream] = seen.opened.get(stream, 0) + found.window_increment
        if "END_STREAM" in found.flags:
            seen.ended.add(stream)


def fault(case: Case, address: tuple[str, int], tls: ssl.SSLContext | None) -> str | None:
    """Play a case; return what is wrong, None if nothing."""
    conversation = Conversation(address, tls)
    seen = conversation.seen
    with conversation.sock:
        conversation.send(case.greeting)
        for number, step in enumerate(case.steps):
            if isinstance(step, bytes):
                conversation.send(step)
                continue
            while not step.holds(seen) and conversation.receive():
                pass
            if not step.holds(seen):
                return f"step {number + 1} of {len(case.steps)} is never reached: {describe(seen)}"
        conversation.send(frame(PING, PROBE))
        while not any(_is_met(want, seen) for want in case.wants) and conversation.receive():
            pass
        if any(_is_met(want, seen) for want in case.wants):
            return None
    return f"{' or '.join(want.text for want in case.wants)} must come: {describe(seen)}"


def _is_met(want: Want, seen: Seen) -> bool:
    return (seen.is_over if want.ends else PROBE in seen.pongs) and want.holds(seen)


def describe(seen: Seen) -> str:
    """Return what has come, in words."""
    words = [f"stream {stream}: {[head.get(':status') for head in heads]}" for stream, heads in seen.heads.items()]
    words += [f"{len(seen.body(stream))} bytes on {stream}: {seen.body(stream)[:20]!r}" for stream in seen.pieces]
    words += [f"stream {stream} ended" for stream in seen.ended]
    words += [f"stream {stream} reset with {code}" for stream, code in seen.resets.items()]
    words += [f"GOAWAY {code} (last stream {last})" for last, code in seen.goodbyes]
    words.append("the end" if seen.is_over else f"pongs {seen.pongs}, no end")
    return ", ".join(words)


@contextmanager
def serving(carrier: str) -> Iterator[tuple[Server, ssl.SSLContext | None]]:
    """Run our server; give it, and what a client of it needs for TLS."""
    if carrier == "h2c":
        with Server(APPLICATION, "--disable-logging", program=HTTP2_SOCKET) as server:
            yield server, None
        return
    with tempfile.TemporaryDirectory(prefix="uwsgi_ws-http2-") as folder:
        authority = Authority(Path(folder))
        tls = authority.client_context()
        tls.set_alpn_protocols(["h2"])
        with Server(APPLICATION, "--disable-logging", program=https(authority.issue())) as server:
            yield server, tls


def play(carrier: str, cases: list[Case]) -> list[str]:
    """Play cases against our server; return what is wrong."""
    with serving(carrier) as (server, tls):
        wrong = play_at(server.addresses[0], tls, cases)
    wrong += [f"the server logged {found}" for found in faults(server.log)]
    return [f"{carrier}, {text}" for text in wrong]


def play_at(address: tuple[str, int], tls: ssl.SSLContext | None, cases: list[Case]) -> list[str]:
    """Play cases against a server; return what is wrong."""
    found = [(case, fault(case, address, tls)) for case in cases]
    return [f"{case.section}, {case.name}: {text}" for case, text in found if text is not None]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--address", help="HOST:PORT of another server")
    parser.add_argument("--tls", action="store_true", help="speak to it through TLS, whatever its certificate")
    parser.add_argument("pattern", nargs="?", default="", help="play only cases whose section and name match it")
    arguments = parser.parse_args()
    cases = [case for case in CASES if re.search(arguments.pattern, f"{case.section} {case.name}")]
    if arguments.address:
        host, _, port = arguments.address.rpartition(":")
        tls = None
        if arguments.tls:
            tls = ssl.create_default_context()
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
            tls.set_alpn_protocols(["h2"])
        carriers, wrong = ["there"], play_at((host, int(port)), tls, cases)
    else:
        carriers = list(CARRIERS)
        wrong = [text for carrier in carriers for text in play(carrier, cases)]
    for text in wrong:
        print(f"failed: {text}")
    played = len(cases) * len(carriers)
    print(f"http2: {played - len(wrong)} passed of {played}: {len(cases)} cases by {', '.join(carriers)}")
    return 1 if wrong or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
