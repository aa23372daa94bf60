"""A process's role in the instance: what ``uwsgi`` tells of workers and master, and does to them.

The object is made before the application is loaded, where ``worker_id()`` is 0; ``enter`` makes it a worker's. What
the application has imported by then stays valid, as functions look their worker up when they are called.

Source: uWSGI 2.0.30, plugins/python/uwsgi_pymodule.c.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any

from gevent import get_hub
from gevent.lock import BoundedSemaphore

from uwsgi_ws.api.signals import Signals
from uwsgi_ws.hub.hub_calls import in_hub, is_hub_here
from uwsgi_ws.hub.own import keep_descriptor
from uwsgi_ws.server.server import Server
from uwsgi_ws.shared.status import WorkerStatus, described, newest

__all__ = ["Instance"]


class Instance:
    """What this process is in the instance.

    Args:
        master_pid: 0 without a master.
        locks: How many locks the processes forked from this one share.
        threads: Whether applications run in native threads, rather than greenlets.
    """

    def __init__(self, master_pid: int, *, locks: int = 1, threads: bool = False) -> None:
        self._master_pid = master_pid
        self.new_lock: Callable[[], _Lock] = _ThreadLock if threads else _Lock
        self._locks = [self.new_lock() for _ in range(locks)]
        self._worker_id = 0
        self._server: Server | None = None
        self._statuses: Callable[[], Iterable[WorkerStatus]] = lambda: ()
        #: Those of the application; one that has a master gets others.
        self.signals = Signals(self.worker_id)

    def enter(self, worker_id: int) -> None:
        """This process is a worker from now on, 1 to N."""
        self._worker_id = worker_id

    def serve(self, server: Server, statuses: Callable[[], Iterable[WorkerStatus]]) -> None:
        """Begin to tell of what is served.

        Args:
            server: What ``accepting`` pauses.
            statuses: Tells how all workers stand, this one as of now.
        """
        self._server = server
        self._statuses = statuses

    @property
    def server(self) -> Server | None:
        """What serves this process's clients; None before."""
        return self._server

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """Those that the ``uwsgi`` module offers."""
        return (
            self.worker_id,
            self.masterpid,
            self.total_requests,
            self.workers,
            self.accepting,
            self.reload,
            self.stop,
            self.lock,
            self.unlock,
            self.is_locked,
        )

    def worker_id(self) -> int:
        """Return 1 to N in workers, 0 elsewhere."""
        return self._worker_id

    def masterpid(self) -> int:
        """Return the master's process id, 0 without one."""
        return self._master_pid

    def reload(self) -> bool:
        """Restart gracefully, as SIGHUP does."""
        os.kill(self._master_pid or os.getpid(), signal.SIGHUP)
        return True

    def stop(self) -> bool:
        """Stop, as SIGQUIT does."""
        os.kill(self._master_pid or os.getpid(), signal.SIGQUIT)
        return True

    def total_requests(self) -> int:
        """Return the requests that the living workers have begun."""
        return sum(status.requests for status in self._statuses())

    def workers(self) -> tuple[dict[str, Any], ...]:
        """Return what each worker has done; of one that is being replaced, its successor."""
        shown = map(described, newest(self._statuses()))
        return tuple({**worker, "status": worker["status"].encode()} for worker in shown)  # bytes, as uWSGI's

    def accepting(self, flag: int = 1, /) -> None:
        """Begin (1) or cease (0) to accept clients in this worker."""
        in_hub(self._accept, bool(flag))

    def _accept(self, flag: bool) -> None:
        if self._server is None or self._server.is_draining:
            return  # a worker that leaves does not begin again
        for listener in self._server.listeners:
            if flag:
                listener.resume()
            else:
                listener.pause()

    def lock(self, number: int = 0, /) -> None:
        """Wait for a lock and hold it: no other request of any worker has it then."""
        self._lock(number).acquire()

    def unlock(self, number: int = 0, /) -> None:
        """Give a lock back; without effect when this worker does not hold it."""
        self._lock(number).release()

    def is_locked(self, number: int = 0, /) -> bool:
        """Say whether any process holds a lock."""
        return self._lock(number).is_held()

    def _lock(self, number: int) -> _Lock:
        if not 0 <= number < len(self._locks):
            raise ValueError("Invalid lock number")
        return self._locks[number]


class _Lock:
    """A lock that greenlets of several processes share; the kernel gives it back when its holder dies.

    A semaphore lets one greenlet of a process through; that one takes the file's lock for the whole process.
    """

    def __init__(self) -> None:
        self._shared = os.memfd_create("uwsgi.lock", os.MFD_CLOEXEC)
        self._owner = 0  # the process that opened _fd
        self._fd = -1
        self._turn: Any = self._new_turn()

    def _new_turn(self) -> Any:
        return BoundedSemaphore()

    def acquire(self) -> None:
        """Wait for the lock and take it."""
        self._turn.acquire()
        try:
            self._take(self._own())
        except BaseException:
            self._turn.release()
            raise

    def _take(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        # A thread waits, the other greenlets go on.
        waiting = get_hub().threadpool.spawn(fcntl.flock, fd, fcntl.LOCK_EX)
        try:
            waiting.get()
        except BaseException:
            # The greenlet is killed: the thread cannot be stopped, so what it gets is given back.
            waiting.rawlink(lambda _: fcntl.flock(fd, fcntl.LOCK_UN))
            raise

    def release(self) -> None:
        """Give the lock back, if this process has it."""
        if self._turn.locked():
            fcntl.flock(self._own(), fcntl.LOCK_UN)
            self._turn.release()

    def is_held_here(self) -> bool:
        """Say whether this process has it."""
        return bool(self._turn.locked())

    def is_held(self) -> bool:
        """Say whether any process has it."""
        if self._turn.locked():
            return True
        fd = self._own()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(fd, fcntl.LOCK_UN)
        return False

    def _own(self) -> int:
        """Return this process's own opening of the file: an inherited one would share its parent's lock."""
        if self._owner != os.getpid():
            self._fd = os.open(f"/proc/self/fd/{self._shared}", os.O_RDWR | os.O_CLOEXEC)
            keep_descriptor(self._fd)  # a copy of ours would hold the lock after our end
            self._owner = os.getpid()
        return self._fd


class _ThreadLock(_Lock):
    """The same for threads: each just waits. The hub's thread, where it runs requests too, waits in a greenlet."""

    def _new_turn(self) -> Any:
        return _ThreadTurn()

    def _take(self, fd: int) -> None:
        if is_hub_here():
            super()._take(fd)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX)


class _ThreadTurn:
    """A lock of threads that holds up no event loop: what its holder needs of that may be what gives it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.locked = self._lock.locked
        self.release = self._lock.release

    def acquire(self) -> None:
        """Wait for the lock and take it."""
        if not is_hub_here():
            self._lock.acquire()
        elif not self._lock.acquire(blocking=False):
            waiting = get_hub().threadpool.spawn(self._lock.acquire)
            try:
                waiting.get()
            except BaseException:
                # The greenlet is killed: the thread cannot be stopped, so what it gets is given back.
                waiting.rawlink(lambda _: self._lock.release())
                raise
