"""HTTP/1.1 as bytes on a socket: it sends what a test says, however wrong, and reads answers strictly.

Nothing is smoothed over. An answer that is not framed as RFC 9112 has it, or that promises more bytes than come,
fails the test at once; bytes after an answer stay for the next ``read_response``.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Address = tuple[str, int] | str  # TCP, or a unix socket's path (an abstract one begins with NUL)
Headers = Iterable[tuple[str, str]]

TIMEOUT = 10.0  # seconds for any one wait

_STATUS_LINE = re.compile(r"(HTTP/1\.1) ([1-9][0-9]{2}) ([\t -~\x80-\xff]*)")
_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t ]*([\t -~\x80-\xff]*)")
_CHUNK_LINE = re.compile(rb"[0-9a-fA-F]+")


class EndOfStream(AssertionError):
    """The server closed the connection before the answer was complete."""


@dataclass
class Response:
    """An answer; ``body`` is what came after transfer coding was taken off."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)  # as they were framed, when they were
    interim: list[int] = field(default_factory=list)  # the 1xx statuses before it

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The value of a header that comes once or not at all."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def text(self) -> str:
        return self.body.decode("latin-1")

    @property
    def is_chunked(self) -> bool:
        return self.get("Transfer-Encoding") == "chunked"

    @property
    def says_close(self) -> bool:
        return self.get("Connection") == "close"


class HttpClient:
    """One connection.

    Args:
        timeout: Seconds until a wait fails the test.
        tls: The context for TLS; None for none.
        server_name: The name to ask for in TLS.
        source: The address to come from.

    Attributes:
        status_line: What an answer begins with: version, status and reason.
    """

    status_line = _STATUS_LINE

    def __init__(
        self,
        address: Address,
        timeout: float = TIMEOUT,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str = "127.0.0.1",
        source: str = "",
    ) -> None:
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            try:
                self.sock.connect(address)
            except OSError:
                self.sock.close()
                raise
        else:
            self.sock = socket.create_connection(address, timeout, (source, 0) if source else None)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_name, suppress_ragged_eofs=False)
        self.was_reset = False  # the server ended the connection by an RST, which may eat an answer
        self._buffer = bytearray()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Sending

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_request(
        self,
        method: str = "GET",
        target: str = "/",
        headers: Headers = (),
        body: bytes | None = None,
        version: str = "HTTP/1.1",
    ) -> None:
        """Send a request; a ``body`` gets its Content-Length, HTTP/1.1 a Host, unless ``headers`` have them."""
        self.send(request_bytes(method, target, headers, body, version))

    def request(
        self,
        method: str = "GET",
        target: str = "/",
        headers: Headers = (),
        body: bytes | None = None,
        version: str = "HTTP/1.1",
    ) -> Response:
        self.send_request(method, target, headers, body, version)
        return self.read_response(method)

    def end_sending(self) -> None:
        """Half-close: the server reads the end of the stream, and may still answer."""
        self.sock.shutdown(socket.SHUT_WR)

    # Reading

    def read_response(self, method: str = "GET") -> Response:
        """Read the final answer to a request of that method, 1xx before it included."""
        interim: list[int] = []
        while True:
            response = self.read_head()
            if response.status >= 200:
                break
            interim.append(response.status)
        response.interim = interim
        pieces = list(self.read_pieces(response, method))
        if response.is_chunked:
            response.chunks = pieces
        response.body = b"".join(pieces)
        return response

    def read_head(self) -> Response:
        """Read a status line and headers."""
        head = bytes(self._read_until(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
        match = self.status_line.fullmatch(line)
        assert match, f"not a status line: {line!r}"
        headers = []
        for text in fields:
            pair = _FIELD.fullmatch(text)
            assert pair, f"not a header: {text!r}"
            headers.append((pair[1], pair[2].strip(" \t")))
        return Response(int(match[2]), match[3], headers)

    def read_pieces(self, response: Response, method: str = "GET") -> Iterator[bytes]:
        """Read the body piece by piece, holding none of it (RFC 9112 6.3)."""
        length = response.get("Content-Length")
        assert not (length and response.is_chunked), "both framings at once"
        if method == "HEAD" or response.status in (204, 304) or response.status < 200:
            assert not response.is_chunked, "a coding without a body"
            return
        if response.is_chunked:
            while True:
                line = bytes(self._read_until(b"\r\n"))[:-2]
                assert _CHUNK_LINE.fullmatch(line), f"not a chunk line: {line!r}"
                size = int(line, 16)
                piece = self.read_exactly(size + 2)
                assert piece.endswith(b"\r\n"), "a chunk that does not end where it should"
                if not size:
                    return
                yield piece[:-2]
        elif length is not None:
            left = int(length)
            while left:
                piece = self.read_some(left)
                left -= len(piece)
                yield piece
        else:
            assert response.says_close, "a body of unknown length on a connection that stays open"
            with contextlib.suppress(EndOfStream):
                while True:
                    yield self.read_some()

    def read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        return self._take(size)

    def read_some(self, at_most: int = 1 << 20) -> bytes:
        """Wait for at least a byte."""
        if not self._buffer:
            self._fill()
        return self._take(min(at_most, len(self._buffer)))

    def read_to_end(self) -> bytes:
        """Everything until the server closes; a reset is an end as well."""
        with contextlib.suppress(EndOfStream):
            while True:
                self._fill()
        return self._take(len(self._buffer))

    def assert_ended(self) -> None:
        """Nothing more comes, and the server has closed its side."""
        rest = self.read_to_end()
        assert rest == b"", f"more than the answer came: {rest[:200]!r}"

    def is_silent(self, seconds: float) -> bool:
        """Whether neither a byte nor the end comes for so long."""
        if self._buffer:
            return False
        before = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            self._fill()
        except TimeoutError:
            return True
        except EndOfStream:
            pass
        finally:
            self.sock.settimeout(before)
        return False

    # Leaving

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Leave with an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _fill(self) -> None:
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionError as exc:
            self.was_reset = True
            raise EndOfStream(f"the server broke the connection: {exc}; so far {bytes(self._buffer)!r:.200}") from exc
        if not data:
            raise EndOfStream(f"the server closed the connection; so far {bytes(self._buffer)!r:.200}")
        self._buffer += data

    def _take(self, size: int) -> bytes:
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return data

    def _read_until(self, mark: bytes) -> bytes:
        while True:
            at = self._buffer.find(mark)
            if at >= 0:
                return self._take(at + len(mark))
            self._fill()


def request_bytes(
    method: str = "GET",
    target: str = "/",
    headers: Headers = (),
    body: bytes | None = None,
    version: str = "HTTP/1.1",
) -> bytes:
    """Return a well-formed request, unless ``headers`` or the other arguments make it otherwise."""
    fields = list(headers)
    names = {name.lower() for name, _ in fields}
    if version == "HTTP/1.1" and "host" not in names:
        fields.insert(0, ("Host", "test.example"))
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """Return a body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


def fetch(address: Address, target: str = "/", headers: Headers = (), method: str = "GET") -> Response:
    """Make one request on a connection of its own."""
    with HttpClient(address) as client:
        return client.request(method, target, headers)


def resident_kib(pid: int, what: str = "VmRSS") -> int:
    """A process's resident memory; ``VmHWM`` for its peak."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith(what + ":"):
                return int(line.split()[1])
    raise AssertionError(f"no {what} of {pid}")


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
