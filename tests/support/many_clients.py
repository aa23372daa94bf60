"""Many WebSocket clients in one thread: they chat with an echo, and come back when the server sends them away.

What happened to each connection is counted, and nothing is smoothed over: an end without a close frame is 1006.
"""

from __future__ import annotations

import errno
import selectors
import socket
import threading
import time
from collections import Counter, deque

from support.eventually import eventually
from support.websocket_client import CLOSE, PING, PONG, TEXT, close_frame, frame, handshake, text

_CONNECTING, _SHAKING, _OPEN, _CLOSING = range(4)


class _Client:
    def __init__(self, number: int) -> None:
        self.number = number
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.state = _CONNECTING
        self.buffer = b""


class ManyClients:
    """``size`` clients, each connected or reconnecting, driven by one thread.

    Args:
        path: The path of the echo.
        talkers: How many of them send a message, and the next one whenever the last has come back.
        may_be_refused: Another answer to an opening handshake than 101, or none, is counted. Else it is a failure.

    Attributes:
        codes: Close codes that came, by number of connections; 1006 counts ends without one.
        closed: Close frames that came, by client, whatever its connection.
        refused: Connections that could not be made.
        answers: Answers to opening handshakes other than 101, by status; 0 counts ends without one.
        away: Seconds that clients were without an open connection, after each close frame.
        opened_at: Monotonic times at which handshakes were completed.
        echoes: Messages that came back.
    """

    def __init__(
        self, port: int, size: int, path: str = "/", talkers: int = 20, *, may_be_refused: bool = False
    ) -> None:
        self.codes: Counter[int] = Counter()
        self.closed: Counter[int] = Counter()
        self.refused = 0
        self.answers: Counter[int] = Counter()
        self.away: list[float] = []
        self.echoes = 0
        self._looks = 0  # at all connections
        self.opened_at: list[float] = []
        self.open = 0
        self._address = ("127.0.0.1", port)
        self._handshake = handshake(path)
        self._talkers = talkers
        self._may_be_refused = may_be_refused
        self._left_at: dict[int, float] = {}
        self._selector = selectors.DefaultSelector()
        self._missing = deque(range(size))  # those that are to connect
        self._shaking = 0
        self._talking: set[_Client] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="many clients", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Drop all connections."""
        self._stop.set()
        self._thread.join()

    def look_around(self) -> None:
        """Wait until every connection that has ended so far is counted."""
        seen = self._looks
        eventually(lambda: self._looks >= seen + 2)

    def __enter__(self) -> ManyClients:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.leave()

    def _run(self) -> None:
        while not self._stop.is_set():
            # A browser does not retry at once either; and the backlog is as long as it is.
            while self._missing and self._shaking < 50:
                self._connect()
            for key, _ in self._selector.select(0.05):
                self._progress(key.data)
            self._looks += 1
        for key in list(self._selector.get_map().values()):
            key.data.sock.close()
        self._selector.close()

    def _connect(self) -> None:
        client = _Client(self._missing.popleft())
        self._shaking += 1
        client.sock.connect_ex(self._address)
        self._selector.register(client.sock, selectors.EVENT_WRITE, client)

    def _progress(self, client: _Client) -> None:
        if client.state == _CONNECTING:
            failure = client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failure:
                assert failure in (errno.ECONNREFUSED, errno.ECONNRESET), errno.errorcode[failure]
                self.refused += 1
                self._drop(client)
                return
            client.sock.send(self._handshake)
            client.state = _SHAKING
            self._selector.modify(client.sock, selectors.EVENT_READ, client)
            return
        try:
            data = client.sock.recv(65_536)
        except ConnectionError:
            data = b""
        if not data:
            if client.state == _SHAKING and self._may_be_refused:
                self.answers[0] += 1
            elif client.state != _CLOSING:
                self.codes[1006] += 1
            self._drop(client)
            return
        client.buffer += data
        if client.state == _SHAKING:
            head, end, rest = client.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if self._may_be_refused and not head.startswith(b"HTTP/1.1 101 "):
                self.answers[int(head[9:12])] += 1
                self._drop(client)
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            client.state, client.buffer = _OPEN, rest
            self._shaking -= 1
            self.open += 1
            self.opened_at.append(now := time.monotonic())
            if client.number in self._left_at:
                self.away.append(now - self._left_at.pop(client.number))
            if len(self._talking) < self._talkers:
                self._talking.add(client)
                client.sock.send(text("hello"))
        if client.state == _OPEN:
            self._read_frames(client)

    def _read_frames(self, client: _Client) -> None:
        while len(client.buffer) >= 2 and len(client.buffer) >= 2 + client.buffer[1]:
            opcode, length = client.buffer[0] & 0x0F, client.buffer[1]
            payload, client.buffer = client.buffer[2 : 2 + length], client.buffer[2 + length :]
            if opcode == TEXT:
                assert payload == b"hello", payload
                self.echoes += 1
                client.sock.send(text("hello"))
            elif opcode == PING:
                client.sock.send(frame(PONG, payload))
            elif opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big")
                self.codes[code] += 1
                self.closed[client.number] += 1
                self._left_at[client.number] = time.monotonic()
                client.state = _CLOSING
                client.sock.send(close_frame(code))
                return

    def _drop(self, client: _Client) -> None:
        if client.state in (_CONNECTING, _SHAKING):
            self._shaking -= 1
        else:
            self.open -= 1
        self._talking.discard(client)
        self._selector.unregister(client.sock)
        client.sock.close()
        self._missing.append(client.number)
