"""Refuses new clients while the process is near a bound, so that those that it has are not failed.

Two bounds are watched: the descriptors that the process may have (RLIMIT_NOFILE), and ``--max-memory``. Near one, a new
client gets 503 for its first request, whatever that asks for, and its connection ends. WebSockets and requests go on;
idle connections are closed, and those of HTTP/1.1 with their next response, as when all slots are taken. It ends well
below the bound, so that it does not begin again with the next client. While another worker has room the clients of
shared sockets are left to it, and none of them is refused.

A new descriptor has the lowest number that is free. So the number of an accepted one tells, without a call, how many
are open at least: a client whose number is past ``first_refused`` is refused. That number leaves a reserve, for what
the application opens, and for those clients that are being refused. Memory is looked at with each heartbeat.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import resource
from collections.abc import Callable
from time import monotonic
from typing import Any

from uwsgi_ws.request.answers import respond_status
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.steps import Handler
from uwsgi_ws.server.clients import ClientPool

__all__ = ["Overload", "refuse", "reserve_of"]

_log = logging.getLogger("uwsgi_ws.overload")

#: Seconds after which a refused client may try again, and that it may take to send its request.
RETRY_AFTER, HEAD_TIMEOUT = 5, 5.0
#: The part of ``--max-memory`` below which it is over.
_CALM = 0.95
#: Seconds in which a further one is not told of.
_SAY_AGAIN = 10.0
_MIB = 1 << 20


def reserve_of(limit: int) -> int:
    """Return how many of so many descriptors are not for clients: a sixteenth, but 16 at least and 256 at most."""
    return min(max(16, limit // 16), 256)


def refuse(request: Request, otherwise: Handler) -> None:
    """Answer 503 instead of all that would follow; a step."""
    headers = (("Retry-After", str(RETRY_AFTER)),)
    respond_status(request, 503, headers, ": the server is overloaded, try again later")


class Overload:
    """Whether the worker is overloaded. Used in the hub.

    Args:
        clients: Those that the worker serves, refused ones included.
        max_memory: Bytes of resident memory; 0 is no bound.
        on_change: Called when it has begun, and when it has ended.

    Attributes:
        is_on: Whether new clients are refused.
        first_refused: The lowest descriptor that no new client may have; 0 while it is on.
        refusing: Clients that are being refused.
        refused: Those that have been, or are being.
        has_failed: Whether no client could be accepted, since the last look.
        has_helpers: Whether others, which accept from the same sockets, have room.
        look_for_helpers: Says so.
    """

    def __init__(self, clients: ClientPool, max_memory: int, on_change: Callable[[], object]) -> None:
        self._clients = clients
        self._max_memory = max_memory
        self._on_change = on_change
        self.is_on = self.has_failed = self.has_helpers = False
        self.look_for_helpers: Callable[[], bool] = lambda: False
        self.refusing = self.refused = 0
        self._is_said = False
        self._began_at, self._ended_at, self._refused_before = 0.0, -math.inf, 0
        self._trimmed_at = 0  # clients
        self._rss = 0
        self._measure()
        self.first_refused = self._bound

    def _measure(self) -> None:
        """Read the limit, which may have been changed."""
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._limit = 1 << 30 if soft == resource.RLIM_INFINITY else soft
        self._reserve = reserve_of(self._limit)
        self._bound = max(1, self._limit - self._reserve)

    @property
    def is_crowded(self) -> bool:
        """Whether so many clients are being refused that further ones have to wait: they need descriptors, too."""
        return self.has_failed or self.refusing >= self._reserve // 2

    def begin(self, why: str = "") -> None:
        """Refuse clients from now on: there is one whose descriptor is past the bound.

        Args:
            why: The reason why no client could be accepted, if that is how it was noticed.
        """
        if not self.is_on:
            self._begin(why or f"{self._bound} of {self._limit} descriptors are open")

    def fail(self, why: str) -> None:
        """Take note that a client could not be accepted; all others wait until the next look."""
        self.has_failed = True
        self.begin(why)

    def look(self, rss: int) -> None:
        """Look whether it has begun or ended.

        Args:
            rss: Bytes of resident memory.
        """
        self._rss = rss
        self._measure()
        if not self.is_on:
            self.first_refused = self._bound
            if 0 < self._max_memory <= rss and self._served:
                self._begin(f"{rss // _MIB} of {self._max_memory // _MIB} MiB of memory are in use (--max-memory)")
            return
        if self._max_memory:
            self._trim()
        had_failed, self.has_failed = self.has_failed, False
        if not had_failed and self._is_over():
            self._end()
        else:
            self.has_helpers = self.look_for_helpers()
            self._on_change()  # those that wait are tried again

    @property
    def is_in_vain(self) -> str | None:
        """What the worker has too much of without having a client, in words for the log; None for nothing."""
        if self._served:
            return None
        if 0 < self._max_memory <= self._rss:
            return f"it holds {self._rss // _MIB} MiB of memory without a client (--max-memory)"
        return "it has too many descriptors open without a client" if self.is_on else None

    @property
    def _served(self) -> int:
        return len(self._clients) - self.refusing

    def _is_over(self) -> bool:
        if 0 < self._max_memory * _CALM <= self._rss and self._served:
            return False
        return _open_descriptors() - self.refusing < self._bound - self._reserve // 4

    def _begin(self, why: str) -> None:
        self.is_on, self.first_refused = True, 0
        self._began_at, self._trimmed_at = monotonic(), self._served
        self.has_helpers = self.look_for_helpers()
        self._is_said = self._began_at - self._ended_at >= _SAY_AGAIN
        if self._is_said:
            self._refused_before = self.refused
            _log.warning(
                "overloaded (pid: %d): %s; clients that stay: %d; new ones get 503", os.getpid(), why, self._served
            )
        self._on_change()

    def _end(self) -> None:
        self.is_on, self.first_refused = False, self._bound
        self._ended_at = monotonic()
        if self._is_said:
            _log.warning(
                "no longer overloaded (pid: %d), after %d s: %d of %d descriptors are open, %d MiB of memory are in "
                "use; %d clients were refused",
                os.getpid(),
                self._ended_at - self._began_at,
                _open_descriptors(),
                self._limit,
                self._rss // _MIB,
                self.refused - self._refused_before,
            )
        self._on_change()

    def _trim(self) -> None:
        """Have the C library give back what clients that have left have freed; it keeps that for others."""
        if self._served < 0.9 * self._trimmed_at or (not self._served and self._trimmed_at):
            self._trimmed_at = self._served
            trim: Any = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim is not None:
                trim(0)


def _open_descriptors() -> int:
    """Return how many this process has."""
    try:
        # Linux 6.2 tells the number here; before, it has to be counted.
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return 1 << 30  # there is none left to look by
