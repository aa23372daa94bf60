"""Turns a request into a WebSocket connection: the server's half of the opening handshake."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from uwsgi_ws.channels.bus import Bus
from uwsgi_ws.errors import ClientGone, HandshakeError, InvalidState
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.net.base import Stream
from uwsgi_ws.protocol.websocket import handshake
from uwsgi_ws.protocol.websocket.deflate import negotiate
from uwsgi_ws.request.base import Headers, Request
from uwsgi_ws.request.event_stream import EventStream
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.connection import Connection
from uwsgi_ws.websocket.handed_over import HandedOver, SocketPair
from uwsgi_ws.websocket.live import ConnectionSettings

__all__ = ["SOCKET_KEYS", "Acceptor"]

#: In the environ of a request that asks for a WebSocket: what an application takes to speak WebSocket by itself. The
#: names are Werkzeug's development server's, which libraries look for first, and gunicorn's.
SOCKET_KEYS = ("werkzeug.socket", "gunicorn.socket")


class Acceptor:
    """A worker's settings for WebSockets, applied to one request at a time.

    Attributes:
        on_accept: Called with each request that has become a WebSocket; None for nothing.
        admit: Called with each request that is to be answered by an event stream, before it is; returns what is called
            at its end. None lets all pass.
    """

    _has_threads = False

    def __init__(self, settings: ConnectionSettings, poller: Poller, timers: Timers, stats: Stats) -> None:
        self._settings = settings
        self._poller = poller
        self._timers = timers
        self._stats = stats
        self.on_accept: Callable[[Request], None] | None = None
        self.admit: Callable[[Request], Callable[[], object]] | None = None

    def accept(self, request: Request, headers: Headers, subprotocol: str | None, reason: str) -> Connection:
        """Make a request a WebSocket, as ``Request.accept`` says; admission has checked how it asked."""
        self._check(request)
        agreement = None
        if self._settings.compressors is not None:
            agreement = negotiate(request.environ, self._settings.compressors.settings)
            if agreement is not None:
                headers = [*headers, ("Sec-WebSocket-Extensions", agreement.header)]
        stream, early = self._upgrade(request, reason, headers)
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
        connection.label = self._label(request)
        for key in SOCKET_KEYS:
            request.environ.pop(key, None)  # each idle connection would keep it for nothing
        self._stats.websockets += 1
        connection.start(early)
        if self.on_accept is not None:
            self.on_accept(request)
        return connection

    def hand_over(self, request: Request, headers: Headers, reason: str) -> socket.socket:
        """Make a request a WebSocket whose application speaks the protocol itself; see Accepts."""
        self._check(request)
        pair = SocketPair(self._poller, self._timers, has_threads=self._has_threads)
        try:
            stream, early = self._upgrade(request, reason, headers)
        except BaseException:
            pair.close()
            raise
        path = request.environ["PATH_INFO"]
        handed_over = HandedOver(stream, pair, self._timers, self._settings.keepalive, path)
        handed_over.label = self._label(request)
        request.websocket = handed_over  # type: ignore[assignment]  # it stands for one, to the server
        self._stats.websockets += 1
        handed_over.start(early)
        if self.on_accept is not None:
            self.on_accept(request)
        return pair.theirs

    def _upgrade(self, request: Request, reason: str, headers: Headers) -> tuple[Stream, bytes]:
        try:
            return request.upgrade(reason, headers)
        except OSError as exc:
            raise ClientGone("the client left before its WebSocket was accepted") from exc

    def _label(self, request: Request) -> tuple[str, str]:
        """Count a WebSocket that has opened; return what it is counted by."""
        carrier = f"{request.carrier}+tls" if request.carrier_scheme == "https" else request.carrier
        return self._stats.measures.opened(carrier, request.environ.get("SCRIPT_NAME"))

    def stream_events(self, request: Request, bus: Bus) -> EventStream:
        """See Accepts."""
        if request.event_stream is not None:
            raise InvalidState("the request has an event stream already")
        when_over = None if self.admit is None else self.admit(request)
        path = request.environ["PATH_INFO"]
        stream = EventStream(bus, self._settings, self._poller, self._timers, self._stats, path, when_over)
        request.event_stream = stream
        return stream

    def _check(self, request: Request) -> None:
        if request.websocket is not None or request.is_head_written:
            raise InvalidState("the request has been answered already")
        if not handshake.is_websocket(request.environ):
            raise HandshakeError(426, "this resource speaks WebSocket only", (("Upgrade", "websocket"),))

    def _connect(self, *args: Any, **kwargs: Any) -> Connection:
        return Connection(*args, **kwargs)
