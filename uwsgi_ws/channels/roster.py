"""Who is a member of which channel: what one worker knows of it, and what it tells the others.

Nothing but the workers keeps it. Each worker owns the members whose connections it has, and publishes *records* on
their channels, in order with the messages there:

* a *change*: one of its members joins, changes or leaves;
* its *state*: all of its members of this channel;
* a *question*: what it knows of each worker's members. A worker of which something else is known than there is
  answers with its state, others that they are *here*;
* that another worker is *gone*, with all of its members.

A worker numbers what it does in one sequence, its *ticks*. A change names its tick and the one that it follows, so a
worker that has missed a record sees it, at the next one or when it asks. It asks after each gap. A worker that does not
answer has no members on this channel any more, and does not hear it.

Leases: each worker publishes a *beat* every ``BEAT`` seconds on a channel of its own kind. One that has been silent
during ``SILENT_BEATS`` beats of this worker, *as they come back*, is gone: so a worker that stood still, or whose
connection did, counts nothing against others. A worker that reads that it is gone is not, and tells its state again.

Pure: records in, records and events out; the caller tells the time.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any, NamedTuple, cast

from uwsgi_ws.channels.events import MemberJoined, MemberLeft
from uwsgi_ws.errors import ChannelError

__all__ = ["BEAT", "LARGEST_RECORD", "MAX_MEMBER", "SILENT_BEATS", "Member", "Roster", "plain_member"]

#: Seconds between two beats of a worker. All workers hear all beats.
BEAT = 2.0
#: A worker that has not been heard for so many beats of another one is gone: it has been silent for 6 to 8 s.
SILENT_BEATS = 4
#: Bytes of a member as JSON.
MAX_MEMBER = 4_096
#: Bytes of a record, at most.
LARGEST_RECORD = 65_536
#: Bytes of members in one record, but for the last of them; and workers that a question names.
_PART = LARGEST_RECORD // 2
_MOST_ASKED = 1_000
#: Channels asked about, and bytes answered, before others have their turn: less than queues hold.
_ASKED_AT_ONCE = 1_000
_ANSWERED_AT_ONCE = 524_288
#: Beats of this worker's within which others answer.
_PATIENCE = 3

Change = MemberJoined | MemberLeft
Members = dict[str, dict[str, Any]]  # by id


class Member(NamedTuple):
    """Somebody who is there.

    Attributes:
        id: The same as in the events.
        member: What they said of themselves; not to be changed.
    """

    id: str
    member: dict[str, Any]


def plain_member(member: dict[str, Any]) -> dict[str, Any]:
    """Return a member as all workers will see it: a copy that has gone through JSON.

    Raises:
        TypeError: it is no dict, or holds what JSON does not have.
        ValueError: it is too large, or no JSON for another reason.
    """
    if not isinstance(member, dict):
        raise TypeError(f"a member is a dict, not {type(member).__name__}")
    try:
        text = json.dumps(member, allow_nan=False, separators=(",", ":"))
    except TypeError as exc:
        raise TypeError(f"a member goes to other workers as JSON: {exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"a member goes to other workers as JSON: {exc}") from exc
    if len(text) > MAX_MEMBER:
        raise ValueError(f"a member of {len(text)} bytes as JSON, {MAX_MEMBER} allowed")
    return cast("dict[str, Any]", json.loads(text))


class _Own:
    """This worker's members of one channel, by their ids."""

    __slots__ = ("members", "tick")

    def __init__(self) -> None:
        self.members: Members = {}
        self.tick = 0


class _Section:
    """What is known of one worker's members of one channel.

    Attributes:
        tick: Up to where it is known; 0 is: nothing.
        heard: The last tick heard of. Where it is another one, something has been missed.
        parts: Of a state that has not come whole yet: how many, and the members.
        asked_at: The number of this worker's beats when the worker was asked; None where no answer is due.
    """

    __slots__ = ("asked_at", "heard", "members", "parts", "tick")

    def __init__(self) -> None:
        self.members: Members = {}
        self.tick = 0
        self.heard = 0
        self.parts: tuple[int, Members] | None = None
        self.asked_at: int | None = None

    @property
    def is_doubtful(self) -> bool:
        """Whether something has been missed."""
        return self.heard != self.tick


