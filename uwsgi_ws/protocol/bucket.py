"""A token bucket: how much may be spent at once, and how fast more comes. It is told the time."""

from __future__ import annotations

__all__ = ["TokenBucket"]


class TokenBucket:
    """Holds what a peer may spend; fills as time passes.

    Args:
        burst: What it holds, full at the beginning.
        rate: What comes back in a second.
        now: Monotonic.
    """

    __slots__ = ("_burst", "_filled_at", "_left", "_rate")

    def __init__(self, burst: float, rate: float, now: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._filled_at = now

    def spend(self, count: float, now: float) -> bool:
        """Take ``count`` out; False when there was not as much. Then it is owed: that has to come back first."""
        self._left = min(self._burst, self._left + (now - self._filled_at) * self._rate) - count
        self._filled_at = now
        return self._left >= 0

    def earn(self, count: float) -> None:
        """Put something back at once; never more than ``burst`` is held."""
        self._left = min(self._burst, self._left + count)
