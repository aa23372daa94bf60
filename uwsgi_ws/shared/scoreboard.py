"""What the processes know of one another: a page of memory that they share, a row for each seat.

A seat is for one living process. There are twice as many as workers, because a worker and its successor
live at the same time while the one takes over from the other; no two living processes ever have the same seat.
Behind the seats there is a row for each worker that has been put away, which the master alone writes.

The master clears a row before its seat is taken; from then on only the process that has the seat writes it. Numbers
are written one by one, so a reader may meet a row half-way through a change: they are for people and for limits, where
a second more or less does not count.
"""

from __future__ import annotations

import mmap
from collections.abc import Container, Iterator

from uwsgi_ws.shared.status import WorkerStatus

__all__ = ["Scoreboard"]

_WIDTH = len(WorkerStatus._fields)
_BYTES = 8  # of each number
_MOST = 2 ** (8 * _BYTES) - 1


class Scoreboard:
    """Made by the master before it forks; every process forked later sees the same numbers.

    Args:
        seats: How many rows.
        workers: How many of them may be put away.
    """

    def __init__(self, seats: int, workers: int = 0) -> None:
        self.seats = seats
        self._rows = seats + workers
        self._numbers = memoryview(mmap.mmap(-1, self._rows * _WIDTH * _BYTES)).cast("Q")

    def write(self, seat: int, status: WorkerStatus) -> None:
        """Replace a row."""
        begin = seat * _WIDTH
        for offset, number in enumerate(status):
            # Whatever a number says, it must fit: an error here would end the heartbeat.
            self._numbers[begin + offset] = min(max(number, 0), _MOST)

    def clear(self, seat: int) -> None:
        """Empty a row."""
        self.write(seat, WorkerStatus())

    def show_cheap(self, worker_ids: Container[int]) -> None:
        """Have these workers, and no others, seen as put away."""
        for worker_id, seat in enumerate(range(self.seats, self._rows), start=1):
            shown = worker_id if worker_id in worker_ids else 0
            if self.read(seat).worker_id != shown:
                self.write(seat, WorkerStatus(worker_id=shown))

    def read(self, seat: int) -> WorkerStatus:
        """Return a row."""
        begin = seat * _WIDTH
        return WorkerStatus(*self._numbers[begin : begin + _WIDTH])

    def __iter__(self) -> Iterator[WorkerStatus]:
        """Yield the rows of the seats that are taken, and of workers that have been put away."""
        return self.others(-1)

    def others(self, but: int) -> Iterator[WorkerStatus]:
        """Yield the same, but for one seat."""
        for seat in range(self._rows):
            if seat != but and (status := self.read(seat)).worker_id:
                yield status
