"""Publishers that number what they send, and readers that write down what comes; both come back when cut off."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
import time

from support.websocket_client import CLOSE, PING, PONG, RawClient
from support.websocket_client import frame as encode

from chaos.checker import GAP, Session

__all__ = ["Publisher", "Reader", "Returning"]

#: Messages sent at once, and acknowledged together.
BURST = 25
_RECOVERED = re.compile(rb"recovered (\w+) (\S+)$")
_MESSAGE = re.compile(rb"([^ :]+):([0-9]+) +x*$")


class Client(threading.Thread):
    """A thread that talks over one connection after the other, until ``end``."""

    def __init__(self, label: str, port: int) -> None:
        super().__init__(name=label, daemon=True)
        self.label = label
        self._port = port
        self._is_over = threading.Event()
        self._client: RawClient | None = None

    def path(self) -> str:
        raise NotImplementedError

    def talk(self, client: RawClient) -> None:
        raise NotImplementedError

    def run(self) -> None:
        while not self._is_over.is_set():
            # A server that is down refuses; one that stands still, or dies, leaves an answer half.
            with contextlib.suppress(OSError, AssertionError), RawClient.open(self._port, self.path()) as client:
                self._client = client
                if not self._is_over.is_set():
                    client.sock.settimeout(60)
                    self.talk(client)
            self._is_over.wait(0.05)

    def end(self) -> None:
        self._is_over.set()
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.sock.shutdown(socket.SHUT_RDWR)
        self.join(15)


class Publisher(Client):
    """Sends ``count`` messages within ``seconds``, later those that it could not; then one now and then.

    Args:
        begun: Takes note of when each life began.

    Attributes:
        size: Bytes of a message from now on.
        sent: Messages that a worker has taken.
        last: The life and number of the latest of them.
    """

    def __init__(self, label: str, port: int, count: int, seconds: float, begun: dict[str, float]) -> None:
        super().__init__(label, port)
        self._count = count
        self._seconds = seconds
        self._begun = begun
        self._lives = itertools.count()
        self._start = time.monotonic()
        self.size = 100
        self.sent = 0
        self.last = ("", -1)

    def path(self) -> str:
        self._life = f"{self.label}.{next(self._lives)}"
        self._begun[self._life] = time.monotonic()
        return "/publish"

    def talk(self, client: RawClient) -> None:
        number = 0
        while not self._is_over.is_set():
            left = self._count - self.sent
            burst = min(BURST, left) if left > 0 else 1
            lines = [f"{self._life}:{number + i} ".ljust(self.size, "x") for i in range(burst)]
            client.send_text("\n".join(lines))
            number += burst
            client.expect_text(f"{self._life}:{number - 1}")
            self.sent += burst
            self.last = (self._life, number - 1)
            due = self._start + self._seconds * self.sent / self._count if left > 0 else time.monotonic() + 0.1
            self._is_over.wait(max(0.0, due - time.monotonic()))


class Reader(Client):
    """Writes down what comes.

    Attributes:
        sessions: Its connections.
        last: The latest number of each life in the session of now.
    """

    def __init__(self, label: str, port: int, how: str) -> None:
        super().__init__(label, port)
        self._how = how
        self.sessions: list[Session] = []
        self.last: dict[str, int] = {}

    def path(self) -> str:
        return f"{self._how}?{self.label}"

    def talk(self, client: RawClient) -> None:
        session = self.begin()
        self.sessions.append(session)
        self.last = {}
        while (frame := client.read_frame()).opcode != CLOSE:
            if frame.opcode == PING:
                client.send(encode(PONG, frame.payload))
            elif not self.take(session, frame.payload):
                session.strange.append(repr(frame)[:200])

    def begin(self) -> Session:
        return Session(self.label)

    def take(self, session: Session, text: bytes) -> bool:
        """Write down what has come; False if it is strange."""
        if text == b"gap":
            session.items.append(GAP)
        elif found := _MESSAGE.match(text):
            life, number = str(found[1], "ascii"), int(found[2])
            session.items.append((life, number))
            self.last[life] = number
        else:
            return False
        session.times.append(time.monotonic())
        return True


class Returning(Reader):
    """A reader that tells where it was when it comes back."""

    def __init__(self, label: str, port: int, how: str) -> None:
        super().__init__(label, port, how)
        self._position = "latest"

    def path(self) -> str:
        return f"{self._how}?{self._position}"

    def begin(self) -> Session:
        return Session(self.label, missed_until=None)

    def take(self, session: Session, text: bytes) -> bool:
        if found := _RECOVERED.match(text):
            session.recovered = found[1] == b"True"
            session.missed_until = len(session.items)
            if not session.items and found[2] != b"None":
                self._position = str(found[2], "ascii")
            return True
        if text == b"gap":
            return super().take(session, text)
        position, _, text = text.partition(b" ")
        if not super().take(session, text):
            return False
        self._position = str(position, "ascii")
        return True
