"""Messages of channels for a greenlet that wants to read them itself, rather than have them sent to a client.

What the application calls may be called from any thread of the worker; the hub's does it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Protocol

from gevent.event import Event

from uwsgi_ws.channels.events import Gap, MemberJoined, MemberLeft, Membership, Published
from uwsgi_ws.channels.overflow import GapPolicy, Overflow, Slow
from uwsgi_ws.channels.positions import Position
from uwsgi_ws.errors import ChannelError, InvalidState
from uwsgi_ws.hub.hub_calls import in_hub
from uwsgi_ws.protocol.websocket.frames import TEXT
from uwsgi_ws.protocol.websocket.messages import MESSAGE_OVERHEAD, Message
from uwsgi_ws.stats import Stats

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Item = TypeVar("Item", default=str | bytes)
else:
    from typing import TypeVar

    Item = TypeVar("Item")

__all__ = ["MAX_WAITING", "Subscription"]

#: Bytes of messages that may wait by default: as many as one message may have by default.
MAX_WAITING = 1_048_576

#: A message with its channel and its position.
_Placed = tuple[int, bytes, str, Position | None]
_Change = MemberJoined | MemberLeft
#: Bytes that are counted for one of these; its dict is shared by all who are told.
_CHANGE_SIZE = 2 * MESSAGE_OVERHEAD


class Joins(Protocol):
    """A worker's bus, as its subscriptions see it."""

    stats: Stats

    def join(
        self,
        channel: str,
        subscriber: Any,
        slow: Slow = "close",
        on_gap: GapPolicy = "ignore",
        since: str | None = None,
        *,
        presence: bool = False,
    ) -> Membership:
        """Add a subscriber to a channel."""

    def leave(self, channel: str, subscriber: Any) -> None:
        """Take it out again."""

    def leave_all(self, subscriber: Any) -> None:
        """Take it out of all its channels."""


