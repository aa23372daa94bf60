"""What workers count by labels, and their histograms: what each is, and the memory by which the master reads them.

A worker writes all of its own about once a second, as JSON, into one of the two halves of its seat, by turns; then a
word says which half counts. So the master, which asks no worker, reads whole ones always: the half that it reads is not
written again for a second. What is in there is bounded, as labels are.

Pure: it is given the memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from uwsgi_ws.shared.status import ROWS, WorkerStatus
from uwsgi_ws.stats import Histogram, Measures

__all__ = ["FAMILIES", "Family", "MeasuresBoard", "Retired", "Snapshot", "snapshot_of"]

_HALF = 65_536  # as many mount points as are counted by, with all carriers, and all else there is, take less
_WORDS = 4  # which half counts, 0 for none; how long each is
_WORD = 8


class Family(NamedTuple):
    """A metric of several numbers.

    Attributes:
        kind: A counter, or a histogram.
        help: What it is, for people.
        metric: How ``--metrics`` calls it.
        labels: The names of its labels.
    """

    kind: Literal["counter", "histogram"]
    help: str
    metric: str
    labels: tuple[str, ...] = ()


#: By the name that ``Measures`` knows them by: of a histogram, its attribute.
FAMILIES: dict[str, Family] = {
    "opened": Family(
        "counter",
        "WebSockets opened; the route is the mount point of the application.",
        "websocket_opened",
        ("carrier", "route"),
    ),
    "ended": Family("counter", "WebSockets that have ended.", "websocket_ended", ("carrier", "route")),
    "closes": Family(
        "counter",
        "WebSockets that have ended, by close code; 3xxx and 4xxx are those of applications and libraries, 1006 is an "
        "end without a close frame.",
        "websocket_closes",
        ("code",),
    ),
    "refusals": Family(
        "counter",
        "Opening handshakes refused; application is an answer of its own with a status of 400 or more.",
        "websocket_handshake_refusals",
        ("reason",),
    ),
    "requests": Family("histogram", "Duration of requests that stayed HTTP.", "request_duration_seconds"),
    "sessions": Family("histogram", "Duration of WebSockets that have ended.", "websocket_duration_seconds"),
    "pings": Family("histogram", "Time from a ping to its pong.", "websocket_ping_round_trip_seconds"),
    "broadcasts": Family(
        "histogram",
        "Time to give one message to the WebSockets of one worker, 16 or more, by broadcast or channel; not its way "
        "to them.",
        "broadcast_duration_seconds",
    ),
    "lags": Family("histogram", "How late the event loop was with what was due.", "loop_lag_seconds"),
}


@dataclass(slots=True)
class Snapshot:
    """What a worker has counted.

    Attributes:
        counts: By family and the values of its labels.
        histograms: By family: bounds, how many in each bucket alone, and the sum.
        queued: Bytes that wait for slow peers.
        slow: Peers for which some wait.
    """

    counts: dict[tuple[str, ...], int] = field(default_factory=dict)
    histograms: dict[str, tuple[list[float], list[int], float]] = field(default_factory=dict)
    queued: int = 0
    slow: int = 0


def snapshot_of(measures: Measures) -> Snapshot:
    """Return what has been counted until now."""
    histograms = {}
    for name, family in FAMILIES.items():
        if family.kind == "histogram":
            histogram: Histogram = getattr(measures, name)
            histograms[name] = ([*histogram.bounds], [*histogram.counts], histogram.total)
    queued = sum([outbox.queued for outbox in measures.outboxes])
    return Snapshot(dict(measures.counts), histograms, queued, len(measures.outboxes))


class MeasuresBoard:
    """The shared memory, as every process sees it.

    Args:
        memory: ``size(seats)`` bytes, zeros at first.
    """

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._sizes = memory.cast("Q")

    @staticmethod
    def size(seats: int) -> int:
        """Return the bytes that it takes; what is not written takes no memory."""
        return seats * (_WORDS * _WORD + 2 * _HALF)

    def write(self, seat: int, snapshot: Snapshot) -> None:
        """Replace what a seat says; only its owner does so. One that is too long is left out."""
        counts = [[*key, number] for key, number in snapshot.counts.items()]
        text = json.dumps([counts, snapshot.histograms, snapshot.queued, snapshot.slow], separators=(",", ":")).encode()
        if len(text) > _HALF:
            return
        words, begin = self._place(seat)
        half = 2 if self._sizes[words] == 1 else 1
        begin += (half - 1) * _HALF
        self._memory[begin : begin + len(text)] = text
        self._sizes[words + half] = len(text)
        self._sizes[words] = half

    def read(self, seat: int) -> Snapshot:
        """Return what a seat says; nothing of one that is vacant."""
        words, begin = self._place(seat)
        half = self._sizes[words]
        if half not in (1, 2):
            return Snapshot()
        begin += (half - 1) * _HALF
        try:
            counts, histograms, queued, slow = json.loads(
                bytes(self._memory[begin : begin + self._sizes[words + half]])
            )
        except ValueError:
            return Snapshot()  # its worker has been killed while it wrote for the first time, or twice as it was read
        return Snapshot({tuple(key): number for *key, number in counts}, histograms, queued, slow)

    def vacate(self, seat: int) -> None:
        """Forget what a seat says."""
        words, _ = self._place(seat)
        self._sizes[words] = 0

    def _place(self, seat: int) -> tuple[int, int]:
        """Return where a seat's words are, and at which byte its halves begin."""
        begin = seat * (_WORDS * _WORD + 2 * _HALF)
        return begin // _WORD, begin + _WORDS * _WORD


class Retired:
    """What workers have counted that are gone, so that sums never go back; the master's alone.

    Attributes:
        statuses: Sums of the rows that are counters, by field.
        counts: As in ``Snapshot``.
        histograms: The same.
    """

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.histograms: dict[str, tuple[list[float], list[int], float]] = {}

    def add(self, status: WorkerStatus, snapshot: Snapshot) -> None:
        """Add what one worker has counted."""
        for name, row in ROWS.items():
            if row.kind == "counter":
                self.statuses[name] += getattr(status, name)
        self.counts.update(snapshot.counts)
        for name, (bounds, counts, total) in snapshot.histograms.items():
            _, before, sum_before = self.histograms.get(name, (bounds, [0] * len(counts), 0.0))
            together = [a + b for a, b in zip(before, counts, strict=True)]
            self.histograms[name] = (bounds, together, sum_before + total)

    def with_living(self, living: Iterable[tuple[WorkerStatus, Snapshot]]) -> Retired:
        """Return the sums with those of workers that live."""
        together = Retired()
        together.statuses.update(self.statuses)
        together.counts.update(self.counts)
        together.histograms.update(self.histograms)
        for status, snapshot in living:
            together.add(status, snapshot)
        return together
