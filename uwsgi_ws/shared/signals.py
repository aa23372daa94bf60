"""What processes know together of uWSGI's signals: who wants them, what raises them, and which ones wait.

There is one table for each time the application is loaded. Processes that have loaded it write under a lock what they
register. A signal that is raised waits here, for any worker or for each one that it is meant for, until a worker takes
it: so nothing is lost with a worker that is killed. Who raises signals adds to one number, the workers that take them
add to another; each has one writer at a time, and the first needs no lock.

* A tick, of a timer or another clock, is dropped while one of its signal waits: a slow handler gets no queue of them.
* Other signals are counted, up to ``MOST_WAITING`` of a number.

Pure: memory, lock and time are the callers'.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import NamedTuple

__all__ = ["ALL", "ANY", "MOST_WAITING", "SIGNALS", "Kind", "SignalTable", "Source"]

SIGNALS = 256
#: Signals of a number that may wait for a worker.
MOST_WAITING = 1_000
#: Whom a signal is for, beside a worker's number; 0 says that it is not registered.
ANY, ALL = 0x8000, 0x8001

_SOURCES = 512
_BODY = struct.Struct("=BB2x5iH1022s")


class Kind(IntEnum):
    """What raises a signal."""

    TIMER = 1  #: again and again: ``numbers`` are the seconds, and how often, 0 for ever
    CRON = 2  #: at times of the day: ``numbers`` are a ``CronTime``
    FILE = 3  #: when a file or directory changes


class Source(NamedTuple):
    """Something that raises a signal.

    Attributes:
        number: The signal's.
        numbers: Five of them; what they mean depends on the kind.
    """

    kind: int
    number: int
    numbers: tuple[int, ...] = (0, 0, 0, 0, 0)
    path: bytes = b""


class SignalTable:
    """A generation's.

    Args:
        memory: ``size(workers)`` bytes, empty.
        workers: How many there may be.
    """

    def __init__(self, memory: memoryview, workers: int) -> None:
        self.workers = workers
        counters = 4 * SIGNALS * (workers + 1)
        sizes = (0, 8, 2 * SIGNALS, counters, counters, 4 * _SOURCES, _SOURCES * _BODY.size)
        parts = [memory[begin:end] for begin, end in pairwise(accumulate(sizes))]
        self._header = parts[0].cast("I")  # how many sources there have been; whether it is closed
        self._targets = parts[1].cast("H")
        self._raised, self._taken = parts[2].cast("I"), parts[3].cast("I")  # by worker, 0 for any, and by signal
        self._serials = parts[4].cast("I")  # of each source; 0 where there is none
        self._bodies = parts[5]

    @staticmethod
    def size(workers: int) -> int:
        """Return how many bytes a table takes; what is not used takes no memory."""
        return 8 + 2 * SIGNALS + 2 * 4 * SIGNALS * (workers + 1) + 4 * _SOURCES + _SOURCES * _BODY.size

    # Under the lock of those who have loaded the application

    def register(self, number: int, target: int) -> None:
        """Say whom a signal is for; the last word counts."""
        self._targets[number] = target

    def add(self, source: Source) -> bool:
        """Add what raises a signal; return False where there is no room.

        The same one twice is one: workers that each load the application all add the same.
        """
        free = -1
        body = _BODY.pack(source.kind, source.number, *source.numbers, len(source.path), source.path)
        for slot, serial in enumerate(self._serials):
            if serial and self._bodies[slot * _BODY.size : (slot + 1) * _BODY.size] == body:
                return True
            if not serial and free < 0:
                free = slot
        if free < 0:
            return False
        self._bodies[free * _BODY.size : (free + 1) * _BODY.size] = body
        self._serials[free] = (self.version + 1) & 0xFFFFFFFF or 1
        self._header[0] = self._serials[free]
        return True

    def take(self, worker: int, number: int) -> bool:
        """Take one signal that waits for a worker, or for any; return False when none does."""
        if self._header[1]:
            return False
        for row in (worker, 0):
            at = row * SIGNALS + number
            if self._raised[at] != self._taken[at]:
                self._taken[at] = (self._taken[at] + 1) & 0xFFFFFFFF
                return True
        return False

    # Without a lock

    def waits(self, worker: int, number: int) -> bool:
        """Return whether a signal waits for a worker, or for any."""
        return not self._header[1] and bool(
            self._waiting(worker * SIGNALS + number) or (worker and self._waiting(number))
        )

    def target(self, number: int) -> int:
        """Return whom a signal is for; 0 where it is not registered."""
        return self._targets[number]

    # By the one process that raises signals

    def raise_signal(self, number: int, *, is_tick: bool = False) -> bool:
        """Have a signal wait for those whom it is for; return False if there are too many, or there is nobody."""
        target = self._targets[number]
        rows = {ANY: range(1), ALL: range(1, self.workers + 1)}.get(target, range(target, target + 1))
        is_kept = bool(target) and rows[-1] <= self.workers
        for row in rows if is_kept else ():
            at = row * SIGNALS + number
            waiting = self._waiting(at)
            if waiting < (1 if is_tick else MOST_WAITING):
                self._raised[at] = (self._raised[at] + 1) & 0xFFFFFFFF
            elif not is_tick:
                is_kept = False
        return is_kept

    @property
    def version(self) -> int:
        """Changes when there is another source."""
        return self._header[0]

    def sources(self) -> Iterator[tuple[int, Source]]:
        """Yield what raises signals, with the serial number of each."""
        for slot, serial in enumerate(self._serials):
            if serial:
                kind, number, *rest, length, path = _BODY.unpack_from(self._bodies, slot * _BODY.size)
                yield serial, Source(kind, number, tuple(rest), path[:length])

    def remove(self, serial: int) -> None:
        """Remove a source that raises nothing any more."""
        for slot, found in enumerate(self._serials):
            if found == serial:
                self._serials[slot] = 0

    def close(self) -> Iterator[int]:
        """Have no worker take a signal any more, and yield those that wait, each as often as it has been raised."""
        self._header[1] = 1
        for number in range(SIGNALS):
            if self._targets[number]:
                yield from [number] * max(self._waiting(row * SIGNALS + number) for row in range(self.workers + 1))

    def _waiting(self, at: int) -> int:
        return (self._raised[at] - self._taken[at]) & 0xFFFFFFFF
