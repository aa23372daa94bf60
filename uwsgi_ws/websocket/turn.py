"""The present turn of the hub's loop: who has frames to write before the loop waits again."""

from __future__ import annotations

from typing import Any, Protocol

from uwsgi_ws.stats import Stats

__all__ = ["Turn"]


class Flushable(Protocol):
    """Something that collects what it has to write."""

    def flush(self) -> object:
        """Write it; without effect when there is nothing."""


class Turn:
    """One per worker, shared by its connections.

    gevent runs callbacks after the events of a turn and before it polls for the next: whatever is flushed then has
    been held for no longer than the turn took, and one write takes all of it.

    Args:
        loop: The hub's.
        stats: Where slow subscribers are counted.
    """

    __slots__ = ("_loop", "_touched", "stats")

    def __init__(self, loop: Any, stats: Stats) -> None:
        self._loop = loop
        self._touched: list[Flushable] = []
        self.stats = stats

    def touch(self, item: Flushable) -> None:
        """Have ``item.flush`` called at the end of this turn."""
        if not self._touched:
            self._loop.run_callback(self._end)
        self._touched.append(item)

    def _end(self) -> None:
        touched, self._touched = self._touched, []
        for item in touched:
            item.flush()
