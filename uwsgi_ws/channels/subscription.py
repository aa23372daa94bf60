"""Messages of channels for a greenlet that wants to read them itself, rather than have them sent to a client.

What the application calls may be called from any thread of the worker; the hub's does it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import Any, Protocol

from gevent.event import Event

from uwsgi_ws.channels.overflow import Overflow, Slow
from uwsgi_ws.errors import ChannelError, InvalidState
from uwsgi_ws.hub.hub_calls import in_hub
from uwsgi_ws.protocol.websocket.frames import TEXT
from uwsgi_ws.protocol.websocket.messages import MESSAGE_OVERHEAD, Message
from uwsgi_ws.stats import Stats

__all__ = ["MAX_WAITING", "Subscription"]

#: Bytes of messages that may wait by default: as many as one message may have by default.
MAX_WAITING = 1_048_576


class Joins(Protocol):
    """A worker's bus, as its subscriptions see it."""

    stats: Stats

    def join(self, channel: str, subscriber: Any, slow: Slow = "close") -> None:
        """Add a subscriber to a channel."""

    def leave(self, channel: str, subscriber: Any) -> None:
        """Take it out again."""

    def leave_all(self, subscriber: Any) -> None:
        """Take it out of all its channels."""


class Subscription:
    """Messages of some channels that wait to be taken, ``max_bytes`` of them at most.

    A context manager: its end is the subscription's.

    Args:
        max_bytes: Bytes that may wait, ``MESSAGE_OVERHEAD`` counted for each message beside its payload.

    Attributes:
        dropped: Messages lost so far because too much waited.
    """

    def __init__(self, bus: Joins, max_bytes: int) -> None:
        self._bus = bus
        self._max_bytes = max_bytes
        self._messages: deque[Message] = deque()
        self._size = 0
        self._has_news = Event()  # set while there is something to learn
        self._end = ""  # why there will be no more messages
        self.dropped = 0

    def join(self, channel: str, slow: Slow = "close") -> None:
        """Subscribe to a channel; arguments as ``Bus.join``.

        Raises:
            InvalidState: the subscription is closed.
        """
        if self._end:
            raise InvalidState(self._end)
        in_hub(self._bus.join, channel, self, slow)

    def leave(self, channel: str) -> None:
        """Unsubscribe from a channel; what waits of its messages stays."""
        in_hub(self._bus.leave, channel, self)

    def offer(self, message: Message, overflow: Overflow) -> bool:
        """Take a message for later; return whether it was taken. Called by the bus."""
        size = len(message[1]) + MESSAGE_OVERHEAD
        if self._size + size > self._max_bytes:
            if overflow is Overflow.CLOSE:
                self._finish("the subscription was closed: its messages were not taken in time")
            if overflow is not Overflow.CONFLATE or size > self._max_bytes:
                self._count_drops(1)
                return False
            self._count_drops(len(self._messages))
            self._messages.clear()
            self._size = 0
        self._messages.append(message)
        self._size += size
        self._has_news.set()
        return True

    def _count_drops(self, count: int) -> None:
        self.dropped += count
        self._bus.stats.channel_drops += count

    def recv(self, timeout: float | None = None) -> str | bytes | None:
        """Return the next message: str if it was published as text, else bytes.

        Args:
            timeout: Seconds to wait; None waits for ever, 0 only looks.

        Returns:
            The message, or None once ``timeout`` has passed.

        Raises:
            ChannelError: the subscription is closed, and what came before has been taken.
        """
        message = self.recv_message(timeout)
        if message is None:
            return None
        opcode, payload = message
        return payload.decode() if opcode == TEXT else payload

    def recv_message(self, timeout: float | None = None) -> Message | None:
        """Return the next message as opcode and bytes; see ``recv``."""
        return in_hub(self._recv_message, timeout)

    def _recv_message(self, timeout: float | None) -> Message | None:
        deadline = None if timeout is None else monotonic() + timeout
        while not self._messages:
            if self._end:
                raise ChannelError(self._end)
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return None
            self._has_news.clear()
            self._has_news.wait(left)
        message = self._messages.popleft()
        self._size -= len(message[1]) + MESSAGE_OVERHEAD
        return message

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield messages as they come, for ever; raises as ``recv``."""
        while True:
            message = self.recv()
            assert message is not None, "recv without a timeout has a message"
            yield message

    def close(self) -> None:
        """Unsubscribe from everything; what waits can still be taken."""
        in_hub(self._finish, "the subscription is closed")

    def _finish(self, why: str) -> None:
        self._end = self._end or why
        self._bus.leave_all(self)
        self._has_news.set()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
