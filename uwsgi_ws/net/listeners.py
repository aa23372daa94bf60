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

from gevent import get_hub, monkey

from uwsgi_ws.hub.own import OwnSocket
from uwsgi_ws.hub.slots import Slots

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
#: Clients that are accepted in one turn of the loop, while there are always more. To accept one takes a tenth of what
#: its first request does. Were it fewer, a crowd that comes at once would not find room in the kernel's queue, and who
#: is dropped there comes again after a second (`benchmarks/run.py storm`).
_MOST_AT_ONCE = 512
_READ = 1
_poll: Any = monkey.get_original("select", "poll")


class Listener:
    """Accepts while there are slots; further clients wait in the kernel.

    Args:
        sock: From ``binding.bind``; it stays its owner's to close, after ``stop``.
        handle: Called in a slot with the accepted socket and the peer's address; gives the slot back in the end. Best a
            plain function: a bound method takes 144 bytes more of each client's stack.
        slots: The worker's, shared by its listeners.
        is_shared: Whether other processes accept from it too. Then one client is taken at a time, so that whoever
            wakes first does not take them all; more and more only while they wait in a queue.
        one_at_a_time: Take one client at a time whatever waits.
        when_full: Called in the hub when a client has come, or may come, and there is no slot. The listener then looks
            for no client until a slot is free, or until ``look_again``.
        when_failed: Called in the hub with the reason when a client could not be accepted. Unless it has called
            ``hold``, the next attempt follows at once.
    """

    def __init__(
        self,
        sock: socket.socket,
        handle: Callable[[Any, Any], None],
        slots: Slots,
        *,
        is_shared: bool = False,
        one_at_a_time: bool = False,
        when_full: Callable[[], object] = lambda: None,
        when_failed: Callable[[OSError], object] = lambda error: None,
    ) -> None:
        self.socket = sock
        # The interpreter's own socket below gevent's, and what each accepted one is like: plain integers, as the
        # properties for them make members of enumerations.
        self._listening: Any = getattr(sock, "_sock", sock)
        self._kind = int(sock.family), int(sock.type), sock.proto
        self.is_shared = is_shared
        self._handle = handle
        self._slots = slots
        self._watcher: Any = get_hub().loop.io(sock.fileno(), _READ)
        #: Clients that are accepted in one turn of the loop.
        self._count = 1 if is_shared or one_at_a_time else _MOST_AT_ONCE
        self._takes_more = is_shared and not one_at_a_time
        self._is_started = self._is_paused = self._is_held = self._awaits_slot = False
        self._when_full = when_full
        self._when_failed = when_failed

    @property
    def has_waiting(self) -> bool:
        """Whether a client waits to be accepted, and we would accept it if there were a slot."""
        if self._is_paused or not self._is_started:
            return False
        poll = _poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def start(self) -> None:
        """Begin to accept clients."""
        self._is_started = True
        self.look_again()

    def look_again(self) -> None:
        """Look for clients, if that is wanted now; of one that finds no slot ``when_full`` is told."""
        if self._is_started and not self._is_paused and not self._is_held and not self._watcher.active:
            self._watcher.start(self._read)

    def _read(self) -> None:
        """Accept clients that wait; called by the loop."""
        for _ in range(self._count):
            if self._slots.full() and self._is_full():
                return
            accepted = self._accept()
            if accepted is None:
                return
            self._slots.spawn(self._handle, *accepted)
            if self._takes_more and self._count < _MOST_AT_ONCE:
                self._count *= 2  # in the next turn

    def _is_full(self) -> bool:
        """Return whether there is no slot even after ``when_full``; then wait for one."""
        self._when_full()
        if not self._slots.full():
            return False
        self._watcher.stop()
        if not self._awaits_slot:
            self._awaits_slot = True
            self._slots.tell_free(self._slot_is_free)
        return True

    def _slot_is_free(self) -> None:
        self._awaits_slot = False
        self.look_again()

    def _accept(self) -> tuple[OwnSocket, Any] | None:
        """Accept one client; None when there is none."""
        try:
            fd, address = self._listening._accept()
        except BlockingIOError:
            if self._takes_more:
                self._count = 1
            return None
        except OSError as exc:
            if exc.errno not in _GONE:
                self._when_failed(exc)
            return None
        try:
            sock = OwnSocket(*self._kind, fileno=fd)
        except OSError as exc:
            os.close(fd)
            self._when_failed(exc)
            return None
        try:
            sock.setblocking(False)
        except OSError:
            sock.close()  # the client has gone
            return None
        return sock, address

    def pause(self) -> None:
        """Accept no client until ``resume``."""
        self._is_paused = True
        self._watcher.stop()

    def resume(self) -> None:
        """Undo ``pause``."""
        self._is_paused = False
        self.look_again()

    def hold(self, is_held: bool) -> None:
        """Let clients wait, or accept them again; whether there is a ``pause`` is another question."""
        if is_held != self._is_held:
            self._is_held = is_held
            if is_held:
                self._watcher.stop()
            else:
                self.look_again()

    def stop(self) -> None:
        """Accept no client any more, for good. Those that are there go on."""
        self._is_started = False
        self._watcher.stop()
        self._watcher.close()
