"""Closes clients that only keep the worker waiting, when all slots are taken and another client waits for one.

Any client can hold a slot without any work being done for it: by half a request head, or by a body that never comes. So
while others wait, such clients are closed. They go in this order, and of each kind the one first that has kept the
worker waiting for longest:

1. A client that has its answer, and neither takes all of it nor closes the connection.
2. An idle connection, whose client expects that it may be closed.
3. A client without a whole request: half a TLS handshake, PROXY header, request head or uwsgi packet; an HTTP/2
   connection without a stream.
4. A request whose application waits for the client, while the client sends and takes next to nothing.

No client is closed while there are free slots, or while no other waits for one. WebSockets are never closed: they may
be silent.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable
from enum import IntEnum
from time import monotonic
from typing import Any

from gevent.hub import Hub

from uwsgi_ws.request.base import Front, Request

__all__ = ["Evictor"]

_log = logging.getLogger("uwsgi_ws.eviction")

#: Seconds that a client may need to close the connection once it has its answer, and to send a request. A client far
#: away needs four round trips for a request over TLS, some 0.8 s.
_LEAVING, _REQUEST = 0.5, 1.0
#: Seconds over which a request's client is watched, and bytes in a second that it must send or take in them. Kestrel
#: asks for 240, Apache (mod_reqtimeout) for 500.
_WATCH, _RATE = 2.0, 500
#: Seconds between two looks while a client waits.
_TICK = 0.25
#: Seconds that an HTTP/2 connection must have been without a stream: it often is for a moment, between two.
_MOMENT = 1.0
#: Seconds between two lines about the same cause.
_SAY_AGAIN = 10.0


class _Cause(IntEnum):
    ANSWERED = 1
    IDLE = 2
    NO_REQUEST = 3
    STALLED = 4


_WORDS = {
    _Cause.ANSWERED: "that had their answer and did not leave",
    _Cause.IDLE: "that were idle",
    _Cause.NO_REQUEST: f"without a whole request after {_REQUEST:g} s or more",
    _Cause.STALLED: f"that sent and took less than {_RATE} bytes a second while their requests waited for them",
}


class Evictor:
    """Frees slots while a client waits for one. Used in the hub.

    Args:
        clients: Returns the clients that are served now: greenlets, each with its front.
        is_served: Returns whether a greenlet still serves the client of a front.
        is_wanted: Returns whether a client waits for a slot, and none is free.
        when_calm: Called when no client waits any more; for the next one ``press`` must be called again.
        is_exempt: Returns whether a request's client may be silent, as that of a WebSocket.
    """

    def __init__(
        self,
        hub: Hub,
        clients: Callable[[], Iterable[tuple[Any, Front]]],
        is_served: Callable[[Any, Front], bool],
        is_wanted: Callable[[], bool],
        when_calm: Callable[[], object],
        is_exempt: Callable[[Request], bool],
    ) -> None:
        self._loop: Any = hub.loop
        self._clients = clients
        self._is_served = is_served
        self._is_wanted = is_wanted
        self._when_calm = when_calm
        self._is_exempt = is_exempt
        self._queue: list[tuple[_Cause, float, Front, Any]] = []  # the first to go is the last
        self._watched: dict[Request, tuple[float, int]] = {}  # since when, and how many bytes had passed then
        self._looked_at = -math.inf
        self._timer: Any = None
        self._report = _Report(self._loop)

    def press(self) -> None:
        """Free a slot, at once or as soon as a client may go, while another waits for it; called when all are taken."""
        if self._timer is None:
            self._timer = self._loop.timer(_TICK, ref=False)
            self._timer.start(self._tick)
        if self._is_wanted():
            self._evict_one()

    def _tick(self) -> None:
        self._timer.close()
        self._timer = None
        if self._is_wanted():
            self.press()
        else:
            self._queue.clear()
            self._watched.clear()
            self._when_calm()

    def _evict_one(self) -> None:
        now = monotonic()
        if not self._queue and now - self._looked_at >= _TICK / 2:
            self._looked_at = now
            self._look(now)
        while self._queue:
            cause, since, front, greenlet = self._queue.pop()
            if not self._is_served(greenlet, front) or self._why(front, now) != (cause, since):
                continue  # it has gone, or done something, meanwhile
            self._report.add(cause)
            front.evict()
            return

    def _look(self, now: float) -> None:
        """Find all clients that may go."""
        watched, self._watched = self._watched, {}
        for greenlet, front in self._clients():
            request = front.request
            if request is not None and not self._is_exempt(request):
                progress = front.progress()
                if progress is not None:
                    self._watched[request] = self._watch(watched.get(request), progress, now)
            why = self._why(front, now)
            if why is not None:
                self._queue.append((*why, front, greenlet))
        self._queue.sort(key=lambda entry: entry[:2], reverse=True)

    def _watch(self, before: tuple[float, int] | None, progress: int, now: float) -> tuple[float, int]:
        """Return since when a client has been too slow, and how many bytes had passed then."""
        if before is None or progress - before[1] >= max(1.0, now - before[0]) * _RATE:
            return now, progress
        return before

    def _why(self, front: Front, now: float) -> tuple[_Cause, float] | None:
        """Return why a client may go, and since when it has kept the worker waiting; None if it may not."""
        request = front.request
        if request is None:
            since = front.owes_since
            if not front.is_idle:
                return (_Cause.NO_REQUEST, since) if now - since >= _REQUEST else None
            return (_Cause.IDLE, since) if now - since >= (_MOMENT if front.has_moments else 0) else None
        since = self._watched.get(request, (math.inf, 0))[0]
        if request.is_over:
            return (_Cause.ANSWERED, since) if now - since >= _LEAVING else None
        if now - since >= _WATCH and front.progress() is not None:
            return _Cause.STALLED, since
        return None


class _Report:
    """Logs which clients were closed: one line for each cause, and another only after a while."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._counts: Counter[_Cause] = Counter()
        self._timer: Any = None

    def add(self, cause: _Cause) -> None:
        is_new = not self._counts[cause]
        self._counts[cause] += 1
        if self._timer is None:
            self._timer = self._loop.timer(_SAY_AGAIN, ref=False)
            self._timer.start(self._say_all)
        if is_new:
            _log.warning("all places are taken, and others wait: closing clients %s", _WORDS[cause])

    def _say_all(self) -> None:
        self._timer.close()
        self._timer = None
        counts, self._counts = self._counts, Counter()
        for cause, count in counts.items():
            _log.warning("%d clients were closed %s", count, _WORDS[cause])
