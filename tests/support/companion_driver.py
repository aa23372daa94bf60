"""Plays the master and the worker for one process of a companion, over its sockets."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

#: Seconds after which a test has failed.
PATIENCE = 15.0

LARGEST = 1 << 20
VERSION = struct.pack("!HI", 1, LARGEST)


class Record(NamedTuple):
    type: str
    payload: bytes


def encode(kind: str, payload: bytes = b"") -> bytes:
    return kind.encode() + struct.pack("!I", len(payload)) + payload


def block(*pairs: tuple[str, str]) -> bytes:
    values = [value.encode() for pair in pairs for value in pair]
    return b"".join(struct.pack("<H", len(value)) + value for value in values)


def read_block(data: bytes) -> list[tuple[str, str]]:
    values = []
    while data:
        length = struct.unpack_from("<H", data)[0]
        values.append(data[2 : 2 + length].decode("latin-1"))
        data = data[2 + length :]
    return list(zip(values[::2], values[1::2], strict=True))


class Request:
    """One connection: what the worker sends for a request, and what comes back."""

    def __init__(self, sock: socket.socket, *sent: bytes) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)
        self._stream: IO[bytes] = sock.makefile("rb")
        sock.sendall(b"".join(sent))

    def send(self, *records: tuple[str, bytes]) -> None:
        self.sock.sendall(b"".join(encode(*record) for record in records))

    def next(self) -> Record | None:
        """Return the next record, None at the end.

        A count of the channel without a name is answered here: with it a library keeps its descriptor readable.
        """
        while head := self._stream.read(5):
            kind, length = struct.unpack("!cI", head)
            record = Record(kind.decode(), self._stream.read(length))
            if record.type != "N" or len(record.payload) > 4:
                return record
            with suppress(ConnectionError):  # it may have ended meanwhile
                self.send(("N", record.payload + bytes(4)))
        return None

    def expect(self, kind: str) -> bytes:
        record = self.next()
        assert record is not None, f"the end, not {kind}"
        assert record.type == kind, record
        return record.payload

    def rest(self) -> list[Record]:
        """Return all records up to the end."""
        found = []
        while (record := self.next()) is not None:
            found.append(record)
        return found

    def response(self) -> tuple[str, dict[str, str], bytes, str]:
        """Return status, headers, body and the error of the end, answering what is asked of the body by nothing."""
        pairs = read_block(self.expect("S"))
        records = self.rest()
        assert records, "no end"
        assert records[-1].type == "E", records
        assert {record.type for record in records[:-1]} <= {"B"}
        body = b"".join(record.payload for record in records[:-1])
        return pairs[0][1], dict(pairs[1:]), body, records[-1].payload.decode()

    def handshake(self) -> list[tuple[str, str]]:
        """Let the WebSocket open; return what the handshake was asked for with."""
        pairs = read_block(self.expect("H"))
        self.send(("H", b""))
        return pairs

    def close(self) -> None:
        self._stream.close()
        self.sock.close()

    def __enter__(self) -> Request:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Companion:
    """A process of a pool."""

    def __init__(self, command: Sequence[str], folder: Path, *, env: Iterable[tuple[str, str]] = ()) -> None:
        self._path = str(folder / "requests")
        self.log_path = folder / "companion.log"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self._path)
        listener.listen(1024)
        listener.setblocking(False)
        self.control, theirs = socket.socketpair()
        self.control.settimeout(PATIENCE)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("UWSGI_WS_")}
        environment |= {
            "UWSGI_WS_COMPANION": "1",
            "UWSGI_WS_COMPANION_FD": str(listener.fileno()),
            "UWSGI_WS_COMPANION_CONTROL_FD": str(theirs.fileno()),
            "UWSGI_WS_WORKER": "1",
            "UWSGI_WS_WORKERS": "1",
            "UWSGI_WS_CONCURRENCY": "1",
        }
        environment.update(env)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                pass_fds=(listener.fileno(), theirs.fileno()),
            )  # fmt: skip
        listener.close()
        theirs.close()

    def wait_until_ready(self) -> None:
        head = self.control.recv(11, socket.MSG_WAITALL)
        assert head[:7] == b"V\0\0\0\6\0\1", (head, self.log)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def request(self, path: str = "/", *, method: str = "GET", **variables: str) -> Request:
        """Send a request as a worker does."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self._path)
        all_variables = {"REQUEST_METHOD": method, "PATH_INFO": path, "SERVER_PROTOCOL": "HTTP/1.1", **variables}
        body = block(*all_variables.items())
        request = Request(
            sock, encode("V", VERSION), encode("Q", struct.pack("<BHB", 5, len(body), 0) + body)
        )  # fmt: skip
        assert request.expect("V")[:2] == b"\0\1"
        return request

    def websocket(self, path: str = "/", **variables: str) -> Request:
        """Send an opening handshake, and see it accepted."""
        request = self.request(path, HTTP_SEC_WEBSOCKET_KEY="dGhlIHNhbXBsZSBub25jZQ==", **variables)
        request.handshake()
        return request

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.wait()
        self.control.close()


@contextmanager
def started(command: Sequence[str], *, ready: bool = True, **env: str) -> Iterator[Companion]:
    """Start a process and end it; its log is shown where a test fails."""
    with tempfile.TemporaryDirectory() as folder:
        companion = Companion(command, Path(folder), env=env.items())
        try:
            if ready:
                companion.wait_until_ready()
            yield companion
        finally:
            companion.stop()
            print(companion.log)
