"""Which of gunicorn's workers has which place in what they share. Pure.

There is a bounded number of seats, as many as ``--workers`` and some more, twice: the workers of before and those that
replace them live at the same time for a while. A worker beyond (SIGTTIN, or a reload that raises ``--workers`` by more
than that) serves, but has no seat: no channel connects it to the others.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import NamedTuple

__all__ = ["SPARE", "Place", "Places"]

#: Workers that may come in addition to those that gunicorn was started with.
SPARE = 8


class Place(NamedTuple):
    """A worker's among the others.

    Attributes:
        worker_id: The lowest number that no worker has since the last reload, from 1.
        spawns: How many processes this worker has been.
        seat: Its row in what they share; None for a worker beyond the last.
        generation: How often gunicorn had read its configuration by then.
    """

    worker_id: int
    spawns: int
    seat: int | None
    generation: int


class Places:
    """Those of all living workers, each known by its ``age``: gunicorn counts the workers that it makes.

    Attributes:
        seats: How many there are.
        generation: How often gunicorn has read its configuration.
    """

    def __init__(self, seats: int = 0) -> None:
        self.seats = seats
        self.generation = 0
        self._places: dict[int, Place] = {}
        self._spawns: Counter[int] = Counter()

    def give(self, age: int) -> Place:
        """Return a place for a new worker."""
        taken = {place.seat for place in self._places.values()}
        numbers = {place.worker_id for place in self._places.values() if place.generation == self.generation}
        seat = next((seat for seat in range(self.seats) if seat not in taken), None)
        worker_id = next(number for number in count(1) if number not in numbers)
        self._spawns[worker_id] += 1
        self._places[age] = place = Place(worker_id, self._spawns[worker_id], seat, self.generation)
        return place

    def take_back(self, age: int) -> int | None:
        """Take a dead worker's place back; return the seat that is free now."""
        place = self._places.pop(age, None)
        return None if place is None else place.seat