class Roster:
    """What one worker knows of the members of the channels that it watches, its own among them.

    Its own records count when they come back, as all others': so what it tells is in order with the messages.

    Args:
        worker: A name that no other worker has, nor had.

    Attributes:
        outgoing: Channels and the records to be published there, in this order; for the caller to take.
    """

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.outgoing: deque[tuple[str, bytes]] = deque()
        self._ticks = 0
        self._beats = 0
        self._beats_come = 0
        self._beat_came_at = float("-inf")
        self._own: dict[str, _Own] = {}
        self._views: dict[str, dict[str, _Section]] = {}  # by channel and worker
        self._doubted: dict[str, bool] = {}  # channels to ask about; whether even though no section shows why
        self._unanswered: dict[str, None] = {}  # those asked about, until all have answered
        self._asked: dict[str, bool] = {}  # channels to answer on; whether with the state
        self._silences: dict[str, int] = {}  # how many beats ago other workers of the views were heard

    # What this worker does

    def watch(self, channel: str) -> None:
        """Know a channel's members from now on, as soon as the other workers have answered."""
        if channel not in self._views:
            self._views[channel] = {}
            self._ask(channel, of_all=True)

    def unwatch(self, channel: str) -> None:
        """Undo ``watch``; for a channel without members of this worker."""
        del self._views[channel]
        for channels in (self._doubted, self._unanswered, self._asked):
            channels.pop(channel, None)

    def is_watched(self, channel: str) -> bool:
        """Return whether the channel's members are known."""
        return channel in self._views

    @property
    def is_idle(self) -> bool:
        """Whether no channel is watched, and nobody needs this worker's beats."""
        return not self._views

    def enter(self, channel: str, member_id: str, member: dict[str, Any]) -> None:
        """Tell of a member of this worker's: a new one, or what it says of itself now. The channel must be watched."""
        own = self._own.setdefault(channel, _Own())
        if own.members.get(member_id) != member:
            own.members[member_id] = member
            self._tell(channel, own, {"joined": {member_id: member}})

    def exit(self, channel: str, member_id: str) -> None:
        """Tell that a member of this worker's has left."""
        own = self._own[channel]
        del own.members[member_id]
        if not own.members:
            del self._own[channel]
        self._tell(channel, own, {"left": [member_id]})

    def exit_all(self) -> None:
        """Tell that all members of this worker's have left."""
        channels = list(self._own)
        self._own.clear()
        self._asked.clear()
        for channel in channels:
            self._tell_state(channel)

    def members(self, channel: str) -> list[Member]:
        """Return who is there, as far as it is known."""
        sections = self._views.get(channel, {}).values()
        return [Member(*item) for section in sections for item in section.members.items()]

    def beat(self) -> bytes:
        """Return this worker's next beat."""
        self._beats += 1
        return self._encode("beat", {"number": self._beats})

    # What comes

    def take(self, channel: str, payload: bytes) -> list[Change]:
        """Take a record that was published on a channel; return what has changed by it.

        Raises:
            ChannelError: it is no such record.
        """
        view = self._views.get(channel)
        if view is None:
            return []
        record = _Record(payload)
        worker = record.text("worker")
        if worker != self.worker:
            self._silences[worker] = 0
        kind = record.text("kind")
        if kind == "gone":
            return self._take_gone(channel, view, record)
        section = view.setdefault(worker, _Section())
        section.heard = record.number("tick")
        events: list[Change] = []
        if kind == "change":
            events = self._take_change(channel, section, record)
        elif kind == "state":
            events = self._take_state(channel, section, record)
        elif kind == "question":
            self._take_question(channel, section, worker, record)
        elif kind != "here":
            raise ChannelError(f"not a record of presence: of the kind {kind!r}")
        if section.is_doubtful:
            if section.parts is None:
                self._doubt(channel)
        else:
            section.asked_at = None
            if not section.tick or not section.members:
                del view[worker]
        return events

    def take_beat(self, payload: bytes, now: float) -> None:
        """Take a beat of any worker.

        Args:
            payload: As ``beat`` returns it.
            now: In seconds, of a clock that does not jump.

        Raises:
            ChannelError: it is no beat.
        """
        worker = _Record(payload).text("worker")
        if worker in self._silences:
            self._silences[worker] = 0
        # Beats that were held up come back all at once: so do those of the others, in whatever order.
        elif worker == self.worker and now - self._beat_came_at >= BEAT / 2:
            self._beat_came_at = now
            self._beats_come += 1
            self._count_silences()
            self._look_for_answers()

    def gap(self, channel: str) -> None:
        """Take note that records of a channel may have been missed."""
        if channel in self._views:
            self._doubted[channel] = True

    def beats_gap(self) -> None:
        """Take note that beats may have been missed: no worker counts as silent until now."""
        for worker in self._silences:
            self._silences[worker] = 0

    # What is told a moment later, so that one record serves all that ask for it

    @property
    def has_questions(self) -> bool:
        """Whether ``ask`` has something to do."""
        return bool(self._doubted)

    @property
    def has_answers(self) -> bool:
        """Whether ``answer`` has something to do."""
        return bool(self._asked)

    def ask(self) -> None:
        """Ask about channels of which something has been missed and has not come since; call until none is left."""
        for channel in list(self._doubted)[:_ASKED_AT_ONCE]:
            is_gap = self._doubted.pop(channel)
            if is_gap or any(section.is_doubtful for section in self._views[channel].values()):
                self._ask(channel, of_all=is_gap)

    def answer(self) -> None:
        """Answer on channels where somebody has asked; call until none is left."""
        size = 0
        while self._asked and size < _ANSWERED_AT_ONCE:
            channel = next(iter(self._asked))
            if self._asked.pop(channel):
                size += self._tell_state(channel)
            else:
                size += self._publish(channel, "here", {"tick": self._tick_of(channel)})

    def _tell_state(self, channel: str) -> int:
        own = self._own.get(channel)
        parts = _parts({} if own is None else own.members)
        size = 0
        for number, members in enumerate(parts):
            body = {"tick": self._tick_of(channel), "part": number, "parts": len(parts), "members": members}
            size += self._publish(channel, "state", body)
        return size

    def _tick_of(self, channel: str) -> int:
        """Return the tick of this worker's members of a channel; 0 without any."""
        own = self._own.get(channel)
        return 0 if own is None else own.tick

    # Records out

    def _encode(self, kind: str, body: dict[str, Any]) -> bytes:
        return json.dumps({"kind": kind, "worker": self.worker, **body}, separators=(",", ":")).encode()

    def _publish(self, channel: str, kind: str, body: dict[str, Any]) -> int:
        """Have a record published; return its length."""
        record = self._encode(kind, body)
        self.outgoing.append((channel, record))
        return len(record)

    def _next_tick(self) -> int:
        self._ticks += 1
        return self._ticks

    def _tell(self, channel: str, own: _Own, change: dict[str, Any]) -> None:
        before, own.tick = own.tick, self._next_tick()
        self._publish(channel, "change", {"before": before, "tick": own.tick, **change})

    def _ask(self, channel: str, *, of_all: bool) -> None:
        known: dict[str, int] = {}
        for worker, section in self._views[channel].items():
            if (of_all or section.is_doubtful) and len(known) < _MOST_ASKED:
                known[worker] = section.tick
                self._unanswered[channel] = None
                if of_all or section.asked_at is None:
                    section.asked_at = self._beats_come
        self._publish(channel, "question", {"tick": self._tick_of(channel), "known": known, "all": of_all})

    def _count_silences(self) -> None:
        for worker in list(self._silences):
            self._silences[worker] += 1
            if self._silences[worker] >= SILENT_BEATS:
                self._tell_gone(worker)

    def _look_for_answers(self) -> None:
        for channel in list(self._unanswered):
            del self._unanswered[channel]
            for worker, section in self._views[channel].items():
                if section.asked_at is None:
                    continue
                self._unanswered[channel] = None
                if self._beats_come - section.asked_at >= _PATIENCE:
                    self._publish(channel, "gone", {"gone": worker, "tick": section.tick})

    def _tell_gone(self, worker: str) -> None:
        """Tell it where the worker has members; again with the next beat, if that does not come."""
        is_known = False
        for channel, view in self._views.items():
            section = view.get(worker)
            if section is not None:
                is_known = True
                self._publish(channel, "gone", {"gone": worker, "tick": section.tick})
        if not is_known:
            del self._silences[worker]

    # Records in

    def _doubt(self, channel: str) -> None:
        self._doubted.setdefault(channel, False)

    def _take_change(self, channel: str, section: _Section, record: _Record) -> list[Change]:
        before, joined, left = record.number("before"), record.members("joined"), record.texts("left")
        section.parts = None
        if section.tick != before:
            return []
        section.tick = section.heard
        events: list[Change] = []
        for member_id, member in joined.items():
            section.members[member_id] = member
            events.append(MemberJoined(channel, member, member_id))
        for member_id in left:
            member = section.members.pop(member_id, {})
            events.append(MemberLeft(channel, member, member_id))
        return events

    def _take_state(self, channel: str, section: _Section, record: _Record) -> list[Change]:
        part, parts, members = record.number("part"), record.number("parts"), record.members("members")
        before, section.parts = section.parts, None
        if not section.is_doubtful:
            return []
        if part:
            if before is None or before[0] != part:
                return []
            members = before[1] | members
        if part + 1 < parts:
            section.parts = (part + 1, members)
            return []
        section.tick = section.heard
        old, section.members = section.members, members
        return [
            *(MemberLeft(channel, member, each) for each, member in old.items() if each not in members),
            *(MemberJoined(channel, member, each) for each, member in members.items() if old.get(each) != member),
        ]

    def _take_question(self, channel: str, section: _Section, worker: str, record: _Record) -> None:
        known = record.numbers("known")
        if worker == self.worker:
            if section.is_doubtful:
                self._asked[channel] = True
        elif self.worker in known or record.flag("all"):
            if known.get(self.worker, 0) != self._tick_of(channel):
                self._asked[channel] = True
            elif self.worker in known:
                self._asked.setdefault(channel, False)

    def _take_gone(self, channel: str, view: dict[str, _Section], record: _Record) -> list[Change]:
        worker = record.text("gone")
        own = self._own.get(channel)
        if worker == self.worker and own is not None:
            own.tick = self._next_tick()  # others that say the same mean what was before
            self._asked[channel] = True
        section = view.get(worker)
        if section is None or section.tick != record.number("tick"):
            return []
        del view[worker]
        return [MemberLeft(channel, member, member_id) for member_id, member in section.members.items()]


