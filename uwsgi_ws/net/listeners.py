"""Accepting from listening sockets.

Accepted sockets are the interpreter's plain ones, non-blocking: a ``gevent.socket`` would bring two watchers and a
kilobyte that nobody uses, as streams schedule themselves.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable
from typing import Any

from gevent import monkey
from gevent.pool import Pool
from gevent.server import StreamServer

from uwsgi_ws.hub.own import OwnSocket

__all__ = ["Listener"]

#: What accept(2) fails with when only this one client, or the way to it, is lost.
_GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
    }
)
#: Clients of a shared socket that are accepted in one turn of the loop, while there are always more. To accept one
#: takes a tenth of what its first request does. Were it fewer, a crowd that comes at once would not find room in the
#: kernel's queue, and those that it drops come again after a second (`benchmarks/run.py storm`).
_MOST_AT_ONCE = 512
_poll: Any = monkey.get_original("select", "poll")


class Listener(StreamServer):
    """Accepts while the pool has places; further clients wait in the kernel.

    Args:
        sock: From ``binding.bind``; it stays its owner's to close, after ``stop``.
        handle: Called in a greenlet of the pool with the accepted socket and the peer's address. Best a plain
            function: a bound method takes 144 bytes more of each client's stack.
        pool: The worker's places, shared by its listeners.
        is_shared: Whether other processes accept from it too. Then one client is taken at a time, so that whoever
            wakes first does not take them all; more and more only while they wait in a queue.
        one_at_a_time: Take one client at a time whatever waits.
        when_full: Called in the hub when there is no place for a client that has come or may come. Nobody looks then
            until a place is free, or ``look_again``.
        when_failed: Called in the hub with the reason when a client could not be accepted. Unless it has called
            ``hold``, the next attempt follows at once.
    """

    def __init__(
        self,
        sock: socket.socket,
        handle: Callable[[Any, Any], None],
        pool: Pool,
        *,
        is_shared: bool = False,
        one_at_a_time: bool = False,
        when_full: Callable[[], object] = lambda: None,
        when_failed: Callable[[OSError], object] = lambda error: None,
    ) -> None:
        super().__init__(sock, handle, spawn=pool)
        if is_shared or one_at_a_time:
            self.max_accept = 1
        self.is_shared = is_shared
        self._takes_more = is_shared and not one_at_a_time
        self._is_paused = self._is_held = False
        self._when_full = when_full
        self._when_failed = when_failed
        self.full = self._is_full  # type: ignore[method-assign]  # its base has put the pool's there

    def _is_full(self) -> bool:
        """Return whether no client can be accepted; its base asks before each that might be there."""
        assert self.pool is not None, "it has been given one"
        if not self.pool.full():
            return False
        self._when_full()
        if not self.pool.full():
            return False
        # Its base stops to look, and links this once more.
        self.pool._semaphore.unlink(self._start_accepting_if_started)  # type: ignore[attr-defined]
        return True

    def look_again(self) -> None:
        """Tell of the next client that comes while there is no place, by ``when_full``."""
        self._start_accepting_if_started()  # type: ignore[attr-defined]  # its base's

    @property
    def has_waiting(self) -> bool:
        """Whether a client waits to be accepted, and we would accept it if there were a place."""
        if self._is_paused or self._stop_event.is_set():  # type: ignore[attr-defined]  # its base's
            return False
        poll = _poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def do_read(self) -> Any:
        """Accept one connection (see gevent.baseserver); None when there is none."""
        listening: Any = self.socket
        try:
            fd, address = listening._accept()
        except BlockingIOError:
            if self._takes_more:
                self.max_accept = 1
            return None
        except OSError as exc:
            if exc.errno not in _GONE:
                self._when_failed(exc)
            return None
        try:
            sock = OwnSocket(listening.family, listening.type, listening.proto, fileno=fd)
        except OSError as exc:
            os.close(fd)
            self._when_failed(exc)
            return None
        try:
            sock.setblocking(False)
        except OSError:
            sock.close()  # no fault of the listener's, which its base would close after some errors
            return None
        if self._takes_more and self.max_accept < _MOST_AT_ONCE:
            self.max_accept *= 2  # in the next turn
        return sock, address

    def start_accepting(self) -> None:
        """Accept from now on, unless there is a pause. Its base does this whenever a place becomes free, too."""
        if not self._is_paused and not self._is_held:
            super().start_accepting()

    def pause(self) -> None:
        """Accept no client until ``resume``."""
        self._is_paused = True
        self.stop_accepting()

    def resume(self) -> None:
        """Undo ``pause``."""
        self._is_paused = False
        self.start_accepting()

    def hold(self, is_held: bool) -> None:
        """Let clients wait, or accept them again; whether there is a ``pause`` is another question."""
        if is_held != self._is_held:
            self._is_held = is_held
            if is_held:
                self.stop_accepting()
            else:
                self._start_accepting_if_started()  # type: ignore[attr-defined]  # its base's

    def stop(self, timeout: float | None = None) -> None:
        """Accept no client any more. Unlike gevent's this leaves the pool's clients alone: draining is the server's."""
        self._stop_event.set()  # type: ignore[attr-defined]  # its base's; so that no free place starts it again
        self.stop_accepting()

    def do_handle(self, *args: Any) -> None:
        """Serve a client. The base class closes the socket afterwards, by a frame more on each client's stack."""
        self._spawn(self._handle, *args)  # type: ignore[attr-defined]  # its base's
