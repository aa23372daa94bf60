"""Locks for memory that processes share, held for microseconds.

A lock is two: one among the threads of this process, and the kernel's record lock on a byte of a file without a name,
which each process takes for itself. The kernel gives the second one back when its holder dies, in whatever state the
memory is then: the next holder has to look.

A greenlet must not switch while it holds one: the next one of its thread would wait for it for ever. Waiting holds up
the thread, its event loop included; so a holder does nothing slow.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from typing import Any

from gevent import monkey

__all__ = ["SharedLock", "SharedLocks"]

# Patched ones would know greenlets rather than threads, and switch between them.
_allocate_lock: Callable[[], Any] = monkey.get_original("_thread", "allocate_lock")
_get_ident: Callable[[], int] = monkey.get_original("_thread", "get_ident")
_sleep: Callable[[float], None] = monkey.get_original("time", "sleep")


class SharedLocks:
    """Makes locks; before the processes that share them are forked."""

    def __init__(self) -> None:
        self._fd = -1  # until there is a lock
        self._count = 0

    def lock(self) -> SharedLock:
        """Return one more lock."""
        if self._fd < 0:
            self._fd = os.memfd_create("uwsgi_ws.locks", os.MFD_CLOEXEC)
        self._count += 1
        return SharedLock(self._fd, self._count - 1)


class SharedLock:
    """One lock, as a context.

    Args:
        fd: A file that stays open: when a process closes it, the kernel gives back all of its locks on it.
        offset: The lock's byte there.
    """

    __slots__ = ("_fd", "_holder", "_offset", "_pid", "_threads")

    def __init__(self, fd: int, offset: int) -> None:
        self._fd = fd
        self._offset = offset
        self._pid = os.getpid()
        self._threads = _allocate_lock()
        self._holder = 0  # the thread that has the lock; 0 for none

    def __enter__(self) -> None:
        """Wait for the lock and take it.

        Raises:
            RuntimeError: this thread has it: a signal handler or a finalizer has interrupted its holder.
        """
        if self._pid != os.getpid():
            # Forked: a thread that had the lock then is not here.
            self._threads, self._holder, self._pid = _allocate_lock(), 0, os.getpid()
        if self._holder == _get_ident():
            raise RuntimeError("what is shared is being changed by what this call has interrupted")
        self._threads.acquire()
        try:
            while True:
                try:
                    fcntl.lockf(self._fd, fcntl.LOCK_EX, 1, self._offset)
                    break
                except OSError as exc:
                    # Threads of two processes that wait for one another's other locks look like a deadlock.
                    if exc.errno != errno.EDEADLK:
                        raise
                    _sleep(0.001)
        except BaseException:
            self._threads.release()
            raise
        self._holder = _get_ident()

    def __exit__(self, *exc_info: object) -> None:
        """Give the lock back."""
        self._holder = 0
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, self._offset)
        self._threads.release()
