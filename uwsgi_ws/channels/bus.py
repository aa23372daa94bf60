"""One worker's channels: the subscribers here, and the backend that knows those of other processes.

Publishing never waits: a message goes into the outboxes of joined WebSockets, encoded once for all of them, into the
queues of ``Subscription`` objects, and to the backend. All of that may be done from any greenlet, also while another
one is inside ``recv`` on the same connection; and from a native thread, whose message the hub takes over.

Delivery: at most once; the messages of one publisher on one channel in order; a publisher that is subscribed gets its
own. Each loss is counted. Where the backend knows that a subscriber may have missed messages, that is a *gap*.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from gevent import monkey
from gevent.hub import Hub

from uwsgi_ws.channels.backend import Backend
from uwsgi_ws.channels.overflow import GapPolicy, Overflow, Slow
from uwsgi_ws.channels.records import encode_name, plain_name
from uwsgi_ws.channels.registry import Registry
from uwsgi_ws.channels.subscription import Subscription
from uwsgi_ws.errors import ChannelError, InvalidState
from uwsgi_ws.hub.hub_calls import post
from uwsgi_ws.hub.own import in_copies
from uwsgi_ws.protocol.websocket.frames import TEXT, CloseCode
from uwsgi_ws.protocol.websocket.prepared import Prepared
from uwsgi_ws.stats import TIMED_FROM, Stats

__all__ = ["Bus", "Joined", "current_bus", "use_bus"]

# Patched it would tell greenlets apart, not threads.
_thread_id: Callable[[], int] = monkey.get_original("_thread", "get_ident")
_current: Bus | None = None


class Joined(Protocol):
    """A WebSocket, as the bus knows it."""

    def offer(self, prepared: Prepared, overflow: Overflow) -> bool:
        """Send a message soon, without waiting; return whether it was taken. It counts what it refuses."""

    def close(self, code: int | None, reason: str) -> None:
        """End it, without waiting."""


class Bus:
    """The channels of one worker.

    Args:
        backend: Brings what other processes publish; the bus closes it.
        hub: The hub of the worker's greenlets.
        stats: The worker's counters.
        max_message_size: Bytes allowed in a message.
    """

    __slots__ = (
        "_backend",
        "_closed_on_gaps",
        "_connections",
        "_echoes",
        "_hub",
        "_max_message_size",
        "_subscriptions",
        "_thread",
        "stats",
    )

    def __init__(self, backend: Backend, hub: Hub, stats: Stats, *, max_message_size: int) -> None:
        self._backend = backend
        self._hub: Any = hub
        self._thread = _thread_id()
        self.stats = stats
        self._max_message_size = max_message_size
        self._connections: Registry[Any, Overflow] = Registry()
        self._subscriptions: Registry[Subscription, Overflow] = Registry()
        #: Those of the connections that end rather than miss something.
        self._closed_on_gaps: Registry[Any, None] = Registry()
        self._echoes = backend.echoes
        backend.start(self._deliver, self._tell_gap)

    # Publishing

    def publish(self, channel: str, opcode: int, payload: bytes, exclude: Joined | None = None) -> None:
        """Send a message to all subscribers of a channel.

        Args:
            channel: Any name.
            opcode: TEXT, the payload is UTF-8 then, or BINARY.
            payload: The message.
            exclude: A connection that shall not get it, such as the sender's own.

        Raises:
            ChannelError: the message is too large.
            ValueError: the channel's name is too long.
        """
        if len(payload) > self._max_message_size:
            raise ChannelError(f"message of {len(payload)} bytes, {self._max_message_size} allowed")
        channel = plain_name(channel)
        encode_name(channel)
        if _thread_id() == self._thread:
            self._publish(channel, opcode, payload, exclude)
        else:
            post(self._hub, self._publish, channel, opcode, payload, exclude)

    def _publish(self, channel: str, opcode: int, payload: bytes, exclude: Joined | None) -> None:
        self.stats.channel_messages += 1
        excluded = 0 if exclude is None else id(exclude)
        self._backend.publish(channel, opcode, payload, excluded)
        if not self._echoes:
            self._deliver(channel, opcode, payload, excluded)

    def _deliver(self, channel: str, opcode: int, payload: bytes, excluded: int = 0, /) -> None:
        """Hand a message to the subscribers here."""
        delivered = 0
        connections = self._connections.subscribers(channel)
        if excluded:
            # Where the one meant has ended meanwhile, another one may have its id. That has joined since the message
            # was published, so it need not get it.
            connections = tuple(each for each in connections if id(each[0]) != excluded)
        if connections:
            is_timed = len(connections) >= TIMED_FROM
            began_at = monotonic() if is_timed else 0.0
            prepared = Prepared(opcode, payload)
            for connection, overflow in connections:
                delivered += connection.offer(prepared, overflow)
            self.stats.count_broadcast(opcode == TEXT, delivered, prepared.size)
            if is_timed:
                self.stats.measures.broadcasts.observe(monotonic() - began_at)
        for subscription, overflow in self._subscriptions.subscribers(channel):
            if subscription.offer((opcode, payload), overflow):
                delivered += 1
            elif overflow is Overflow.DROP:
                subscription.tell_gap(channel)
        self.stats.channel_deliveries += delivered

    def _tell_gap(self, channel: str) -> None:
        """Tell the subscribers here that they may have missed messages."""
        subscriptions = self._subscriptions.subscribers(channel)
        self.stats.channel_gaps += self._connections.count(channel) + len(subscriptions)
        for connection, _ in self._closed_on_gaps.subscribers(channel):
            connection.close(CloseCode.SERVICE_RESTART, "messages may be missing")
        for subscription, _ in subscriptions:
            subscription.tell_gap(channel)

    # Subscribing

    def join(
        self, channel: str, subscriber: Joined | Subscription, slow: Slow = "close", on_gap: GapPolicy = "ignore"
    ) -> None:
        """Have a channel's messages given to a subscriber; one that has joined already only changes its terms.

        Args:
            channel: Any name.
            subscriber: A WebSocket, which gets them sent, or a ``Subscription``.
            slow: What is given up when messages come faster than they are taken, and as much waits as may: ``close``
                the subscriber, a WebSocket with 1008; ``drop`` the new message; or ``conflate``: drop those that wait,
                so that the new one takes their place.
            on_gap: What becomes of a WebSocket that may have missed messages: ``close`` it with 1012, or ``ignore``.

        Raises:
            ValueError: the channel's name is too long, or no such ``slow`` or ``on_gap``.
        """
        channel = plain_name(channel)
        encode_name(channel)
        if on_gap not in ("close", "ignore"):
            raise ValueError(f"{on_gap!r} is not a valid on_gap")
        if self._registry(subscriber).add(channel, subscriber, Overflow(slow)):
            self._backend.subscribe(channel)
        if on_gap == "close":
            self._closed_on_gaps.add(channel, subscriber, None)
        else:
            self._closed_on_gaps.remove(channel, subscriber)

    def leave(self, channel: str, subscriber: Joined | Subscription) -> None:
        """Undo ``join``; without effect when it is undone already."""
        channel = plain_name(channel)
        if self._registry(subscriber).remove(channel, subscriber):
            self._backend.unsubscribe(channel)
            self._closed_on_gaps.remove(channel, subscriber)

    def leave_all(self, subscriber: Joined | Subscription) -> None:
        """Have a subscriber leave all of its channels."""
        for channel in self._registry(subscriber).channels(subscriber):
            self.leave(channel, subscriber)

    def _registry(self, subscriber: Joined | Subscription) -> Registry[Any, Overflow]:
        return self._subscriptions if isinstance(subscriber, Subscription) else self._connections

    def count(self, channel: str) -> int:
        """Return how many WebSockets and subscriptions of all workers are subscribed to a channel."""
        channel = plain_name(channel)
        here = self._connections.count(channel) + self._subscriptions.count(channel)
        return here + self._backend.count_elsewhere(channel)

    def close(self) -> None:
        """Leave the bus."""
        self._backend.close()


def use_bus(bus: Bus | None) -> None:
    """Make a bus the one of this process."""
    global _current
    _current = bus


in_copies(lambda: use_bus(None))


def current_bus() -> Bus:
    """Return this process's bus.

    Raises:
        InvalidState: it is no worker.
    """
    if _current is None:
        raise InvalidState("no worker runs in this process; from outside there is uwsgi_ws.publish_to")
    return _current