def _parts(members: Members) -> list[Members]:
    """Return the members in parts that fit into a record each; one at least."""
    parts: list[Members] = [{}]
    size = 0
    for member_id, member in members.items():
        if size >= _PART:
            parts.append({})
            size = 0
        parts[-1][member_id] = member
        size += len(json.dumps(member)) + len(member_id)
    return parts


class _Record:
    """A record's fields, each as it must be."""

    __slots__ = ("_fields",)

    def __init__(self, payload: bytes) -> None:
        if len(payload) > LARGEST_RECORD:
            raise ChannelError(f"not a record of presence: of {len(payload)} bytes")
        try:
            fields = json.loads(payload)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            raise ChannelError("not a record of presence: no JSON object")
        self._fields: dict[str, Any] = fields

    def _refuse(self, name: str) -> ChannelError:
        return ChannelError(f"not a record of presence: {name!r} is {self._fields.get(name)!r:.60}")

    def text(self, name: str) -> str:
        value = self._fields.get(name)
        if not isinstance(value, str):
            raise self._refuse(name)
        return value

    def number(self, name: str) -> int:
        value = self._fields.get(name)
        if not isinstance(value, int):
            raise self._refuse(name)
        return value

    def flag(self, name: str) -> bool:
        value = self._fields.get(name, False)
        if not isinstance(value, bool):
            raise self._refuse(name)
        return value

    def texts(self, name: str) -> list[str]:
        value = self._fields.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self._refuse(name)
        return value

    def numbers(self, name: str) -> dict[str, int]:
        value = self._fields.get(name, {})
        if not isinstance(value, dict) or not all(isinstance(each, int) for each in value.values()):
            raise self._refuse(name)
        return value

    def members(self, name: str) -> Members:
        value = self._fields.get(name, {})
        if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
            raise self._refuse(name)
        return value
