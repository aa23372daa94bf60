"""Turns a request into a WebSocket connection: the server's half of the opening handshake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uwsgi_ws.errors import HandshakeError, InvalidState
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.protocol.websocket import handshake
from uwsgi_ws.protocol.websocket.deflate import negotiate
from uwsgi_ws.request.base import Headers, Request
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.connection import Connection
from uwsgi_ws.websocket.live import ConnectionSettings

__all__ = ["Acceptor"]


class Acceptor:
    """A worker's settings for WebSockets, applied to one request at a time.

    Attributes:
        on_accept: Called with each request that has become a WebSocket; None for nothing.
    """

    def __init__(self, settings: ConnectionSettings, poller: Poller, timers: Timers, stats: Stats) -> None:
        self._settings = settings
        self._poller = poller
        self._timers = timers
        self._stats = stats
        self.on_accept: Callable[[Request], None] | None = None

    def accept(self, request: Request, headers: Headers, subprotocol: str | None, reason: str) -> Connection:
        """Make a request a WebSocket, as ``Request.accept`` says; admission has checked how it asked."""
        if request.websocket is not None or request.is_head_written:
            raise InvalidState("the request has been answered already")
        if not handshake.is_websocket(request.environ):
            raise HandshakeError(426, "this resource speaks WebSocket only", (("Upgrade", "websocket"),))
        agreement = None
        if self._settings.compressors is not None:
            agreement = negotiate(request.environ, self._settings.compressors.settings)
            if agreement is not None:
                headers = [*headers, ("Sec-WebSocket-Extensions", agreement.header)]
        stream, early = request.upgrade(reason, headers)
        connection = self._connect(
            stream,
            self._settings,
            self._poller,
            self._timers,
            self._stats,
            path=request.environ["PATH_INFO"],
            subprotocol=subprotocol,
            agreement=agreement,
        )
        request.websocket = connection
        self._stats.websockets += 1
        connection.start(early)
        if self.on_accept is not None:
            self.on_accept(request)
        return connection

    def _connect(self, *args: Any, **kwargs: Any) -> Connection:
        return Connection(*args, **kwargs)
