"""Lets a native thread wait for a descriptor until another thread wakes it."""

from __future__ import annotations

import math
import os
from select import POLLIN
from time import monotonic
from typing import Any

from gevent import monkey

__all__ = ["Wakeup"]

#: The unpatched one: the other would switch to the hub.
_poll: Any = monkey.get_original("select", "poll")


class Wakeup:
    """One thread at a time waits here for a descriptor to be readable; any thread may wake it.

    A ``wake`` before the wait counts: it holds until ``clear``. The object owns a descriptor of its own and closes it
    when the last reference to it is gone: no thread may wait for a number that means something else by then.

    Args:
        fd: What is waited for; stays the caller's.

    Raises:
        OSError: the process has all the descriptors that it may have.

    Attributes:
        error: What ``wake`` is to raise in the thread that waits, or in the next one to wait.
    """

    __slots__ = ("_fd", "_poll", "error")

    def __init__(self, fd: int) -> None:
        self._fd = -1
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        poll = _poll()
        poll.register(fd, POLLIN)
        poll.register(self._fd, POLLIN)
        self._poll: Any = poll.poll
        self.error: BaseException | None = None

    def wait(self, deadline: float | None) -> None:
        """Return once the descriptor is readable, ``wake`` was called, or ``deadline`` (monotonic) has passed."""
        # Rounded up: a thread that wakes too early would have to wait again.
        self._poll(None if deadline is None else math.ceil(max(0.0, deadline - monotonic()) * 1000))

    def wake(self) -> None:
        """End the wait, or the next one."""
        os.eventfd_write(self._fd, 1)

    def raise_error(self) -> None:
        """Raise ``error`` once; without effect if there is none."""
        error = self.error
        if error is not None:
            self.error = None
            self.clear()
            try:
                raise error
            finally:
                del error  # its traceback knows this frame: no cycle

    def clear(self) -> None:
        """Undo ``wake``."""
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            pass  # there was none

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
