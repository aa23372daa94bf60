"""Which workers have subscribers of a channel: a map in memory that all workers share, without a lock.

Every cell has one writer, the worker it belongs to, and every store is one of one byte or one aligned word.
There are three parts, each with room for ``seats`` workers:

* *generations*: a word for each seat, how many processes have had it;
* *rows*: a channel's name picks one of ``ROWS`` rows, in which each seat has a byte: not zero when a channel of
  this row has a subscriber there. A publisher knows whom to write to by reading one row. Two channels may share a
  row: then a worker may get a message without having a subscriber, but never misses one;
* *counts* of the channels' subscribers. They serve ``count`` alone, which must not take one channel for another.

Pure: it is given the memory.
"""

from __future__ import annotations

from uwsgi_ws.shared.counts import SeatCounts, SharedCounts, digest_of

__all__ = ["Interest", "InterestMap"]

#: A power of two. Past some ten thousand channels a worker, rows are shared and more than is needed is sent.
ROWS = 65_536
_WORD = 8


class InterestMap:
    """The shared memory, as every worker reads it.

    Args:
        memory: ``size(seats)`` bytes, zeros at first.
        seats: Workers that it has room for.
    """

    __slots__ = ("_rows", "generations", "seats", "subscribers")

    def __init__(self, memory: memoryview, seats: int) -> None:
        self.seats = seats
        head = seats * _WORD
        rows = head + ROWS * seats
        #: By seat; 0 where there has been no worker yet.
        self.generations = memory[:head].cast("Q")
        self._rows = memory[head:rows]
        self.subscribers = SharedCounts(memory[rows:], seats)

    @staticmethod
    def size(seats: int) -> int:
        """Return the bytes that the map takes: some 1.1 MB a seat, touched only when channels are subscribed to."""
        return seats * (_WORD + ROWS) + SharedCounts.size(seats)

    def wanted(self, name: bytes) -> bytes:
        """Return a byte for each seat: 0 when the worker there has no subscriber of this channel."""
        begin = row_of(name) * self.seats
        return bytes(self._rows[begin : begin + self.seats])

    def count(self, name: bytes, except_for: int | None = None) -> int:
        """Return the subscribers of a channel in all seats but one, those left out whose table had no room."""
        return self.subscribers.total(name, except_for)

    def mark(self, seat: int, name: bytes, is_wanted: bool) -> None:
        """Write a seat's byte; for its owner."""
        self._rows[row_of(name) * self.seats + seat] = is_wanted

    def vacate(self, seat: int) -> None:
        """Forget what the worker in a seat was interested in; for its owner, or when that is dead."""
        self._rows[seat :: self.seats] = bytes(ROWS)
        self.subscribers.vacate(seat)


def row_of(name: bytes) -> int:
    """Return the row that a channel is in."""
    return digest_of(name) % ROWS


class Interest:
    """What one worker writes into the map: the only writer of its seat.

    Taking the seat begins a new generation, and forgets the last one's interest.

    Args:
        shared: The map.
        seat: From 0.
    """

    __slots__ = ("_listened", "_names", "_rows", "_seat", "_shared", "_subscribers", "generation")

    def __init__(self, shared: InterestMap, seat: int) -> None:
        self._shared = shared
        self._seat = seat
        self._subscribers = SeatCounts(shared.subscribers, seat)
        self._names: dict[bytes, int] = {}  # the subscribers' number of each channel
        self._listened: set[bytes] = set()
        self._rows: dict[int, int] = {}  # the channels' number of each row
        # Packets for the last generation are told from ours before there can be a subscriber.
        self.generation = shared.generations[seat] = shared.generations[seat] + 1
        if self.generation > 1:
            shared.vacate(seat)

    def names(self) -> list[bytes]:
        """Return the channels with subscribers in this worker, and those that it listens to."""
        return list(self._names.keys() | self._listened)

    def add(self, name: bytes) -> None:
        """Take note that a channel has one subscriber more in this worker."""
        count = self._names.get(name, 0) + 1
        self._names[name] = count
        if count == 1:
            self._mark_row(name, 1)
        self._subscribers.write(name, count)

    def remove(self, name: bytes) -> None:
        """Take note that a channel has one subscriber less in this worker."""
        count = self._names[name] - 1
        if count:
            self._names[name] = count
        else:
            del self._names[name]
            self._mark_row(name, -1)
        self._subscribers.write(name, count)

    def listen(self, name: bytes) -> None:
        """Take note that this worker wants a channel's messages, subscribers or not."""
        self._listened.add(name)
        self._mark_row(name, 1)

    def unlisten(self, name: bytes) -> None:
        """Undo ``listen``."""
        self._listened.remove(name)
        self._mark_row(name, -1)

    def _mark_row(self, name: bytes, change: int) -> None:
        row = row_of(name)
        channels = self._rows.get(row, 0) + change
        if channels:
            self._rows[row] = channels
        else:
            del self._rows[row]
        self._shared.mark(self._seat, name, channels > 0)
