"""The WebSockets that all workers have: how many, from which addresses, and when the next may come.

It lies in memory that the workers share. Each has a seat there, and writes no other's; so what a killed worker had
vanishes when its seat is vacated. The one word that all write, when the next handshake may come, says so itself.

Pure: it is given the memory, and told the time.
"""

from __future__ import annotations

from collections import Counter

from uwsgi_ws.shared.counts import SeatCounts, SharedCounts

__all__ = ["OpenWebSockets", "Seat"]

_WORD = 8
_SECOND = 1_000_000_000


class OpenWebSockets:
    """The shared memory, as every worker reads it.

    Args:
        memory: ``size(seats)`` bytes, zeros at first.
        seats: Workers that it has room for.
    """

    def __init__(self, memory: memoryview, seats: int) -> None:
        addresses = (1 + seats) * _WORD
        self._even_at = memory[:_WORD].cast("Q")  # see begin
        self.inside_by_seat = memory[_WORD:addresses].cast("Q")
        self.addresses = SharedCounts(memory[addresses:], seats)

    @staticmethod
    def size(seats: int) -> int:
        """Return the bytes that it takes: some 1 MiB a seat, touched only where something is counted."""
        return (1 + seats) * _WORD + SharedCounts.size(seats)

    @classmethod
    def alone(cls) -> OpenWebSockets:
        """Return that of a single worker, in memory of its own."""
        return cls(memoryview(bytearray(cls.size(1))), 1)

    @property
    def inside(self) -> int:
        """How many WebSockets there are."""
        return sum(self.inside_by_seat)

    def begin(self, per_second: int, now: int) -> bool:
        """Say whether one more handshake may begin, and take note of it; after a quiet second as many at once.

        The word holds the time at which what has begun is what was allowed since; it is ahead of the clock by as much
        as has come too early. Of two workers that write it in the same microsecond the second wins, and one handshake
        is not counted.

        Args:
            per_second: How many may, in the long run.
            now: Nanoseconds of a clock that all workers have.
        """
        interval = _SECOND // per_second
        even_at = max(self._even_at[0], now)
        if even_at - now > _SECOND - interval:
            return False
        self._even_at[0] = even_at + interval
        return True

    def vacate(self, seat: int) -> None:
        """Forget what a seat has: its worker is dead, or does not live yet."""
        if self.inside_by_seat[seat]:
            self.inside_by_seat[seat] = 0
            self.addresses.vacate(seat)


class Seat:
    """What one worker writes: the only writer of its seat, which is vacant at first.

    Args:
        shared: The memory.
        number: From 0.
        knows_addresses: Whether it counts by address as well; all workers should agree.
    """

    def __init__(self, shared: OpenWebSockets, number: int, *, knows_addresses: bool) -> None:
        self._shared = shared
        self._number = number
        self._knows_addresses = knows_addresses
        self._own = SeatCounts(shared.addresses, number)
        self._by_address: Counter[str] = Counter()  # of those inside: no larger than they are many

    # The address is written while the seat is not vacant: vacating looks at that first.

    def enter(self, address: str) -> None:
        """Count one more."""
        self._shared.inside_by_seat[self._number] += 1
        if self._knows_addresses:
            self._by_address[address] += 1
            self._own.write(address.encode(), self._by_address[address])

    def leave(self, address: str) -> None:
        """Count one less."""
        if self._knows_addresses:
            self._by_address[address] -= 1
            self._own.write(address.encode(), self._by_address[address])
            if not self._by_address[address]:
                del self._by_address[address]
        self._shared.inside_by_seat[self._number] -= 1

    def of_address(self, address: str) -> int:
        """Return how many WebSockets an address has in all workers.

        Others' are left out where a worker has some 49,000 addresses already; its own never.
        """
        return self._by_address[address] + self._shared.addresses.total(address.encode(), except_for=self._number)
