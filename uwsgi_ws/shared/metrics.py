"""Numbers by name that processes change together: uWSGI's metrics, those of one's own.

A word of memory for each, with a sign. All is done with the lock held. Each change is one store of an aligned word, so
a killed process leaves nothing half-written.

Pure: it is given the memory and the lock.

Source: uWSGI 2.0.31, core/metrics.c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

__all__ = ["MetricSpec", "SharedMetrics"]

_WORD = 8
_SPAN = 2**64
_HALF = 2**63


class MetricSpec(NamedTuple):
    """A metric.

    Attributes:
        name: What applications call it.
        initial: Its number at first.
        collector: Where its number comes from: ``sum`` or ``avg`` of others, ``file``; empty where applications set it.
        children: Of ``sum`` and ``avg``, whose.
        path: Of ``file``, which.
        word: Of ``file``, the number's place among the words, from 0.
        alias: Whose number it tells, where it has none.
    """

    name: str
    initial: int = 0
    collector: str = ""
    children: tuple[str, ...] = ()
    path: str = ""
    word: int = 0
    alias: str = ""


class SharedMetrics:
    """The shared memory, as every process reads and writes it.

    Args:
        initial: The numbers at first, by name.
        memory: ``size(len(initial))`` bytes.
        lock: Not reentrant.
    """

    def __init__(
        self, initial: Sequence[tuple[str, int]], memory: memoryview, lock: AbstractContextManager[object]
    ) -> None:
        self._words = memory[: self.size(len(initial))].cast("q")
        self._lock = lock
        self._index = {name: index for index, (name, _) in enumerate(initial)}
        for index, (_, number) in enumerate(initial):
            self._words[index] = number

    @staticmethod
    def size(count: int) -> int:
        """Return the bytes that so many take."""
        return count * _WORD

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def get(self, name: str) -> int:
        """Return a metric's number."""
        return self._words[self._index[name]]

    def change(self, name: str, change: Callable[[int], int]) -> None:
        """Make of a metric's number another one; what is too large for 64 bits begins anew, as in C."""
        index = self._index[name]
        with self._lock:
            self._words[index] = (change(self._words[index]) + _HALF) % _SPAN - _HALF
