"""What CPython keeps a greenlet's Python frames in, used again by the greenlets that come later.

From 3.11 on each greenlet that runs Python gets a *chunk* of 16 KiB of its own, by ``mmap``, and gives it back by
``munmap`` when it ends: two system calls and the page faults between them, a sixth of what a client costs that comes,
opens its WebSocket and leaves. ``chunks.pyx`` beside this file keeps some of them, by the hook that CPython has for the
memory of its objects (PyObject_SetArenaAllocator). Pure Python cannot.
"""

from __future__ import annotations

__all__ = ["keep_chunks", "kept_chunks"]


def keep_chunks() -> None:
    """Keep up to 128 chunks of ended greenlets, 2 MiB, from now on; without effect the second time."""


def kept_chunks() -> int:
    """Return how many are kept now."""
    return 0
