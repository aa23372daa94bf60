"""The members of one worker's channels: brings the roster's records to the other workers, and keeps its time.

Records go through the backend as messages do, among them, and come back as they do: those of this worker come back
through Redis where that echoes, and at once where not.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent.hub import Hub

from uwsgi_ws.channels.backend import Backend
from uwsgi_ws.channels.records import PRESENCE
from uwsgi_ws.channels.roster import BEAT, Change, Member, Roster
from uwsgi_ws.errors import ChannelError
from uwsgi_ws.stats import Stats

__all__ = ["Presence"]

#: Where beats go. An application may have a channel of this name: what is no record of presence does not come here.
_BEATS = "\0presence"
#: Seconds that a channel is still watched after an application has asked who is there.
_LINGER = 60.0
#: Seconds until a worker answers, so that one answer serves all who ask in this time.
_ANSWER_AFTER = 0.02
#: Seconds, at most, until a worker asks for what it has missed: somebody else's answer may come before.
_ASK_WITHIN = 0.3

_log = logging.getLogger("uwsgi_ws.channels")


class Presence:
    """Made in the worker, after the fork. A channel is watched as long as somebody here has a reason.

    Args:
        backend: The bus's.
        hub: The hub of the worker's greenlets.
        stats: The worker's counters.
        tell: Is called with each member that joins or leaves a channel that is watched.
    """

    __slots__ = (
        "_answerer",
        "_asker",
        "_backend",
        "_beater",
        "_echoes",
        "_ids",
        "_is_closed",
        "_is_sending",
        "_log_at",
        "_loop",
        "_read_at",
        "_reasons",
        "_roster",
        "_stats",
        "_tell",
    )

    def __init__(self, backend: Backend, hub: Hub, stats: Stats, tell: Callable[[Change], None]) -> None:
        self._backend = backend
        self._echoes = backend.echoes
        self._loop: Any = hub.loop
        self._stats = stats
        self._tell = tell
        worker = os.urandom(8).hex()
        self._roster = Roster(worker)
        self._ids = (f"{worker}-{number}" for number in itertools.count(1))
        #: Who follows a channel, by channel; with the id of those that are members.
        self._reasons: dict[str, dict[Any, str]] = {}
        self._read_at: dict[str, float] = {}  # when the application asked last
        self._is_sending = False
        self._is_closed = False
        self._log_at = 0.0
        self._beater: Any = None
        self._asker: Any = None
        self._answerer: Any = None

    def follow(self, channel: str, subscriber: Any) -> None:
        """Watch a channel for a subscriber of it, until that leaves."""
        if not self._is_closed:
            self._reasons.setdefault(channel, {}).setdefault(subscriber, "")
            self._watch(channel)

    def enter(self, channel: str, subscriber: Any, member: dict[str, Any]) -> None:
        """Make a subscriber of a channel a member of it, until it leaves; or change what it says of itself.

        Args:
            channel: Any name.
            subscriber: Who.
            member: As ``plain_member`` returns it.
        """
        if self._is_closed:
            return
        self.follow(channel, subscriber)
        reasons = self._reasons[channel]
        member_id = reasons[subscriber] = reasons[subscriber] or next(self._ids)
        self._roster.enter(channel, member_id, member)
        self._send()

    def leave(self, channel: str, subscriber: Any) -> None:
        """Undo both; without effect when there is nothing to undo."""
        reasons = self._reasons.get(channel)
        if reasons is None or subscriber not in reasons:
            return
        member_id = reasons.pop(subscriber)
        if member_id:
            self._roster.exit(channel, member_id)
            self._send()
        if not reasons:
            del self._reasons[channel]
            if channel not in self._read_at:
                self._unwatch(channel)

    def members(self, channel: str) -> list[Member]:
        """Return who is there, as far as it is known here; a channel that is not watched will be."""
        if not self._is_closed:
            self._read_at[channel] = monotonic()
            self._watch(channel)
        return self._roster.members(channel)

    def take(self, channel: str, record: bytes) -> None:
        """Take a record that has come."""
        try:
            if channel == _BEATS:
                self._roster.take_beat(record, monotonic())
            else:
                for change in self._roster.take(channel, record):
                    self._tell(change)
        except ChannelError as exc:
            self._stats.channel_drops += 1
            if monotonic() >= self._log_at:
                self._log_at = monotonic() + 1.0
                _log.warning("what was published on %r is dropped: %s", channel, exc)
        self._send()

    def gap(self, channel: str) -> None:
        """Take note that records of a channel may have been missed."""
        if channel == _BEATS:
            self._roster.beats_gap()
        else:
            self._roster.gap(channel)
            self._set_timers()

    def close(self) -> None:
        """Tell that all members here have left, and be silent from now on."""
        self._roster.exit_all()
        self._send()
        self._is_closed = True
        self._reasons.clear()
        for timer in (self._beater, self._asker, self._answerer):
            if timer is not None:
                timer.close()
        self._beater = self._asker = self._answerer = None

    # Watching

    def _watch(self, channel: str) -> None:
        if self._roster.is_watched(channel):
            return
        if self._beater is None:
            self._backend.listen(_BEATS)
            # ref=False: as long as there is nothing else to do, the loop may end.
            self._beater = self._loop.timer(random.uniform(0, BEAT), BEAT, ref=False)
            self._beater.start(self._beat)
        self._backend.listen(channel)
        self._roster.watch(channel)
        self._send()

    def _unwatch(self, channel: str) -> None:
        self._roster.unwatch(channel)
        self._backend.unlisten(channel)

    def _beat(self) -> None:
        now = monotonic()
        for channel, read_at in list(self._read_at.items()):
            if now >= read_at + _LINGER:
                del self._read_at[channel]
                if channel not in self._reasons:
                    self._unwatch(channel)
        if self._roster.is_idle:
            self._beater.close()
            self._beater = None
            self._backend.unlisten(_BEATS)
            return
        self._publish(_BEATS, self._roster.beat())

    # Sending

    def _send(self) -> None:
        """Publish what the roster wants to be published, also what comes of that where it comes back at once."""
        if self._is_sending:
            return
        self._is_sending = True
        try:
            while self._roster.outgoing:
                self._publish(*self._roster.outgoing.popleft())
        finally:
            self._is_sending = False
        self._set_timers()

    def _publish(self, channel: str, record: bytes) -> None:
        self._backend.publish(channel, PRESENCE, record)
        if not self._echoes:
            self.take(channel, record)

    def _set_timers(self) -> None:
        if self._is_closed:
            return
        if self._asker is None and self._roster.has_questions:
            self._asker = self._loop.timer(random.uniform(_ANSWER_AFTER, _ASK_WITHIN), ref=False)
            self._asker.start(self._ask)
        if self._answerer is None and self._roster.has_answers:
            self._answerer = self._loop.timer(_ANSWER_AFTER, ref=False)
            self._answerer.start(self._answer)

    def _ask(self) -> None:
        self._asker.close()
        self._asker = None
        self._roster.ask()
        self._send()

    def _answer(self) -> None:
        self._answerer.close()
        self._answerer = None
        self._roster.answer()
        self._send()
