"""Where a native thread waits for a descriptor by itself, and can be called away from there."""

from __future__ import annotations

import math
import os
from select import POLLIN
from time import monotonic
from typing import Any

from gevent import monkey

__all__ = ["Wakeup"]

#: A patched one has none: it would keep whoever waits from anything but the hub.
_poll: Any = monkey.get_original("select", "poll")


class Wakeup:
    """One thread at a time waits here for a descriptor to be readable; anybody may ring.

    Who rings before the wait is not missed: it stays rung until it is silenced. It owns a descriptor of its own, which
    goes when nobody knows the bell any more, as no thread may wait for a number that is somebody else's by then.

    Args:
        fd: What is waited for; stays the caller's.

    Raises:
        OSError: the process has all the descriptors that it may have.

    Attributes:
        error: What the one who waits, or the next one to wait, shall be told by whoever rings.
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
        """Return once the descriptor is readable, somebody has rung, or ``deadline`` (monotonic) has passed."""
        # Rounded up: who comes too early would have to wait again.
        self._poll(None if deadline is None else math.ceil(max(0.0, deadline - monotonic()) * 1000))

    def ring(self) -> None:
        """End the wait, or the next one."""
        os.eventfd_write(self._fd, 1)

    def answer(self) -> None:
        """Raise, once, what whoever rang had to tell; without effect if that was nothing."""
        error = self.error
        if error is not None:
            self.error = None
            self.silence()
            try:
                raise error
            finally:
                del error  # its traceback knows this frame: no cycle

    def silence(self) -> None:
        """Undo ``ring``."""
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            pass  # nobody has

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
