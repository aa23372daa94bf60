"""What readers have got, against what was promised to them.

A *life* is one connection of a publisher: it numbers its messages from 0. A *session* is one connection of a reader:
the messages in the order in which they came, and gaps. What may be missing where a connection ends, or where a gap is,
was signalled; a session that goes on where the one before has ended says whether that was all.

Pure: no clock, no processes.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

__all__ = ["GAP", "Session", "Verdict", "check"]

#: Comes where messages may be missing. A message is the name of its life and its number.
GAP = ("gap", -1)
Item = tuple[str, int]


@dataclass
class Session:
    """What one connection has brought.

    Attributes:
        reader: Whose.
        recovered: Whether it has said that it begins with all that came after the end of the reader's session before;
            None where it has said nothing of it.
        items: What came.
        times: When each came.
        strange: What came and is no message.
        missed_until: How many items may be of what the reader had missed: where ``recovered`` is not True, some of that
            is gone. None for all.
    """

    reader: str
    recovered: bool | None = None
    items: list[Item] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    missed_until: int | None = 0


@dataclass
class Verdict:
    """What was found.

    Attributes:
        delivered: Messages, once for each reader that got it.
        recovered: Sessions that began with all that the reader had missed; in place of a gap.
        missed: Messages that a session, or one and its successor, has passed over, all of them signalled.
        gaps: Those signalled to a reader.
        problems: What must not be, by its kind, and an example of each.
    """

    delivered: int = 0
    recovered: int = 0
    missed: int = 0
    gaps: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def blame(self, kind: str, example: str) -> None:
        self.problems[kind] += 1
        self.examples.setdefault(kind, example)


def check(sessions: Iterable[Session], begun: dict[str, float], *, is_one_order: bool = True) -> Verdict:
    """Look at all sessions, those of one reader in their order.

    Args:
        begun: When each life began, by the clock of the sessions' times.
        is_one_order: Whether all readers get the messages of all publishers in the same order.
    """
    verdict = Verdict()
    by_reader: dict[str, list[Session]] = defaultdict(list)
    for session in sessions:
        by_reader[session.reader].append(session)
    for own in by_reader.values():
        _check_reader(own, begun, verdict)
    cycle = _find_cycle(segment for own in by_reader.values() for session in own for segment in _segments(session))
    if cycle and is_one_order:
        verdict.blame("another order", f"two readers disagree about the order of {_show(cycle)} and others")
    return verdict


def _show(item: Item) -> str:
    return f"{item[0]}:{item[1]}"


def _check_reader(sessions: list[Session], begun: dict[str, float], verdict: Verdict) -> None:
    expected: dict[str, int] = {}  # the number that is due next, of each life
    doubtful: set[str] = set()  # the lives of which some may be missing before that
    seen: set[Item] = set()
    live_from = float("inf")  # a life that has begun later has to come from its first message on
    for session in sessions:
        for frame in session.strange:
            verdict.blame("torn message", f"{session.reader} got {frame}")
        goes_on = session.recovered is True and session is not sessions[0]
        if not goes_on:
            # The worker of this connection may be behind that of the one before, and bring something again.
            verdict.gaps += session is not sessions[0]
            seen.clear()
            doubtful = set(expected)
            live_from = session.times[0] if session.times else float("inf")
        verdict.recovered += goes_on
        live_at = 0 if session.recovered else session.missed_until
        earlier = set() if goes_on else set(expected)
        for place, (item, time) in enumerate(zip(session.items, session.times, strict=True)):
            if item == GAP:
                verdict.gaps += 1
                doubtful = set(expected)
                live_from = time
                continue
            verdict.delivered += 1
            life, number = item
            if item in seen:
                verdict.blame("duplicate", f"{session.reader} got {_show(item)} twice")
                continue
            seen.add(item)
            due = expected.get(life, number if begun[life] <= live_from else 0)
            if number < due and life not in earlier:
                verdict.blame("reordering", f"{session.reader} got {_show(item)} when {due} was due")
                continue
            if number > due and life not in doubtful and live_at is not None and place >= live_at:
                where = f"message {place} of session {sessions.index(session)}, recovered: {session.recovered}"
                verdict.blame("silent hole", f"{session.reader} got {_show(item)} when {due} was due; {where}")
            elif number > due:
                verdict.missed += number - due
            expected[life] = number + 1
            doubtful.discard(life)
            earlier.discard(life)


def _segments(session: Session) -> Iterator[list[Item]]:
    """Yield what came in one go, without a gap in it."""
    segment: list[Item] = []
    for item in session.items:
        if item == GAP:
            yield segment
            segment = []
        else:
            segment.append(item)
    yield segment


def _find_cycle(segments: Iterable[list[Item]]) -> Item | None:
    """Return a message that comes before itself, if there is one."""
    after: dict[Item, set[Item]] = defaultdict(set)
    for segment in segments:
        for one, other in itertools.pairwise(segment):
            after[one].add(other)
    waiting = Counter(other for others in after.values() for other in others)
    free = [item for item in after if not waiting[item]]
    while free:
        for other in after.pop(free.pop(), ()):
            waiting[other] -= 1
            if not waiting[other]:
                free.append(other)
                after.setdefault(other, set())
    return next(iter(after), None)
