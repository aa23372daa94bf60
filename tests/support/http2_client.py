"""HTTP/2 from the client's side, by the h2 library over a blocking socket; and frames by hand, for what h2 refuses.

One thread drives a connection: while it waits for one stream it also takes what comes for the others.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from support.peers import require_module
from support.websocket_client import RawClient

TIMEOUT = 10.0  # seconds for any one wait
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
ENHANCE_YOUR_CALM, REFUSED_STREAM, CANCEL = 0xB, 0x7, 0x8


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """Return a frame, also one that is wrong."""
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


@dataclass
class StreamState:
    """What has come on a stream."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    interim: list[int] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    last_piece: int = 0  # bytes of the last DATA frame
    ended: bool = False
    reset: int | None = None


def _forgiving(kind: type) -> type:
    """Return a connection of h2's in which streams go on after a GOAWAY."""
    terminated = require_module("h2.events").ConnectionTerminated

    class Connection(kind):  # type: ignore[misc]
        def _receive_goaway_frame(self, frame: Any) -> tuple[list[Any], list[Any]]:
            event = terminated()
            event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
            return [], [event]

    return Connection


class Http2Client:
    """One connection.

    Args:
        tls: The context for TLS, in which h2 must be agreed on; None for none.
        window: Bytes of each stream that the client takes; it gives none back.
        source: The address to come from.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        tls: ssl.SSLContext | None = None,
        window: int | None = None,
        source: str = "",
    ) -> None:
        connection = require_module("h2.connection")
        config = require_module("h2.config").H2Configuration(client_side=True, header_encoding="latin-1")
        self.sock = socket.create_connection(address, TIMEOUT, (source, 0) if source else None)
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
            self.sock = tls.wrap_socket(self.sock, server_hostname="127.0.0.1")
            assert self.sock.selected_alpn_protocol() == "h2"  # type: ignore[attr-defined]
        self.scheme = "http" if tls is None else "https"
        self.h2 = _forgiving(connection.H2Connection)(config)
        self.h2.initiate_connection()
        if window is not None:
            self.h2.update_settings({4: window})
        self.h2.increment_flow_control_window(1 << 24)
        self.streams: dict[int, StreamState] = {}
        self.goodbye: tuple[int, int] | None = None  # GOAWAY's error code and last stream
        self.settings: dict[int, int] = {}
        self.pings = 0
        self.holds_back: set[int] = set()  # streams whose window is not opened again
        self.at_end = False
        self.flush()

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    # Waiting

    def pump(self) -> None:
        """Receive once, and handle what came."""
        try:
            data = self.sock.recv(65_536)
        except ConnectionError:
            data = b""
        if not data:
            self.at_end = True
            return
        for event in self.h2.receive_data(data):
            self._take(event)
        if not self.at_end:
            try:
                self.flush()
            except OSError:
                pass

    def wait(self, condition: Callable[[], object]) -> None:
        """Take what comes until ``condition`` holds, or fail at the end of the connection."""
        while not condition():
            assert not self.at_end, f"the connection has ended; goodbye {self.goodbye}, streams {self.streams}"
            self.pump()

    def wait_for_end(self) -> None:
        while not self.at_end:
            self.pump()

    def _take(self, event: object) -> None:
        name = type(event).__name__
        number = getattr(event, "stream_id", None)
        stream = self.streams.setdefault(number, StreamState()) if number else StreamState()
        if name in ("ResponseReceived", "InformationalResponseReceived"):
            headers = dict(event.headers)  # type: ignore[attr-defined]
            status = int(headers.pop(":status"))
            if name == "ResponseReceived":
                stream.status, stream.headers = status, headers
            else:
                stream.interim.append(status)
        elif name == "DataReceived":
            stream.body += event.data  # type: ignore[attr-defined]
            stream.last_piece = len(event.data)  # type: ignore[attr-defined]
            if number not in self.holds_back:
                self.h2.acknowledge_received_data(event.flow_controlled_length, number)  # type: ignore[attr-defined]
        elif name == "StreamEnded":
            stream.ended = True
        elif name == "StreamReset":
            stream.reset = int(event.error_code)  # type: ignore[attr-defined]
        elif name == "ConnectionTerminated":
            self.goodbye = (int(event.error_code), event.last_stream_id)  # type: ignore[attr-defined]
        elif name == "RemoteSettingsChanged":
            changed = event.changed_settings  # type: ignore[attr-defined]
            self.settings.update({int(key): value.new_value for key, value in changed.items()})
        elif name == "PingAckReceived":
            self.pings += 1

    # Requests

    def start(
        self,
        method: str = "GET",
        path: str = "/",
        headers: Iterable[tuple[str, str]] = (),
        *,
        ends: bool = True,
        authority: str = "127.0.0.1",
        pseudo: Iterable[tuple[str, str]] = (),
        early: bytes = b"",
    ) -> int:
        """Send a request's head, and ``early`` data in the same write; return its stream."""
        number: int = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", self.scheme), (":authority", authority), (":path", path), *pseudo]
        self.h2.send_headers(number, [*head, *headers], end_stream=ends)
        self.streams[number] = StreamState()
        if early:
            self.h2.send_data(number, early)
        self.flush()
        return number

    def send(self, number: int, data: bytes, *, ends: bool = False) -> None:
        """Send data, waiting for the server's window."""
        view = memoryview(data)
        while view:
            self.wait(lambda: self.h2.local_flow_control_window(number) > 0)
            room = min(self.h2.local_flow_control_window(number), 16_384)
            self.h2.send_data(number, bytes(view[:room]))
            view = view[room:]
            self.flush()
        if ends:
            self.h2.end_stream(number)
            self.flush()

    def response(self, number: int) -> StreamState:
        """Wait for a whole answer."""
        stream = self.streams[number]
        self.wait(lambda: stream.ended or stream.reset is not None)
        return stream

    def request(
        self, method: str = "GET", path: str = "/", headers: Iterable[tuple[str, str]] = (), body: bytes | None = None
    ) -> StreamState:
        number = self.start(method, path, headers, ends=body is None)
        if body is not None:
            self.send(number, body, ends=True)
        return self.response(number)

    def ping(self) -> None:
        """Send a ping and wait for its answer."""
        before = self.pings
        self.h2.ping(b"12345678")
        self.flush()
        self.wait(lambda: self.pings > before)

    # WebSockets

    def start_websocket(self, path: str = "/", headers: Iterable[tuple[str, str]] = (), early: bytes = b"") -> int:
        """Send an opening handshake (RFC 8441 4); return its stream."""
        self.wait(lambda: 8 in self.settings)
        version = [("sec-websocket-version", "13")]
        names = {name for name, _ in headers}
        fields = [*(version if "sec-websocket-version" not in names else []), *headers]
        return self.start("CONNECT", path, fields, ends=False, pseudo=[(":protocol", "websocket")], early=early)

    def websocket(self, path: str = "/", headers: Iterable[tuple[str, str]] = ()) -> StreamClient:
        """Return an open WebSocket, its frames made by hand."""
        return StreamClient(self.websocket_stream(path, headers))  # type: ignore[arg-type]  # see there

    def websocket_stream(
        self, path: str = "/", headers: Iterable[tuple[str, str]] = (), early: bytes = b""
    ) -> StreamSocket:
        """Return the stream of an open WebSocket; ``early`` goes with its opening handshake."""
        number = self.start_websocket(path, headers, early)
        stream = self.streams[number]
        self.wait(lambda: stream.status or stream.reset is not None)
        assert stream.status == 200, stream
        return StreamSocket(self, number)


