"""Numbers by name that several processes keep together, in memory that they share, without a lock.

Each process has a seat, and for it a table that it alone writes: open-addressed, of the names' 64-bit digests and a
number each. Every store is one of one aligned word, so a reader meets nothing half-written. The number of a name is the
sum over all tables.

Pure: it is given the memory.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

__all__ = ["SeatCounts", "SharedCounts", "digest_of"]

#: Entries of a table; a power of two. Three quarters are used at most, so that searches stay short.
ENTRIES = 65_536
_MOST_USED = ENTRIES * 3 // 4
_WORD = 8


@lru_cache(maxsize=ENTRIES)
def digest_of(name: bytes) -> int:
    """Return a number from 1 to 2**64 - 1 that is the same in every process, as ``hash`` is not after an exec."""
    return int.from_bytes(blake2b(name, digest_size=_WORD).digest(), "little") or 1


class SharedCounts:
    """The shared memory, as every process reads it.

    Args:
        memory: ``size(seats)`` bytes, zeros at first.
        seats: Processes that it has room for.
    """

    __slots__ = ("_tables", "seats")

    def __init__(self, memory: memoryview, seats: int) -> None:
        self.seats = seats
        self._tables = memory[: self.size(seats)].cast("Q")

    @staticmethod
    def size(seats: int) -> int:
        """Return the bytes that it takes: 1 MiB a seat, touched only where something is counted."""
        return seats * 2 * _WORD * ENTRIES

    def total(self, name: bytes, except_for: int | None = None) -> int:
        """Return a name's number in all seats but one, those left out whose table had no room for it."""
        digest = digest_of(name)
        first = _first(digest)
        total = 0
        for seat in range(self.seats):
            # Most seats are vacant or do not know the name, which shows where the search would begin.
            if seat == except_for or not self._tables[2 * ENTRIES * seat + first]:
                continue
            table = self.table(seat)
            slot = find(table, digest)
            if table[slot] == digest:
                total += table[slot + 1]
        return total

    def table(self, seat: int) -> memoryview:
        """Return a seat's table: pairs of digest, 0 for none, and number."""
        return self._tables[2 * ENTRIES * seat : 2 * ENTRIES * (seat + 1)]

    def vacate(self, seat: int) -> None:
        """Forget a seat's numbers; for its owner, or when that is dead."""
        self.table(seat)[:] = memoryview(bytes(2 * _WORD * ENTRIES)).cast("Q")


def find(table: memoryview, digest: int) -> int:
    """Return where a digest is in a table, or the empty slot where its search ends; a quarter of them are empty."""
    slot = _first(digest)
    while table[slot] not in (digest, 0):
        slot = (slot + 2) % (2 * ENTRIES)
    return slot


def _first(digest: int) -> int:
    """Return the slot where the search for a digest begins; not by its lowest bits, which others have a use for."""
    return 2 * ((digest >> 32) % ENTRIES)


class SeatCounts:
    """What one process counts: the only writer of its seat, which is vacant at first.

    Args:
        shared: The memory.
        seat: From 0.
    """

    __slots__ = ("_table", "_used")

    def __init__(self, shared: SharedCounts, seat: int) -> None:
        self._table = shared.table(seat)
        self._used = 0  # slots that are not empty

    def write(self, name: bytes, number: int) -> None:
        """Set a name's number; one that finds no room is left out of what others sum up."""
        digest = digest_of(name)
        table = self._table
        slot = find(table, digest)
        if table[slot] == digest:
            table[slot + 1] = number
            if not number:
                self._tidy(slot)
        elif number:
            slot = _first(digest)
            while table[slot + 1]:
                slot = (slot + 2) % (2 * ENTRIES)
            if not table[slot]:
                if self._used == _MOST_USED:
                    return
                self._used += 1
            # In this order: between the two the new name has the number 0, rather than the old one ours.
            table[slot] = digest
            table[slot + 1] = number

    def _tidy(self, slot: int) -> None:
        """Empty the slots with the number 0 up to ``slot``, if the one after it is empty.

        Before a slot in use they have to stay: the search for what is there goes over them.
        """
        table = self._table
        if table[(slot + 2) % (2 * ENTRIES)]:
            return
        while table[slot] and not table[slot + 1]:
            table[slot] = 0
            self._used -= 1
            slot = (slot - 2) % (2 * ENTRIES)
