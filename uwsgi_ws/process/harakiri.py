"""``--harakiri``: ends requests that take too long.

uWSGI kills the worker, and with it every other client's connection. A greenlet can be ended alone: an exception is
raised wherever it waits, so that its traceback tells where that was, and the client gets 500. Only a worker whose event
loop does not come round any more is killed, by the master.
"""

from __future__ import annotations

from time import monotonic

from uwsgi_ws.errors import RequestTimeout
from uwsgi_ws.log import say
from uwsgi_ws.routing.actions import HARAKIRI
from uwsgi_ws.server.server import Server

__all__ = ["Harakiri"]


class Harakiri:
    """Looks at all requests now and then; so a request that is quick enough costs nothing.

    Args:
        worker_id: For the log.
        limit: Seconds that a request may take; 0 for no limit but those that routes set.
        websockets: Whether that goes for WebSockets too, which usually stay.
    """

    def __init__(self, server: Server, worker_id: int, limit: float, *, websockets: bool) -> None:
        self._server = server
        self._worker_id = worker_id
        self._limit = limit
        self._websockets = websockets
        self._first_seen: dict[int, float] = {}  # by request id; not by the clock on the wall, which may be set

    def sweep(self) -> None:
        """End what has taken too long."""
        now = monotonic()
        before, self._first_seen = self._first_seen, {}
        for greenlet, front in self._server.clients():
            request = front.request
            if request is None or request.is_over or self._server.is_waiting(request):
                continue
            if not self._websockets and self._server.websocket_of(request) is not None:
                continue
            since = self._first_seen[request.request_id] = before.get(request.request_id, now)
            limit = request.environ.get(HARAKIRI, self._limit)
            if 0 < limit <= now - since:
                where = f"WORKER {self._worker_id} CORE {request.core}"
                environ = request.environ
                what = f"{environ.get('REQUEST_METHOD', '-')} {environ.get('REQUEST_URI', '-')}"
                say(f"*** HARAKIRI ON {where}: {what} has taken {now - since:.0f} seconds ***")
                greenlet.kill(RequestTimeout(f"longer than {limit:g} seconds (--harakiri)"), block=False)
