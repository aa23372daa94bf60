"""A worker's end of a connection to a companion: what is written there, and by whom.

Several greenlets write: one has the client's messages, others those of channels, and the one that reads what the
companion says answers it. That last one must never wait for the companion to read: a companion that writes and does not
read meanwhile would wait for it in turn. So there are two ways to write, and records never interleave.
"""

from __future__ import annotations

import socket
from time import monotonic
from typing import Any

from gevent import sleep

from uwsgi_ws.channels.overflow import Overflow
from uwsgi_ws.errors import ClientGone
from uwsgi_ws.hub.own import OwnSocket
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.net.stream import SocketStream
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.outbox import COPY_LIMIT, Outbox

__all__ = ["Link", "connect"]

#: Bytes of answers that may wait for a companion that does not read them.
_MOST_ANSWERS = 1_048_576
#: Seconds between two attempts to get into a queue that is full.
_PAUSE = 0.01


def connect(path: str, timeout: float, poller: Poller, timers: Timers) -> SocketStream:
    """Connect to a unix socket; while its queue is full, of which the kernel tells at once, again and again.

    Raises:
        TimeoutError: it stays full.
        OSError: nothing listens there.
    """
    sock = OwnSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        deadline = monotonic() + timeout
        while True:
            try:
                sock.connect(path)
                return SocketStream(sock, poller, timers)
            except BlockingIOError:
                if monotonic() >= deadline:
                    raise TimeoutError(f"the queue has been full for {timeout:g} seconds") from None
                sleep(_PAUSE)
    except BaseException:
        sock.close()
        raise


class Link:
    """The connection, as those see it who write to it; it is its outbox's owner.

    Attributes:
        overflows: The companion has not read so many answers that it is given up.
    """

    __slots__ = ("_is_lost", "_outbox", "_poller", "_raw", "_stats", "_stream", "overflows")

    def __init__(self, stream: SocketStream, poller: Poller, stats: Stats) -> None:
        self._stream = stream
        self._raw: Any = stream.raw
        self._poller = poller
        self._stats = stats
        self._outbox: Outbox | None = None
        self._is_lost = False
        self.overflows = False

    def send(self, head: bytes, payload: bytes = b"") -> None:
        """Write a record, in two parts, and return once the kernel has it.

        Raises:
            ClientGone: the companion is gone; reading tells so, too.
        """
        outbox = self._outbox
        if outbox is not None and not outbox.is_empty:
            if not outbox.send(head + payload):
                raise ClientGone("the companion is gone")
            return
        try:
            if len(payload) > COPY_LIMIT:
                sent = self._raw.sendmsg([head, payload])
                if sent == len(head) + len(payload):
                    return
                rest = memoryview(head + payload)[sent:]
            else:
                record = head + payload
                sent = self._raw.send(record)
                if sent == len(record):
                    return
                rest = memoryview(record)[sent:]
        except OSError:
            self.outbox_lost()
            raise ClientGone("the companion is gone") from None
        if not self._own_outbox().send_rest(rest):
            raise ClientGone("the companion is gone")

    def answer(self, record: bytes) -> None:
        """Write a record without waiting; an answer that nobody can take any more is dropped."""
        if self._is_lost:
            return
        outbox = self._outbox
        if outbox is not None and not outbox.is_empty:
            outbox.offer(record, Overflow.CLOSE)
            return
        try:
            sent = self._raw.send(record)
        except OSError:
            self.outbox_lost()
            return
        if sent < len(record):
            self._own_outbox().put_rest(memoryview(record)[sent:])

    def close(self) -> None:
        """End the connection, and the waits of those who write to it."""
        self.outbox_lost()
        self._outbox = None  # they know each other
        self._stream.close()

    def _own_outbox(self) -> Outbox:
        if self._outbox is None:
            poller = self._poller
            self._outbox = Outbox(self, self._stream, poller.hub, poller.cork, self._stats, _MOST_ANSWERS)
        return self._outbox

    # What the outbox tells

    def outbox_waits(self) -> None:
        """Nothing: how long a request may take is for others to say."""

    def outbox_is_empty(self) -> None:
        """Nothing waited for that."""

    def outbox_lost(self) -> None:
        """The companion is gone: the greenlet that reads will see it."""
        self._is_lost = True
        if self._outbox is not None:
            self._outbox.close()

    def outbox_overflows(self) -> None:
        """The companion asks and does not read."""
        self.overflows = True
        self.outbox_lost()
