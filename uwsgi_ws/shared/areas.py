"""Raw bytes that processes read and write together: uWSGI's shared areas.

Each change is made with the lock held, so that nobody reads half of it; one of a killed process may be written by half,
as in uWSGI. A word beside the bytes counts the changes, for those who wait for one.

Pure: it is given the memory and the lock.

Source: uWSGI 2.0.31, core/sharedarea.c.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple

__all__ = ["AreaSpec", "SharedArea"]


class AreaSpec(NamedTuple):
    """What an area is made of.

    Attributes:
        size: In bytes; or in pages, for ``in_pages``.
        in_pages: Whether it is a number of pages, or what fits into whole ones.
        path: The file that its bytes are those of; empty for none.
        offset: Where they begin there.
    """

    size: int
    in_pages: bool = True
    path: str = ""
    offset: int = 0


class SharedArea:
    """The shared memory, as every process reads and writes it.

    Args:
        memory: The area's bytes.
        changes: A word, 0 at first.
        lock: Not reentrant.
    """

    def __init__(self, memory: memoryview, changes: memoryview, lock: AbstractContextManager[object]) -> None:
        self.memory = memory
        self._changes = changes.cast("Q")
        self._lock = lock

    @property
    def changes(self) -> int:
        """How many changes there have been."""
        return self._changes[0]

    def note_change(self) -> None:
        """Count a change."""
        with self._lock:
            self._changes[0] += 1

    def read(self, position: int, size: int) -> bytes:
        """Return bytes.

        Raises:
            IndexError: they are not all in the area.
        """
        self._check(position, size)
        with self._lock:
            return bytes(self.memory[position : position + size])

    def write(self, position: int, data: bytes) -> None:
        """Replace bytes.

        Raises:
            IndexError: they are not all in the area.
        """
        self._check(position, len(data))
        with self._lock:
            self.memory[position : position + len(data)] = data
            self._changes[0] += 1

    def add(self, position: int, size: int, amount: int) -> None:
        """Add to a number of so many bytes, which begins anew when it gets too large, as in C.

        Raises:
            IndexError: it is not wholly in the area.
        """
        self._check(position, size)
        with self._lock:
            before = int.from_bytes(self.memory[position : position + size], "little")
            after = (before + amount) % (1 << 8 * size)
            self.memory[position : position + size] = after.to_bytes(size, "little")
            self._changes[0] += 1

    def _check(self, position: int, size: int) -> None:
        # uWSGI has no place behind the last byte, not even for nothing.
        if not 0 <= position < len(self.memory) or not 0 <= size <= len(self.memory) - position:
            raise IndexError("outside of the area")
