"""A worker's channels through Redis: all instances that name the same engine share them.

Everything goes through the engine, a worker's own messages too: so all subscribers of a channel get its messages in one
order, the one in which its server has taken them.

The worker has one ``Link`` to each server that has channels for it. A greenlet asks where the channels are: once for a
single server; for Sentinels and Clusters again and again, and whenever a link doubts it. A channel that has moved is
subscribed to at its new place, with a gap.
"""

from __future__ import annotations

import logging
import os
import random
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event
from gevent.hub import Hub

from uwsgi_ws.channels.backend import Backend, OnGap, OnHistory, OnKept, OnMessage
from uwsgi_ws.channels.history import History, Kept
from uwsgi_ws.channels.inboxes import Inboxes
from uwsgi_ws.channels.positions import Keep, Position
from uwsgi_ws.channels.records import GAP, OVERHEAD, PRESENCE, encode_name
from uwsgi_ws.channels.redis.engine import Engine, Layout, Node
from uwsgi_ws.channels.redis.link import Link, in_thread_unless_patched
from uwsgi_ws.channels.redis.wire import EXCLUDED_SIZE, KEPT, decode, decode_kept, encode, encode_gap
from uwsgi_ws.channels.roster import LARGEST_RECORD
from uwsgi_ws.errors import ChannelError
from uwsgi_ws.shared.counts import SeatCounts
from uwsgi_ws.stats import Stats

__all__ = ["RedisBackend"]

#: Seconds after which Sentinels and Clusters are asked again, and refused subscriptions tried again, without a reason.
_LOOK_AGAIN = 5.0
#: Seconds between two questions, whatever the doubt: drawn up to so much, so that workers do not ask all at once; and
#: up to how much where nobody answers.
_PAUSE, _LONGEST_PAUSE = 0.2, 2.0
#: Seconds that a worker waits at its start until it is connected, and at its end until all is sent.
_START, _END = 1.0, 0.5

_log = logging.getLogger("uwsgi_ws.channels")


