"""Which workers have subscribers of a channel: a map in memory that all workers share, without a lock.

Every cell has one writer, the worker it belongs to, and every store is one of one byte or one aligned word.
There are three parts, each with room for ``seats`` workers:

* *generations*: a word for each seat, how many processes have had it;
* *rows*: a channel's name picks one of ``ROWS`` rows, in which each seat has a byte: not zero when a channel of
  this row has a subscriber there. A publisher knows whom to write to by reading one row. Two channels may share a
  row: then a worker gets a message that nobody there wants, never the other way round;
* *tables*: for each seat an open-addressed table of the channels' 64-bit digests and their subscribers' number. It
  serves ``count`` alone, which must not take one channel for another.

Pure: it is given the memory.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

__all__ = ["Interest", "InterestMap"]

#: A power of two. Past some ten thousand channels a worker, rows are shared and more than is needed is sent.
ROWS = 65_536
#: Entries of a table; a power of two. Three quarters are used at most, so that searches stay short.
ENTRIES = 65_536
_MOST_USED = ENTRIES * 3 // 4
_WORD = 8


@lru_cache(maxsize=ENTRIES)
def _digest(name: bytes) -> int:
    """Return a number from 1 to 2**64 - 1 that is the same in every process, as ``hash`` is not after an exec."""
    return int.from_bytes(blake2b(name, digest_size=_WORD).digest(), "little") or 1


class InterestMap:
    """The shared memory, as every worker reads it.

    Args:
        memory: ``size(seats)`` bytes, zeros at first.
        seats: Workers that it has room for.
    """

    __slots__ = ("_rows", "_tables", "generations", "seats")

    def __init__(self, memory: memoryview, seats: int) -> None:
        self.seats = seats
        head = seats * _WORD
        tables = head + ROWS * seats
        #: By seat; 0 where there has been no worker yet.
        self.generations = memory[:head].cast("Q")
        self._rows = memory[head:tables]
        self._tables = memory[tables : self.size(seats)].cast("Q")

    @staticmethod
    def size(seats: int) -> int:
        """Return the bytes that the map takes: some 1.1 MB a seat, touched only when channels are subscribed to."""
        return seats * (_WORD + ROWS + 2 * _WORD * ENTRIES)

    def wanted(self, name: bytes) -> bytes:
        """Return a byte for each seat: 0 when the worker there has no subscriber of this channel."""
        begin = row_of(name) * self.seats
        return bytes(self._rows[begin : begin + self.seats])

    def count(self, name: bytes, except_for: int | None = None) -> int:
        """Return the subscribers of a channel in all seats but one, those left out whose table had no room."""
        digest = _digest(name)
        total = 0
        for seat in range(self.seats):
            if seat == except_for:
                continue
            table = self.table(seat)
            slot = find(table, digest)
            if table[slot] == digest:
                total += table[slot + 1]
        return total

    def table(self, seat: int) -> memoryview:
        """Return a seat's table: pairs of digest, 0 for none, and number."""
        return self._tables[2 * ENTRIES * seat : 2 * ENTRIES * (seat + 1)]

    def mark(self, seat: int, name: bytes, is_wanted: bool) -> None:
        """Write a seat's byte; for its owner."""
        self._rows[row_of(name) * self.seats + seat] = is_wanted

    def vacate(self, seat: int) -> None:
        """Forget what the worker in a seat was interested in; for its owner, or when that is dead."""
        self._rows[seat :: self.seats] = bytes(ROWS)
        self.table(seat)[:] = memoryview(bytes(2 * _WORD * ENTRIES)).cast("Q")


def row_of(name: bytes) -> int:
    """Return the row that a channel is in."""
    return _digest(name) % ROWS


def find(table: memoryview, digest: int) -> int:
    """Return where a digest is in a table, or the empty slot where its search ends; a quarter of them are empty."""
    slot = _first(digest)
    while table[slot] not in (digest, 0):
        slot = (slot + 2) % (2 * ENTRIES)
    return slot


def _first(digest: int) -> int:
    """Return the slot where the search for a digest begins; other bits choose its row."""
    return 2 * ((digest >> 32) % ENTRIES)


class Interest:
    """What one worker writes into the map: the only writer of its seat.

    Taking the seat begins a new generation, and forgets the last one's interest.

    Args:
        shared: The map.
        seat: From 0.
    """

    __slots__ = ("_names", "_rows", "_seat", "_shared", "_table", "_used", "generation")

    def __init__(self, shared: InterestMap, seat: int) -> None:
        self._shared = shared
        self._seat = seat
        self._table = shared.table(seat)
        self._used = 0  # slots that are not empty
        self._names: dict[bytes, int] = {}  # the subscribers' number of each channel
        self._rows: dict[int, int] = {}  # the channels' number of each row
        # Packets for the last generation are told from ours before anybody can subscribe.
        self.generation = shared.generations[seat] = shared.generations[seat] + 1
        if self.generation > 1:
            shared.vacate(seat)

    def add(self, name: bytes) -> None:
        """Take note that a channel has one subscriber more in this worker."""
        count = self._names.get(name, 0) + 1
        self._names[name] = count
        if count == 1:
            self._mark_row(name, 1)
        self._write_count(_digest(name), count)

    def remove(self, name: bytes) -> None:
        """Take note that a channel has one subscriber less in this worker."""
        count = self._names[name] - 1
        if count:
            self._names[name] = count
        else:
            del self._names[name]
            self._mark_row(name, -1)
        self._write_count(_digest(name), count)

    def _mark_row(self, name: bytes, change: int) -> None:
        row = row_of(name)
        channels = self._rows.get(row, 0) + change
        if channels:
            self._rows[row] = channels
        else:
            del self._rows[row]
        self._shared.mark(self._seat, name, channels > 0)

    def _write_count(self, digest: int, count: int) -> None:
        """Write a number into the table; a channel that finds no room there is left out of other workers' counts."""
        table = self._table
        slot = find(table, digest)
        if table[slot] == digest:
            table[slot + 1] = count
            if not count:
                self._tidy(slot)
        elif count:
            slot = _first(digest)
            while table[slot + 1]:
                slot = (slot + 2) % (2 * ENTRIES)
            if not table[slot]:
                if self._used == _MOST_USED:
                    return
                self._used += 1
            # In this order: between the two the new channel has no subscribers, rather than the old one ours.
            table[slot] = digest
            table[slot + 1] = count

    def _tidy(self, slot: int) -> None:
        """Empty the slots without subscribers up to ``slot``, if the one after it is empty.

        Before a slot in use they have to stay: the search for what is there goes over them.
        """
        table = self._table
        if table[(slot + 2) % (2 * ENTRIES)]:
            return
        while table[slot] and not table[slot + 1]:
            table[slot] = 0
            self._used -= 1
            slot = (slot - 2) % (2 * ENTRIES)