class StreamSocket:
    """A stream as a blocking socket. RFC 8441 5: END_STREAM is TCP's FIN, RST_STREAM with CANCEL its RST.

    Args:
        is_shut: Whether the request is over: ``close`` resets the stream then.
    """

    def __init__(self, client: Http2Client, number: int, *, is_shut: bool = False) -> None:
        self.client = client
        self.number = number
        self._is_shut = is_shut
        self._resets = is_shut

    @property
    def state(self) -> StreamState:
        return self.client.streams[self.number]

    def sendall(self, data: bytes) -> None:
        self.client.send(self.number, data)

    def recv(self, size: int) -> bytes:
        state = self.state
        self.client.wait(lambda: state.body or state.ended or state.reset is not None)
        data = bytes(state.body[:size])
        del state.body[:size]
        if not data and not state.ended:
            raise ConnectionResetError(f"reset with {state.reset}")
        return data

    def shutdown(self, how: int) -> None:
        self._is_shut = True
        self.client.h2.end_stream(self.number)
        self.client.flush()

    def reset(self) -> None:
        self._is_shut = True
        self.client.h2.reset_stream(self.number, CANCEL)
        self.client.flush()

    def close(self) -> None:
        """End the stream, unless that has been done; the connection is its owner's."""
        if self._resets and not self.state.ended and self.state.reset is None:
            self.reset()
        if not self._is_shut and self.state.reset is None and not self.client.at_end:
            self.shutdown(socket.SHUT_WR)


class RawConnection:
    """A connection whose frames are all made by hand."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, TIMEOUT)
        self.sock.sendall(PREFACE + frame(SETTINGS) + frame(SETTINGS, flags=ACK))

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> bool:
        """Send; False when the server has had enough."""
        try:
            self.sock.sendall(data)
        except ConnectionError:
            return False
        return True

    def frames(self) -> list[tuple[int, int, int, bytes]]:
        """Return all frames to the end of the connection: kind, flags, stream, payload."""
        data = bytearray()
        try:
            while piece := self.sock.recv(65_536):
                data += piece
        except ConnectionError:
            pass
        found = []
        while len(data) >= 9:
            size = int.from_bytes(data[:3], "big")
            found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), bytes(data[9 : 9 + size])))
            del data[: 9 + size]
        return found

    def goodbye(self) -> int | None:
        """Wait for the end; return the error code of the GOAWAY before it, None if none came."""
        codes = [int.from_bytes(payload[4:8], "big") for kind, _, _, payload in self.frames() if kind == GOAWAY]
        return codes[-1] if codes else None


class StreamClient(RawClient):
    """A WebSocket in a stream."""

    sock: StreamSocket  # type: ignore[assignment]  # it has what a client uses of a socket
