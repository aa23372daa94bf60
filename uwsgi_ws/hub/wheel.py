"""Due times without a timer each: one timer per worker serves every connection.

A connection is in the wheel at most once. Moving its due time later costs nothing: it is asked when its old time
comes, and says its new one. So "alive" is a timestamp that the receiving side writes, never a timer restarted.

Whatever ends must ``remove`` itself: an item keeps all that it knows in memory, and peers that come and go leave
thousands of them in a second.
"""

from __future__ import annotations

import heapq
from typing import Protocol

__all__ = ["Scheduled", "Wheel"]


class Scheduled(Protocol):
    """Something with a due time, hashed by its identity; ``wheel_slot`` belongs to the wheel (0: not in it)."""

    wheel_slot: int

    def tick(self, now: float) -> float | None:
        """Do what is due at ``now``; return when to be asked again, or None to leave the wheel."""


class Wheel:
    """Buckets of items by due time, ``resolution`` seconds wide. It is told the time, and never early.

    Ten thousand connections pinged every 25 s are 400 due times a second; with a timer each they would wake the
    loop 400 times, in buckets of 50 ms at most 20 times.
    """

    def __init__(self, resolution: float = 0.05) -> None:
        self._resolution = resolution
        # The items of a slot are a dict's keys: it keeps their order, and lets any of them go at once.
        self._buckets: dict[int, dict[Scheduled, None]] = {}
        self._slots: list[int] = []  # heap of the buckets' keys

    def schedule(self, item: Scheduled, due: float) -> bool:
        """Have ``item.tick`` called at ``due`` or soon after; an earlier time already set stays.

        Returns:
            Whether ``next_due`` says another time now.
        """
        slot = int(due / self._resolution) + 1
        if item.wheel_slot:
            if item.wheel_slot <= slot:
                return False
            self.remove(item)
        item.wheel_slot = slot
        bucket = self._buckets.get(slot)
        if bucket is not None:
            bucket[item] = None
            return False
        self._buckets[slot] = {item: None}
        heapq.heappush(self._slots, slot)
        return self._slots[0] == slot

    def remove(self, item: Scheduled) -> None:
        """Ask an item no more, and know it no more; without effect when it is not in the wheel."""
        slot, item.wheel_slot = item.wheel_slot, 0
        if slot:
            bucket = self._buckets[slot]
            del bucket[item]
            if not bucket:
                bucket.clear()  # its memory; the slot itself stays until it is due, as a heap gives up only its first

    def next_due(self) -> float | None:
        """Return when ``advance`` has something to do; None while the wheel is empty."""
        return self._slots[0] * self._resolution if self._slots else None

    def advance(self, now: float) -> None:
        """Tick every item that is due at ``now``."""
        last = int(now / self._resolution)
        while self._slots and self._slots[0] <= last:
            slot = self._slots[0]
            bucket = self._buckets[slot]
            # Taken one by one: should a tick raise, the others are still there next time.
            while bucket:
                item, _ = bucket.popitem()
                item.wheel_slot = 0
                due = item.tick(now)
                if due is not None:
                    self.schedule(item, due)
            heapq.heappop(self._slots)
            del self._buckets[slot]
