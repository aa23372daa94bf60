"""Ends a worker's requests and WebSockets within a time, and spreads out when the clients of WebSockets come back."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic

import gevent

from uwsgi_ws.hub.dismissed import Dismissed
from uwsgi_ws.protocol.websocket.frames import CloseCode
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.event_stream import EventStream
from uwsgi_ws.server.clients import ClientPool
from uwsgi_ws.server.kept import KeptWebSockets
from uwsgi_ws.websocket.connection import Connection
from uwsgi_ws.websocket.tunnel import Tunnel

__all__ = ["Drain"]

_REASONS: dict[int, str] = {CloseCode.GOING_AWAY: "server stops", CloseCode.SERVICE_RESTART: "server restarts"}
#: Seconds between two batches, and between two looks at what is left.
_STEP = 0.05
#: Seconds kept back for the closing handshakes of the last batch; half of the timeout where that is less.
_CLOSING = 6.0
#: Seconds that a client accepted just before the drain has left to send its first request.
_FIRST_REQUEST = 3.0


class Drain:
    """Drains one worker, once it has stopped accepting.

    Args:
        clients: The clients that are served.
        kept: The WebSockets that need no greenlet.
        websocket_of: Returns the WebSocket that a request has become, or None.
    """

    def __init__(
        self,
        clients: ClientPool,
        kept: KeptWebSockets,
        websocket_of: Callable[[Request], Connection | Tunnel | EventStream | None],
    ) -> None:
        self._clients = clients
        self._kept = kept
        self._websocket_of = websocket_of
        self._deadline = math.inf
        #: Tells whether something beside the clients is to be waited for.
        self.is_busy: Callable[[], bool] = lambda: False

    def shorten(self, timeout: float) -> None:
        """Have ``run``, also one in progress, end within ``timeout`` seconds from now; never later than planned."""
        self._deadline = min(self._deadline, monotonic() + timeout)

    def run(self, code: int, timeout: float, rate: float) -> None:
        """Close WebSockets with ``code``, and wait for the rest.

        WebSockets are closed in batches, as their clients may all come back at once. Those not closed yet go on.

        Args:
            code: 1001 when the server stops, 1012 when it comes back at once.
            timeout: Seconds until what is left is dropped.
            rate: WebSockets to close in a second; more where the timeout is too short for it.
        """
        self.shorten(timeout)
        first_request_by = monotonic() + min(_FIRST_REQUEST, timeout / 2)
        closing: list[Connection | Tunnel | EventStream] = []
        while (now := monotonic()) < self._deadline:
            still_open: list[Connection | Tunnel | EventStream] = []
            for greenlet, front in self._clients.serving():
                request = front.request
                if request is None:
                    if front.is_idle or (now >= first_request_by and not front.has_streams):
                        greenlet.kill(Dismissed, block=False)
                elif (websocket := self._websocket_of(request)) is not None and websocket.is_open:
                    still_open.append(websocket)
            still_open += [each.connection for each in self._kept if each.connection.is_open]
            left = self._deadline - now
            steps = max(1.0, (left - min(_CLOSING, left / 2)) / _STEP)
            batch = still_open[: math.ceil(max(rate * _STEP, len(still_open) / steps))]
            for websocket in batch:
                websocket.close(code, _REASONS.get(code, ""))
            # An application that returns at once leaves its connection in the closing handshake.
            closing = [websocket for websocket in closing + batch if not websocket.is_ended]
            if not self._clients and not closing and not self.is_busy():
                return
            gevent.sleep(_STEP)
        # What is left is dropped, but each WebSocket is told before.
        for _, front in self._clients.serving():
            if front.request is not None and (websocket := self._websocket_of(front.request)) is not None:
                websocket.close(code, _REASONS.get(code, ""))
        for detached in self._kept:
            detached.connection.close(code, _REASONS.get(code, ""))
        gevent.joinall(self._clients.kill(Dismissed), timeout=1)
        self._kept.drop()
