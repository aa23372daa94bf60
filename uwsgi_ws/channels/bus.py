"""One worker's channels: the subscribers here, and the backend that knows those of other processes.

Publishing never waits: a message goes into the outboxes of joined WebSockets, encoded once for all of them, into the
queues of ``Subscription`` objects, and to the backend. All of that may be done from any greenlet, also while another
one is inside ``recv`` on the same connection; and from a native thread, whose message the hub takes over.

Delivery: at most once; the messages of one publisher on one channel in order; a publisher that is subscribed gets its
own. Each loss is counted. Where the backend knows that a subscriber may have missed messages, that is a *gap*.

A channel may keep its messages. These come by way of the backend in any case, with their positions. A subscriber that
names a position *recovers*: it is none yet, but waits for what is kept, and becomes one at the moment at which it gets
that. The backend tells what is kept at a moment of its own stream of messages; so there is no hole and no duplicate. It
is asked once for all that wait, and what it said, with what came since, serves those that come soon after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, NamedTuple, Protocol

import gevent
from gevent import monkey
from gevent.event import Event as GeventEvent
from gevent.hub import Hub

from uwsgi_ws.channels.backend import Backend
from uwsgi_ws.channels.events import Encode, Gap, Membership, Published
from uwsgi_ws.channels.history import Found, History, Kept, Outgoing
from uwsgi_ws.channels.overflow import GapPolicy, Overflow, Slow
from uwsgi_ws.channels.positions import MOST_KEPT, Keep
from uwsgi_ws.channels.presence import Presence
from uwsgi_ws.channels.records import PRESENCE, UNCOMPRESSED, encode_name, plain_name
from uwsgi_ws.channels.registry import Registry
from uwsgi_ws.channels.roster import Change, Member, plain_member
from uwsgi_ws.channels.subscription import Subscription
from uwsgi_ws.channels.tally import Tally
from uwsgi_ws.errors import ChannelError, InvalidState
from uwsgi_ws.hub.hub_calls import post
from uwsgi_ws.hub.own import in_copies
from uwsgi_ws.protocol.plain import plain_str
from uwsgi_ws.protocol.websocket.frames import TEXT, CloseCode
from uwsgi_ws.protocol.websocket.prepared import Prepared
from uwsgi_ws.stats import TIMED_FROM, Stats

__all__ = ["Bus", "Joined", "current_bus", "use_bus"]

# Patched it would tell greenlets apart, not threads.
_thread_id: Callable[[], int] = monkey.get_original("_thread", "get_ident")
_current: Bus | None = None

#: Seconds that a subscriber waits for what it has missed. Then it gets what comes, and hears that it may miss some.
_PATIENCE = 5.0
#: Seconds for which what is kept of a channel serves all that ask, and between two questions that it cannot answer.
_FRESH, _PAUSE = 5.0, 0.5


class Joined(Protocol):
    """A WebSocket, as the bus knows it."""

    def offer(self, prepared: Prepared, overflow: Overflow) -> bool:
        """Send a message soon, without waiting; return whether it was taken. It counts what it refuses."""

    def close(self, code: int | None, reason: str) -> None:
        """End it, without waiting."""


class _Terms(NamedTuple):
    """On what terms a subscriber joins: arguments of ``Bus.join``."""

    overflow: Overflow
    on_gap: GapPolicy
    encode: Encode | None


class _Recovering:
    """A subscriber that waits for what it has missed.

    Attributes:
        is_asked: The backend was asked after it had come, so that what it says is the last word.
        result: Once it is a subscriber.
        is_over: Set then, and when it has left before that.
    """

    __slots__ = ("is_asked", "is_over", "result", "since", "terms")

    def __init__(self, since: str, terms: _Terms) -> None:
        self.since = since
        self.terms = terms
        self.is_asked = False
        self.is_over = GeventEvent()
        self.result: Membership | None = None


class Bus:
    """The channels of one worker.

    Args:
        backend: Brings what other processes publish; the bus closes it.
        hub: The hub of the worker's greenlets.
        stats: The worker's counters.
        max_message_size: Bytes allowed in a message.
        keep_for: Says how much of a channel is kept; None keeps nothing, but what ``publish`` is told to keep.
    """

    __slots__ = (
        "_backend",
        "_closed_on_gaps",
        "_connections",
        "_echoes",
        "_encoded",
        "_hub",
        "_keep_for",
        "_max_message_size",
        "_presence",
        "_reading",
        "_recent",
        "_recovering",
        "_subscriptions",
        "_tally",
        "_thread",
        "stats",
    )

    def __init__(
        self,
        backend: Backend,
        hub: Hub,
        stats: Stats,
        *,
        max_message_size: int,
        keep_for: Callable[[str], Keep | None] | None = None,
    ) -> None:
        self._backend = backend
        self._hub: Any = hub
        self._thread = _thread_id()
        self.stats = stats
        self._max_message_size = max_message_size
        self._connections: Registry[Any, Overflow] = Registry()
        self._subscriptions: Registry[Subscription, Overflow] = Registry()
        #: Those of the connections that end rather than miss something.
        self._closed_on_gaps: Registry[Any, None] = Registry()
        #: Those that get events as the application encodes them.
        self._encoded: Registry[Any, _Terms] = Registry()
        self._recovering: Registry[Any, _Recovering] = Registry()
        self._reading: set[str] = set()  # channels of which the backend is, or will soon be, asked
        self._recent: dict[str, History] = {}  # what it has said, and what has come since
        self._keep_for = keep_for
        self._tally: Tally | None = None
        self._echoes = backend.echoes
        self._presence = Presence(backend, hub, stats, self._tell_change)
        backend.start(self._deliver, self._tell_gap, self._deliver_kept)

    # Publishing

    def publish(
        self,
        channel: str,
        opcode: int,
        payload: bytes,
        exclude: Joined | None = None,
        history: int | None = None,
        compress: bool = True,
    ) -> None:
        """Send a message to all subscribers of a channel.

        Args:
            channel: Any name.
            opcode: TEXT, the payload is UTF-8 then, or BINARY.
            payload: The message.
            exclude: A connection that shall not get it, such as the sender's own.
            history: How many messages of this channel are kept, this one the last; 0 keeps none. None leaves it to the
                options.
            compress: Whether WebSockets that take compressed messages get it so.

        Raises:
            ChannelError: the message is too large.
            ValueError: the channel's name is too long, or the number negative.
        """
        if len(payload) > self._max_message_size:
            raise ChannelError(f"message of {len(payload)} bytes, {self._max_message_size} allowed")
        channel = plain_name(channel)
        encode_name(channel)
        if not compress:
            opcode += UNCOMPRESSED
        if history is not None or self._keep_for is not None:
            keep = self._kept(channel, history)
            if keep is not None:
                if _thread_id() == self._thread:
                    self._publish_kept(channel, opcode, payload, exclude, keep)
                else:
                    post(self._hub, self._publish_kept, channel, opcode, payload, exclude, keep)
                return
        if _thread_id() == self._thread:
            self._publish(channel, opcode, payload, exclude)
        else:
            post(self._hub, self._publish, channel, opcode, payload, exclude)

    def _kept(self, channel: str, history: int | None = None) -> Keep | None:
        """Return how much of a channel is kept; None for nothing."""
        if history is not None:
            if not 0 <= history <= MOST_KEPT:
                raise ValueError(f"a history has 0 to {MOST_KEPT} messages, not {history}")
            if not history:
                return None
        keep = None if self._keep_for is None else self._keep_for(channel)
        if history is None or keep is None:
            return keep if history is None else Keep(history)
        return Keep(history, keep.seconds)

    def _publish_kept(self, channel: str, opcode: int, payload: bytes, exclude: Joined | None, keep: Keep) -> None:
        self.stats.channel_messages += 1
        self._backend.publish_kept(channel, opcode, payload, 0 if exclude is None else id(exclude), keep)

    def _publish(self, channel: str, opcode: int, payload: bytes, exclude: Joined | None) -> None:
        self.stats.channel_messages += 1
        excluded = 0 if exclude is None else id(exclude)
        self._backend.publish(channel, opcode, payload, excluded)
        if not self._echoes:
            self._deliver(channel, opcode, payload, excluded)

    def _deliver(self, channel: str, opcode: int, payload: bytes, excluded: int = 0, /) -> None:
        """Hand a message to the subscribers here."""
        if opcode == PRESENCE:
            self._presence.take(channel, payload)
            return
        if self._tally is not None:
            self._tallied(channel, self._deliver, channel, opcode, payload, excluded)
            return
        may_compress = opcode < UNCOMPRESSED
        if not may_compress:
            opcode -= UNCOMPRESSED
        delivered = 0
        connections = self._connections.subscribers(channel)
        if excluded:
            # Where the one meant has ended meanwhile, another one may have its id. That has joined since the message
            # was published, so it need not get it.
            connections = tuple(each for each in connections if id(each[0]) != excluded)
        if connections:
            is_timed = len(connections) >= TIMED_FROM
            began_at = monotonic() if is_timed else 0.0
            prepared = Prepared(opcode, payload, may_compress)
            for connection, overflow in connections:
                delivered += connection.offer(prepared, overflow)
            self.stats.count_broadcast(opcode == TEXT, delivered, prepared.size)
            if is_timed:
                self.stats.measures.broadcasts.observe(monotonic() - began_at)
        for subscription, overflow in self._subscriptions.subscribers(channel):
            if subscription.offer((opcode, payload), overflow, channel):
                delivered += 1
            elif overflow is Overflow.DROP:
                subscription.tell_gap(channel)
        if self._encoded.by_channel:
            message = payload.decode() if opcode == TEXT else payload
            delivered += self._offer_encoded(channel, Outgoing(Published(channel, message), may_compress), excluded)
        self.stats.channel_deliveries += delivered

    def _deliver_kept(self, message: Kept, excluded: int, /) -> None:
        """Hand a message that is kept to the subscribers here."""
        channel = message.channel
        if self._tally is not None:
            self._tallied(channel, self._deliver_kept, message, excluded)
            return
        recent = self._recent.get(channel)
        if recent is not None:
            recent.append(message)
        delivered = 0
        for connection, overflow in self._connections.subscribers(channel):
            delivered += id(connection) != excluded and self._offer(connection, message, overflow)
        for subscription, overflow in self._subscriptions.subscribers(channel):
            delivered += self._offer(subscription, message, overflow)
        if self._encoded.by_channel:
            delivered += self._offer_encoded(channel, message, excluded)
        self.stats.channel_deliveries += delivered

    def _offer_encoded(self, channel: str, event: Outgoing, excluded: int = 0) -> int:
        """Hand an event to the WebSockets that get it as the application encodes it; return to how many."""
        delivered = 0
        for connection, terms in self._encoded.subscribers(channel):
            if id(connection) != excluded:
                prepared = event.prepared(terms.encode)
                delivered += prepared is not None and connection.offer(prepared, terms.overflow)
        return delivered

    def _offer(self, subscriber: Any, message: Kept, overflow: Overflow, encode: Encode | None = None) -> bool:
        """Hand a message that is kept to one subscriber; return whether it was taken."""
        if not isinstance(subscriber, Subscription):
            prepared = message.prepared(encode)
            return prepared is not None and subscriber.offer(prepared, overflow)
        is_taken = subscriber.offer((message.opcode, message.payload), overflow, message.channel, message.position)
        if not is_taken and overflow is Overflow.DROP:
            subscriber.tell_gap(message.channel)
        return is_taken

    def _tell_gap(self, channel: str) -> None:
        """Tell the subscribers here that they may have missed messages."""
        self._recent.pop(channel, None)
        subscriptions = self._subscriptions.subscribers(channel)
        self.stats.channel_gaps += self._connections.count(channel) + self._encoded.count(channel) + len(subscriptions)
        if self._encoded.by_channel:
            self._offer_encoded(channel, Outgoing(Gap(channel)))
        for connection, _ in self._closed_on_gaps.subscribers(channel):
            connection.close(CloseCode.SERVICE_RESTART, "messages may be missing")
        for subscription, _ in subscriptions:
            subscription.tell_gap(channel)
        self._presence.gap(channel)

    def _tell_change(self, change: Change) -> None:
        """Tell the subscribers here that a member has joined or left."""
        channel = change.channel
        for subscription, overflow in self._subscriptions.subscribers(channel):
            if not subscription.offer_change(change, overflow):
                subscription.tell_gap(channel)
        if self._encoded.by_channel:
            self._offer_encoded(channel, Outgoing(change))

    # Subscribing

    def join(
        self,
        channel: str,
        subscriber: Joined | Subscription,
        slow: Slow = "close",
        on_gap: GapPolicy = "ignore",
        since: str | None = None,
        encode: Encode | None = None,
        member: dict[str, Any] | None = None,
        presence: bool = False,
    ) -> Membership:
        """Have a channel's messages given to a subscriber; one that has joined already only changes its terms.

        Args:
            channel: Any name.
            subscriber: A WebSocket, which gets them sent, or a ``Subscription``.
            slow: What is given up when messages come faster than they are taken, and as much waits as may: ``close``
                the subscriber, a WebSocket with 1008; ``drop`` the new message; or ``conflate``: drop those that wait,
                so that the new one takes their place.
            on_gap: What becomes of a WebSocket that may have missed messages: ``close`` it with 1012, or ``ignore``.
            since: First give what came after this position. That waits for it, a few seconds at most; and one that has
                joined already joins anew.
            encode: What a WebSocket gets instead of the messages as they are.
            member: What others see of it. It is a member until it leaves; one that is already says something else of
                itself now, or with None the same.
            presence: Whether a ``Subscription`` is to be told of members.

        Returns:
            What came of it. Without ``since`` it says nothing.

        Raises:
            TypeError: ``since`` is no str, ``encode`` not hashable, or ``member`` no dict, or no JSON.
            ValueError: the channel's name is too long, no such ``slow`` or ``on_gap``, or ``member`` is too large.
        """
        channel = plain_name(channel)
        encode_name(channel)
        if on_gap not in ("close", "ignore"):
            raise ValueError(f"{on_gap!r} is not a valid on_gap")
        hash(encode)
        plain = None if member is None else plain_member(member)
        terms = _Terms(Overflow(slow), on_gap, encode)
        membership = Membership()
        if since is not None:
            membership = self._recover(channel, subscriber, plain_str(since, "a position is a str"), terms)
        elif not self._add(channel, subscriber, terms):
            self._backend.subscribe(channel)
        if (presence or encode is not None or plain is not None) and self._has(channel, subscriber):
            self._presence.follow(channel, subscriber)
            if plain is not None:
                self._presence.enter(channel, subscriber, plain)
        return membership

    def _has(self, channel: str, subscriber: Any) -> bool:
        """Return whether it is a subscriber: it may have left while it waited for what it had missed."""
        registries = (self._registry(subscriber), self._encoded)
        return any(registry.terms(channel, subscriber) is not None for registry in registries)

    def _add(self, channel: str, subscriber: Any, terms: _Terms) -> bool:
        """Make it a subscriber, on these terms; return whether it was one before."""
        encoded, plain = self._encoded, self._registry(subscriber)
        if terms.encode is None:
            was_other = encoded.remove(channel, subscriber)
            is_new = plain.add(channel, subscriber, terms.overflow)
        else:
            was_other = plain.remove(channel, subscriber)
            is_new = encoded.add(channel, subscriber, terms)
        if terms.on_gap == "close":
            self._closed_on_gaps.add(channel, subscriber, None)
        else:
            self._closed_on_gaps.remove(channel, subscriber)
        return was_other or not is_new

    def leave(self, channel: str, subscriber: Joined | Subscription) -> None:
        """Undo ``join``; without effect when it is undone already."""
        channel = plain_name(channel)
        recovering = self._recovering.terms(channel, subscriber)
        if recovering is not None:
            self._recovering.remove(channel, subscriber)
            recovering.is_over.set()
            self._unsubscribe(channel)
        if self._registry(subscriber).remove(channel, subscriber) or self._encoded.remove(channel, subscriber):
            self._closed_on_gaps.remove(channel, subscriber)
            self._presence.leave(channel, subscriber)
            self._unsubscribe(channel)

    def _unsubscribe(self, channel: str) -> None:
        self._backend.unsubscribe(channel)
        if (self._recent or self._reading) and not self._count_here(channel):
            # What comes now, nobody hears; and the backend forgets what it was asked.
            self._recent.pop(channel, None)
            self._reading.discard(channel)

    def leave_all(self, subscriber: Joined | Subscription) -> None:
        """Have a subscriber leave all of its channels."""
        for registry in (self._registry(subscriber), self._encoded, self._recovering):
            for channel in registry.channels(subscriber):
                self.leave(channel, subscriber)

    def _registry(self, subscriber: Joined | Subscription) -> Registry[Any, Overflow]:
        return self._subscriptions if isinstance(subscriber, Subscription) else self._connections

    # Recovering

    def _recover(self, channel: str, subscriber: Any, since: str, terms: _Terms) -> Membership:
        self.leave(channel, subscriber)
        recovering = _Recovering(since, terms)
        self._backend.subscribe(channel)
        self._recovering.add(channel, subscriber, recovering)
        try:
            self._find(channel, subscriber, recovering)
            if recovering.result is None:
                recovering.is_over.wait(_PATIENCE)
        finally:
            is_late = self._recovering.terms(channel, subscriber) is recovering
            if is_late:
                self._recovering.remove(channel, subscriber)
                self._unsubscribe(channel)
        if is_late and not self._add(channel, subscriber, terms):
            self._backend.subscribe(channel)
        return recovering.result or Membership(recovered=False)

    def _find(self, channel: str, subscriber: Any, recovering: _Recovering) -> None:
        """Serve a subscriber with what is known already, or see that the backend is asked."""
        recent = self._recent.get(channel)
        if recent is not None and monotonic() < recent.read_at + _FRESH:
            found = recent.after(recovering.since)
            if found.is_final or recovering.is_asked:
                self._serve(channel, subscriber, recovering, found, recent)
                return
        if channel in self._reading:
            return
        self._reading.add(channel)
        pause = 0.0 if recent is None else recent.read_at + _PAUSE - monotonic()
        if pause > 0:
            _later(pause, self._read, channel)
        else:
            self._read(channel)

    def _read(self, channel: str) -> None:
        waiting = self._recovering.subscribers(channel)
        for _, recovering in waiting:
            recovering.is_asked = True
        if waiting:
            self._backend.read(channel, self._take_history, self._kept(channel))
        else:
            self._reading.discard(channel)

    def _take_history(self, channel: str, history: History | None) -> None:
        """Have those that wait become subscribers now, and give them what they have missed."""
        self._reading.discard(channel)
        waiting = self._recovering.subscribers(channel)
        if history is not None and self._count_here(channel):
            history.read_at = monotonic()
            self._recent[channel] = history
            _later(_FRESH, self._forget, channel, history)
        for subscriber, recovering in waiting:
            if history is None:
                self._serve(channel, subscriber, recovering, Found([], False, True), History(None))
            else:
                self._find(channel, subscriber, recovering)

    def _forget(self, channel: str, history: History) -> None:
        if self._recent.get(channel) is history:
            del self._recent[channel]

    def _serve(self, channel: str, subscriber: Any, recovering: _Recovering, found: Found, history: History) -> None:
        terms = recovering.terms
        self._recovering.remove(channel, subscriber)
        self._add(channel, subscriber, terms)
        last = history.last
        recovering.result = Membership(found.is_all, None if last is None else str(last))
        recovering.is_over.set()
        for message in found.messages:
            self.stats.channel_deliveries += self._offer(subscriber, message, terms.overflow, terms.encode)

    def count(self, channel: str) -> int:
        """Return how many WebSockets and subscriptions of all workers are subscribed to a channel."""
        channel = plain_name(channel)
        return self._count_here(channel) + self._backend.count_elsewhere(channel)

    def _count_here(self, channel: str) -> int:
        registries = (self._connections, self._encoded, self._subscriptions, self._recovering)
        return sum(registry.count(channel) for registry in registries)

    def tally(self, tally: Tally | None) -> None:
        """Have each channel's messages counted from now on; None: no more."""
        self._tally = tally

    def _tallied(self, channel: str, deliver: Callable[..., None], *args: object) -> None:
        """Deliver a message, and count it and what was lost of it."""
        tally, self._tally = self._tally, None
        assert tally is not None, "asked before"
        before = self._lost()
        try:
            deliver(*args)
        finally:
            self._tally = tally
            if self._count_here(channel):
                tally.note(channel, self._lost() - before)

    def _lost(self) -> int:
        """Return how many messages slow subscribers have not got."""
        return self.stats.slow_closed + self.stats.slow_dropped + self.stats.channel_drops

    def here(self) -> Iterator[tuple[str, int, int]]:
        """Yield the channels that have subscribers here: with their WebSockets, and their ``Subscription`` objects."""
        joined, encoded, read = (each.by_channel for each in (self._connections, self._encoded, self._subscriptions))
        for channel in list({**joined, **encoded, **read}):
            yield (
                channel,
                len(joined.get(channel, ())) + len(encoded.get(channel, ())),
                len(read.get(channel, ())),
            )

    def members(self, channel: str) -> list[Member]:
        """Return the members of a channel, as far as they are known in this worker.

        A worker with a member, or with a subscriber who is told of them, knows all; another one begins to ask.

        Raises:
            ValueError: the channel's name is too long.
        """
        channel = plain_name(channel)
        encode_name(channel)
        return self._presence.members(channel)

    def close(self) -> None:
        """Leave the bus."""
        self._presence.close()
        self._backend.close()


def _later(seconds: float, function: Callable[..., None], *args: object) -> None:
    """Call a function in a greenlet of its own, which holds nothing of the request that has led to it."""
    gevent.spawn_later(seconds, function, *args).spawn_tree_locals = None


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