class Subscription(Generic[Item]):
    """Messages of some channels that wait to be taken, ``max_bytes`` of them at most.

    A context manager: its end is the subscription's.

    Args:
        max_bytes: Bytes that may wait, ``MESSAGE_OVERHEAD`` counted for each message beside its payload.
        gaps: Whether a ``Gap`` comes where messages may be missing.
        positions: Whether messages come as ``Published``.
        presence: Whether ``MemberJoined`` and ``MemberLeft`` come.

    Attributes:
        dropped: Messages lost so far because too much waited.
    """

    def __init__(
        self, bus: Joins, max_bytes: int, *, gaps: bool = False, positions: bool = False, presence: bool = False
    ) -> None:
        self._bus = bus
        self._max_bytes = max_bytes
        self._gaps = gaps
        self._positions = positions
        self._presence = presence
        self._memberships: dict[str, Membership] = {}
        self._messages: deque[Message | _Placed | Gap | _Change] = deque()
        self._waiting_gaps: dict[str, int] = {}  # how many of each channel are among them
        self._size = 0
        self._has_news = Event()  # set while there is something to learn
        self._end = ""  # why there will be no more messages
        self.dropped = 0

    def join(self, channel: str, slow: Slow = "close", since: str | None = None) -> Membership:
        """Subscribe to a channel; arguments and result as ``Bus.join``.

        Raises:
            InvalidState: the subscription is closed.
        """
        if self._end:
            raise InvalidState(self._end)
        membership = in_hub(self._bus.join, channel, self, slow, "ignore", since, presence=self._presence)
        self._memberships[channel] = membership
        return membership

    def recovered(self, channel: str) -> bool | None:
        """Return whether all of a channel comes that came after the position asked for; None if none was."""
        membership = self._memberships.get(channel)
        return None if membership is None else membership.recovered

    def leave(self, channel: str) -> None:
        """Unsubscribe from a channel; what waits of its messages stays."""
        self._memberships.pop(channel, None)
        in_hub(self._bus.leave, channel, self)

    def offer(self, message: Message, overflow: Overflow, channel: str = "", position: Position | None = None) -> bool:
        """Take a message for later; return whether it was taken. Called by the bus."""
        size = len(message[1]) + MESSAGE_OVERHEAD
        if not self._has_room(size, overflow):
            return False
        self._messages.append((*message, channel, position) if self._positions else message)
        self._size += size
        self._has_news.set()
        return True

    def offer_change(self, change: _Change, overflow: Overflow) -> bool:
        """Take a member's coming or going, if that is asked for; return False where there is no room. As ``offer``."""
        if not self._presence:
            return True
        if not self._has_room(_CHANGE_SIZE, overflow):
            return False
        self._messages.append(change)
        self._size += _CHANGE_SIZE
        self._has_news.set()
        return True

    def _has_room(self, size: int, overflow: Overflow) -> bool:
        """Return whether there is room, now or after what waits has been given up."""
        if self._size + size > self._max_bytes:
            if overflow is Overflow.CLOSE:
                self._finish("the subscription was closed: its messages were not taken in time")
            if overflow is not Overflow.CONFLATE or size > self._max_bytes:
                self._count_drops(1)
                return False
            gaps = dict(self._waiting_gaps)  # these stay
            self._count_drops(len(self._messages) - sum(gaps.values()))
            self._messages.clear()
            self._waiting_gaps.clear()
            self._size = 0
            for channel in gaps:
                self._append_gap(channel)
        return True

    def tell_gap(self, channel: str) -> None:
        """Take note that messages may be missing here. Called by the bus."""
        if not self._gaps:
            return
        # Where too much waits already, one for each channel says enough: what comes after it is incomplete.
        if channel in self._waiting_gaps and self._size + MESSAGE_OVERHEAD > self._max_bytes:
            return
        if not self._messages or self._messages[-1] != Gap(channel):
            self._append_gap(channel)
            self._has_news.set()

    def _append_gap(self, channel: str) -> None:
        self._messages.append(Gap(channel))
        self._waiting_gaps[channel] = self._waiting_gaps.get(channel, 0) + 1
        self._size += MESSAGE_OVERHEAD

    def _forget_gap(self, channel: str) -> None:
        self._waiting_gaps[channel] -= 1
        if not self._waiting_gaps[channel]:
            del self._waiting_gaps[channel]

    def _count_drops(self, count: int) -> None:
        self.dropped += count
        self._bus.stats.channel_drops += count

    def recv(self, timeout: float | None = None) -> Item | None:
        """Return the next message: str if it was published as text, else bytes; or a ``Gap``, where asked for.

        Args:
            timeout: Seconds to wait; None waits for ever, 0 only looks.

        Returns:
            The message, or None once ``timeout`` has passed.

        Raises:
            ChannelError: the subscription is closed, and what came before has been taken.
        """
        item: Any = in_hub(self._take, timeout)
        if type(item) is tuple:
            opcode, payload, *place = item
            item = payload.decode() if opcode == TEXT else payload
            if place:
                channel, position = place
                item = Published(channel, item, None if position is None else str(position))
        return item  # type: ignore[no-any-return]  # a Gap, or a position, only where that is asked for

    def recv_message(self, timeout: float | None = None) -> Message | None:
        """Return the next message as opcode and bytes; see ``recv``. For one without gaps, positions and presence."""
        message = in_hub(self._take, timeout)
        assert message is None or (isinstance(message, tuple) and len(message) == 2), "it has nothing else"
        return message

    def _take(self, timeout: float | None) -> Message | _Placed | Gap | _Change | None:
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
        self._size -= MESSAGE_OVERHEAD
        if isinstance(message, tuple):
            self._size -= len(message[1])
        elif isinstance(message, Gap):
            self._forget_gap(message.channel)
        else:
            self._size -= _CHANGE_SIZE - MESSAGE_OVERHEAD
        return message

    def __iter__(self) -> Iterator[Item]:
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

    def __enter__(self) -> Subscription[Item]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