class RedisBackend(Backend):
    """Made in the worker, after the fork.

    Args:
        engine: Where all goes through.
        inboxes: Where the workers of this instance count their subscribers; None when there is but one.
        seat: This worker's there.
        hub: The hub that schedules the worker.
        queue_size: Bytes that may wait for each server; never less than one message of the largest size.
        max_message_size: Bytes allowed in a message.
    """

    echoes = True

    def __init__(
        self,
        engine: Engine,
        inboxes: Inboxes | None,
        seat: int,
        hub: Hub,
        stats: Stats,
        *,
        queue_size: int,
        max_message_size: int,
    ) -> None:
        self._engine = engine
        self._prefix = encode_name(engine.prefix)
        self._hub = hub
        self._stats = stats
        self._limit = max(queue_size, max(max_message_size, LARGEST_RECORD) + OVERHEAD)
        self._max_message_size = max_message_size
        self._shared = None
        self._seat = seat
        if inboxes is not None:
            inboxes.vacate(seat)
            self._shared = inboxes.interest.subscribers
            self._counts = SeatCounts(self._shared, seat)
        # The connections of one process are told by their ids. On the wire they say nothing of its memory.
        self._mark = os.urandom(EXCLUDED_SIZE // 2)
        self._mask = int.from_bytes(os.urandom(EXCLUDED_SIZE // 2), "big")
        self._channels: dict[bytes, str] = {}  # those subscribed to, by Redis's names
        self._subscribers: dict[str, int] = {}
        self._listened: set[str] = set()
        self._layout: Layout | None = None
        self._links: dict[Node, Link] = {}
        self._homes: dict[bytes, Link] = {}  # where each of the channels is subscribed to
        self._doubts = Event()
        self._cursors: dict[bytes, Position] = {}  # the last messages that came of those that keep them
        self._reads: dict[bytes, tuple[OnHistory, Keep | None]] = {}  # what was asked, and not answered yet
        self._unheard: dict[bytes, Keep | None] = {}  # the channels of what was lost before there was a server to tell
        self._lost_at = -1.0
        self._keeper: Any = None

    def start(self, on_message: OnMessage, on_gap: OnGap, on_kept: OnKept) -> None:
        """Connect; go on without a connection if there is none soon."""
        self._on_kept = on_kept
        self._on_message = on_message
        self._on_gap = on_gap
        is_found = Event()
        self._keeper = gevent.spawn(self._keep, is_found)
        deadline = monotonic() + _START
        if is_found.wait(_START):
            for link in list(self._links.values()):
                link.is_up.wait(max(0.0, deadline - monotonic()))

    # Subscribing

    def _name_of(self, channel: str) -> bytes:
        return self._prefix + encode_name(channel)

    def subscribe(self, channel: str) -> None:
        """Subscribe to a channel with its first subscriber here; it is in force as soon as the engine has it."""
        count = self._subscribers.get(channel, 0) + 1
        self._count(channel, count)
        if count == 1 and channel not in self._listened:
            self._open(channel)

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe with the last subscriber."""
        count = self._subscribers[channel] - 1
        self._count(channel, count)
        if count == 0:
            self._reads.pop(self._name_of(channel), None)
            if channel not in self._listened:
                self._close(channel)

    def listen(self, channel: str) -> None:
        """Subscribe to a channel, subscribers or not."""
        self._listened.add(channel)
        if channel not in self._subscribers:
            self._open(channel)

    def unlisten(self, channel: str) -> None:
        """Unsubscribe, unless there are subscribers."""
        self._listened.remove(channel)
        if channel not in self._subscribers:
            self._close(channel)

    def _open(self, channel: str) -> None:
        name = self._name_of(channel)
        self._channels[name] = channel
        self._settle(name, has_gap=False)

    def _close(self, channel: str) -> None:
        name = self._name_of(channel)
        del self._channels[name]
        self._cursors.pop(name, None)
        home = self._homes.pop(name, None)
        if home is not None:
            home.unsubscribe(name)

    def _count(self, channel: str, count: int) -> None:
        if count:
            self._subscribers[channel] = count
        else:
            del self._subscribers[channel]
        if self._shared is not None:
            self._counts.write(encode_name(channel), count)

    def count_elsewhere(self, channel: str) -> int:
        """Return what the other workers of this instance count; no other instance's."""
        return 0 if self._shared is None else self._shared.total(encode_name(channel), self._seat)

    def _settle(self, name: bytes, *, has_gap: bool) -> None:
        """Subscribe where a channel is now, if that is known."""
        link = self._link_of(name)
        home = self._homes.get(name)
        if link is home:
            return
        if home is not None:
            home.unsubscribe(name)
            del self._homes[name]
        if link is not None:
            self._homes[name] = link
            link.subscribe(name, has_gap=has_gap)

    def _link_of(self, name: bytes) -> Link | None:
        node = None if self._layout is None else self._layout.node_of(name)
        return None if node is None else self._link_to(node)

    def _link_to(self, node: Node) -> Link:
        link = self._links.get(node)
        if link is None:
            assert self._layout is not None, "it has told the node"
            link = self._links[node] = Link(
                self,
                self._engine,
                node,
                self._hub,
                self._stats,
                is_sharded=self._layout.is_sharded,
                limit=self._limit,
            )
        return link

    # Publishing

    def publish(self, channel: str, opcode: int, payload: bytes, excluded: int = 0, keep: Keep | None = None) -> None:
        """Send a message to all subscribers; one for which the queue has no room is dropped and counted."""
        mark = b""
        if excluded:
            mark = self._mark + (excluded ^ self._mask).to_bytes(EXCLUDED_SIZE // 2, "big")
        name = self._name_of(channel)
        link = self._link_of(name)
        if link is None:
            self._lose(name, keep)
        else:
            link.publish(name, encode(opcode, payload, mark), keep)

    def publish_kept(self, channel: str, opcode: int, payload: bytes, excluded: int, keep: Keep) -> None:
        """Send it, and have it kept, by one call."""
        self.publish(channel, opcode, payload, excluded, keep)

    def _lose(self, name: bytes, keep: Keep | None) -> None:
        self._stats.channel_drops += 1
        self._unheard[name] = keep
        self._log_now_and_then("a channel message is dropped: no server is known for it yet")

    def _log_now_and_then(self, line: str) -> None:
        """Log once a second at most."""
        now = monotonic()
        if now >= self._lost_at + 1.0:
            self._lost_at = now
            _log.warning("%s", line)

    # History

    def read(self, channel: str, on_history: OnHistory, keep: Keep | None) -> None:
        """Ask for what is kept, now or as soon as the channel's messages come."""
        name = self._name_of(channel)
        self._reads[name] = (on_history, keep)
        self._ask(name)

    def _ask(self, name: bytes) -> None:
        home = self._homes.get(name)
        if home is not None:
            read = self._reads[name]
            home.read(name, read[1], read)

    def take_history(self, name: bytes, token: object, reply: Any) -> None:
        """Hand on what is kept; all that came before has come already."""
        read = self._reads.get(name)
        channel = self._channels.get(name)
        if read is None or read is not token or channel is None:
            return  # it was asked again since then, or is not wanted any more
        del self._reads[name]
        history = None if reply is None else self._history_of(channel, reply)
        if history is not None and history.last is not None:
            if self._cursors.get(name, history.last) != history.last:
                self._on_gap(channel)
            self._cursors[name] = history.last
        read[0](channel, history)

    def _history_of(self, channel: str, reply: Any) -> History | None:
        epoch, last, entries = reply
        kept = []
        try:
            for id_, fields in entries:
                position = Position(fields[1].decode(), int(id_.partition(b"-")[2]))
                if len(fields) > 2:
                    opcode, payload, _ = decode(fields[3])
                    kept.append(Kept(channel, position, opcode, payload))
        except (ChannelError, ValueError, IndexError, TypeError) as exc:
            self._log_now_and_then(f"what is kept of channel {channel!r} is none of ours: {exc!r}")
            return None
        return History(Position(epoch.decode(), last) if epoch else None, kept)

    # What the links tell

    def take(self, name: bytes, data: bytes) -> None:
        """Hand on a message."""
        channel = self._channels.get(name)
        if channel is None:
            return  # it came after the last one had left
        try:
            opcode, payload, mark = decode(data)
            if opcode == KEPT:
                self._take_kept(name, channel, payload)
                return
            if len(payload) > self._max_message_size and opcode != PRESENCE:
                raise ChannelError(f"message of {len(payload)} bytes, {self._max_message_size} allowed")
        except ChannelError as exc:
            self._stats.channel_drops += 1
            self._log_now_and_then(f"what was published on {name!r} is dropped: {exc}")
            self._on_gap(channel)
            return
        if opcode == GAP:
            self._on_gap(channel)
            return
        excluded = self._excluded_by(mark) if mark else 0
        try:
            self._on_message(channel, opcode, payload, excluded)
        except Exception:
            # Ours: a delivery raises nothing. The worker goes on.
            _log.exception("a message could not be delivered")
            self._stats.channel_drops += 1

    def _excluded_by(self, mark: bytes) -> int:
        """Return the ``id`` of the connection of this process that a mark means; 0 for none."""
        if not mark.startswith(self._mark):
            return 0
        return int.from_bytes(mark[len(self._mark) :], "big") ^ self._mask

    def _take_kept(self, name: bytes, channel: str, payload: bytes) -> None:
        position, data = decode_kept(payload)
        before = self._cursors.get(name)
        self._cursors[name] = position
        if before is not None and (before.epoch != position.epoch or before.id + 1 != position.id):
            self._on_gap(channel)
        opcode, payload, mark = decode(data)
        if len(payload) > self._max_message_size:
            raise ChannelError(f"message of {len(payload)} bytes, {self._max_message_size} allowed")
        if opcode == GAP:
            self._on_gap(channel)
            return
        if opcode == KEPT:
            raise ChannelError("not a message: it is kept twice")
        try:
            self._on_kept(Kept(channel, position, opcode, payload), self._excluded_by(mark))
        except Exception:
            _log.exception("a message could not be delivered")
            self._stats.channel_drops += 1

    def is_live(self, name: bytes, *, has_gap: bool) -> None:
        """Tell the subscribers of what they may have missed."""
        channel = self._channels.get(name)
        if has_gap and channel is not None:
            self._cursors.pop(name, None)
            self._on_gap(channel)
        if name in self._reads:
            self._ask(name)

    def doubt(self) -> None:
        """Ask soon where the channels are."""
        self._doubts.set()

    # Where the channels are

    def _keep(self, is_found: Event) -> None:
        is_told = False
        longest = _PAUSE
        while True:
            self._doubts.clear()
            if not self._engine.is_fixed or self._layout is None:
                try:
                    self._use(in_thread_unless_patched(self._engine.find))
                    is_found.set()
                    is_told = False
                    longest = _PAUSE
                except ChannelError as exc:
                    longest = min(_LONGEST_PAUSE, 2 * longest)
                    if not is_told:
                        _log.error("channels: %s; trying again", exc)
                        is_told = True
                    self._doubts.set()
            for link in self._links.values():
                link.retry()
            gevent.sleep(random.uniform(_PAUSE / 4, longest))
            self._doubts.wait(_LOOK_AGAIN)

    def _use(self, layout: Layout) -> None:
        if layout == self._layout:
            return
        if self._layout is not None:
            _log.warning("channels: the servers are %s now", ", ".join(sorted(map(str, layout.nodes))))
        self._layout = layout
        for node in layout.nodes:  # before a channel needs it: then there would be a gap
            self._link_to(node)
        for name in self._channels:
            self._settle(name, has_gap=True)
        for node in self._links.keys() - layout.nodes:
            for name, command, keep in self._links.pop(node).close():
                link = self._link_of(name)
                if link is None:
                    self._lose(name, keep)
                else:
                    link.adopt([(name, command, keep)])
        unheard, self._unheard = self._unheard, {}
        for name, keep in unheard.items():
            link = self._link_of(name)
            if link is not None:
                link.publish(name, encode_gap(), keep)

    def close(self) -> None:
        """Send what is taken in a moment, and leave."""
        deadline = monotonic() + _END
        while monotonic() < deadline and not all(link.is_idle for link in self._links.values()):
            gevent.sleep(0.005)
        self._keeper.kill(block=False)
        for link in self._links.values():
            link.close()
        self._links.clear()
        self._layout = None
        if self._shared is not None:
            self._shared.vacate(self._seat)
