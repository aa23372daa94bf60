"""A WebSocket client that can do everything wrong: frames built by hand, sent over a plain blocking socket.

It shares no code with the server: what it checks of the server's frames is written out again here.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = bytes.fromhex("37fa213d")  # of the examples in RFC 6455 5.7
NONCE = "dGhlIHNhbXBsZSBub25jZQ=="  # of the example in RFC 6455 1.3
DEADLINE = 10.0  # seconds that any one wait may take


def masked(payload: bytes, key: bytes = KEY) -> bytes:
    """RFC 6455 5.3, as one XOR of two long numbers."""
    keys = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(len(payload), "big")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    key: bytes | None = KEY,
    length: int | None = None,
    length_bytes: int | None = None,
) -> bytes:
    """Return a client's frame.

    Args:
        opcode: Any of 0 to 15.
        payload: Before masking.
        fin: The first bit.
        rsv: The three bits after it, 0 to 7.
        key: The masking key; None leaves the frame unmasked.
        length: What the header claims, if not the payload's.
        length_bytes: 0, 2 or 8 further bytes of length, if not the fewest.
    """
    length = len(payload) if length is None else length
    if length_bytes is None:
        length_bytes = 0 if length < 126 else 2 if length < 65_536 else 8
    first = fin << 7 | rsv << 4 | opcode
    second = (key is not None) << 7 | {0: length, 2: 126, 8: 127}[length_bytes]
    header = bytes((first, second)) + (length.to_bytes(length_bytes, "big") if length_bytes else b"")
    return header + (payload if key is None else key + masked(payload, key))


def text(message: str, **bits: object) -> bytes:
    return frame(TEXT, message.encode(), **bits)  # type: ignore[arg-type]


def close_frame(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def handshake(
    path: str = "/", headers: Iterable[tuple[str, str]] = (), *, without: Iterable[str] = (), start: str = ""
) -> bytes:
    """Return an opening handshake: the valid one, some headers replaced, added or left out.

    Args:
        path: The request's target.
        headers: Each takes the place of the valid one's header of its name, or is added.
        without: Names of headers to leave out.
        start: Another request line.
    """
    fields = [
        ("Host", "127.0.0.1"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", NONCE),
        ("Sec-WebSocket-Version", "13"),
    ]
    headers = list(headers)
    replaced = {name.lower() for name, _ in headers} | {name.lower() for name in without}
    fields = [field for field in fields if field[0].lower() not in replaced] + headers
    lines = [start or f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")


class Frame(NamedTuple):
    """A frame as it came from the server."""

    fin: bool
    opcode: int
    payload: bytes


class Response(NamedTuple):
    """The head of a response; names of headers in lower case."""

    status: int
    reason: str
    headers: dict[str, str]


class RawClient:
    """One connection to a server on this machine.

    Args:
        peer: The server's port, or a socket that is connected to it already.
        receive_buffer: Bytes that the kernel keeps for us, to be a slow reader; None leaves it alone.
    """

    def __init__(self, peer: int | socket.socket, *, receive_buffer: int | None = None) -> None:
        self._buffer = bytearray()
        if not isinstance(peer, int):
            self.sock = peer
            return
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect(("127.0.0.1", peer))

    @classmethod
    def open(cls, port: int, path: str = "/", *, early: bytes = b"", receive_buffer: int | None = None) -> RawClient:
        """Return a client that has completed the opening handshake; ``early`` goes with the request."""
        client = cls(port, receive_buffer=receive_buffer)
        try:
            client.shake_hands(handshake(path) + early)
        except BaseException:
            client.close()
            raise
        return client

    def shake_hands(self, request: bytes) -> Response:
        """Send an opening handshake and return the answer, which must accept it."""
        self.send(request)
        response = self.read_response()
        digest = hashlib.sha1(NONCE.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        assert response.status == 101, response
        assert response.headers["sec-websocket-accept"] == base64.b64encode(digest).decode()
        return response

    # Sending

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_text(self, message: str) -> None:
        self.send(text(message))

    # Receiving

    def _fill(self) -> bool:
        data = self.sock.recv(65_536)
        self._buffer += data
        return bool(data)

    def read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            assert self._fill(), f"the stream ended; only {bytes(self._buffer)!r} of {count} bytes came"
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def read_response(self) -> Response:
        """Read a response's head; its body, if any, stays to be read."""
        while b"\r\n\r\n" not in self._buffer:
            assert self._fill(), f"the stream ended inside a head: {bytes(self._buffer)!r}"
        head = self.read(self._buffer.index(b"\r\n\r\n") + 4).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        version, status, reason = first.split(" ", 2)
        assert version == "HTTP/1.1"
        fields = (line.split(": ", 1) for line in lines)
        return Response(int(status), reason, {name.lower(): value for name, value in fields})

    def read_frame(self) -> Frame:
        """Read one frame, and check all that RFC 6455 5 asks of a server's."""
        first, second = self.read(2)
        fin, opcode = first >= 0x80, first & 0x0F
        assert not first & 0x70, "reserved bits in a server's frame"
        assert opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
        assert second < 0x80, "a server's frame is masked"
        length = second
        if second == 126:
            (length,) = struct.unpack("!H", self.read(2))
            assert length > 125, "not the shortest form"
        elif second == 127:
            (length,) = struct.unpack("!Q", self.read(8))
            assert length > 65_535, "not the shortest form"
        assert opcode < 8 or (fin and length <= 125), "a control frame that is fragmented or too long"
        return Frame(fin, opcode, self.read(length))

    def read_all(self) -> bytes:
        """Read to the end of the stream."""
        while self._fill():
            pass
        return self.read(len(self._buffer))

    def expect(self, opcode: int, payload: bytes) -> None:
        """The next frame is this one, whole."""
        came = self.read_frame()
        assert came == (True, opcode, payload), f"{came!r:.200} came, not opcode {opcode} with {payload!r:.200}"

    def expect_text(self, message: str) -> None:
        self.expect(TEXT, message.encode())

    def expect_binary(self, message: bytes) -> None:
        self.expect(BINARY, message)

    def expect_pong(self, payload: bytes) -> None:
        self.expect(PONG, payload)

    def expect_close(self, code: int | None, reason: str = "") -> None:
        """The next frame is a close frame with this code and reason; None: with neither."""
        _, opcode, payload = self.read_frame()
        assert opcode == CLOSE, f"opcode {opcode} with {payload[:80]!r} came before the close frame"
        expected = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
        assert payload == expected, f"close frame with {payload!r}, not {expected!r}"

    def expect_eof(self) -> None:
        """The server has ended the stream, in order, and nothing came before that."""
        more = self._fill()
        assert not self._buffer, f"bytes before the end of the stream: {bytes(self._buffer[:80])!r}"
        assert not more

    def expect_end(self) -> None:
        """The server has ended the stream, by whatever means."""
        try:
            while self._fill():
                pass
        except ConnectionError:
            pass

    # Ending

    def finish(self, code: int = 1000) -> None:
        """Do the closing handshake."""
        self.send(close_frame(code))
        self.expect_close(code)
        self.expect_eof()
        self.close()

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Drop the connection by a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
