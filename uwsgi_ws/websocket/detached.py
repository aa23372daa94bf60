"""A WebSocket that its application has left to the server: functions are called for what comes.

The application's greenlet, or its thread, has ended, and the request with its environ is gone. The hub goes on as
before: it feeds the connection from the channels that were joined, pings, and keeps its limits. A greenlet is borrowed
while messages wait, one at a time for each connection, so they are answered in order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from uwsgi_ws.errors import ConnectionClosed
from uwsgi_ws.hub import own
from uwsgi_ws.hub.dismissed import Dismissed
from uwsgi_ws.protocol.websocket.frames import CloseCode

__all__ = ["Detached", "Keeper"]

#: Gets the connection, and a message or the end.
Function = Callable[[Any, Any], object]

_log = logging.getLogger("uwsgi_ws.websocket")


class Keeper(Protocol):
    """Keeps a worker's detached connections."""

    def lend_greenlet(self, serve: Callable[[], None]) -> None:
        """Have ``serve`` called soon, in a greenlet of the hub's; any thread may ask."""

    def call(self, function: Callable[[], None]) -> None:
        """Call what calls the application, where applications run, and wait for it."""

    def let_go(self, detached: Detached) -> None:
        """The connection has ended, and the application knows."""


class Detached:
    """Made by the application's ``Connection.detach``; in effect from ``keep`` on, when the application has returned.

    Attributes:
        connection: The WebSocket, a ``Connection``.
        is_over: The connection has ended, and the application has been told.
        origin: What the keeper remembers of the request.
    """

    __slots__ = (
        "_is_busy",
        "_keeper",
        "_on_close",
        "_on_message",
        "connection",
        "is_over",
        "origin",
    )

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._on_message: Function | None = None
        self._on_close: Function | None = None
        self._keeper: Keeper | None = None
        self._is_busy = False
        self.is_over = False
        self.origin = ""

    def call(self, on_message: Function | None, on_close: Function | None) -> None:
        """Have these called from now on."""
        self._on_message, self._on_close = on_message, on_close

    def keep(self, keeper: Keeper) -> None:
        """Begin: call the functions for what has come, and for what comes."""
        self._keeper = keeper
        if self._has_work():
            self.look()

    def look(self) -> None:
        """See to it that what has come is taken: a message, or the end."""
        if self._keeper is not None and not self._is_busy:
            self._is_busy = True
            self._keeper.lend_greenlet(self._serve)

    def _has_work(self) -> bool:
        connection = self.connection
        return connection.has_messages or not connection.is_open

    def _serve(self) -> None:
        """Have the application take what there is; in the hub's thread."""
        keeper = self._keeper
        assert keeper is not None
        try:
            # A message may come while a thread is on its way back.
            while not self.is_over and self._has_work():
                keeper.call(self._take_messages)
        except BaseException as exc:  # RuntimeError: there is no thread. Dismissed: none of ours can be interrupted.
            self.is_over = True
            if not isinstance(exc, Dismissed):
                _log.error("%s: a message cannot be taken: %s", self.connection.path, exc)
                self.connection.close(CloseCode.INTERNAL_ERROR)
        finally:
            self._is_busy = False
            self.connection.trim()
            if self.is_over:
                self._keeper = None
                self.connection.detached = None
                self.connection.release()
                keeper.let_go(self)

    def _take_messages(self) -> None:
        """Call the application with the messages that wait, and the end."""
        try:
            self._take()
        except Dismissed:
            self.is_over = True  # the server stops

    def _take(self) -> None:
        connection = self.connection
        try:
            while (message := connection.recv(0.0)) is not None:
                if self._on_message is not None:
                    self._call(self._on_message, message)
        except ConnectionClosed as end:
            self.is_over = True
            if self._on_close is not None:
                self._call(self._on_close, end)

    def _call(self, function: Function, argument: object) -> None:
        """Call a function of the application's; one that raises ends the connection with 1011, as an application."""
        connection = self.connection
        try:
            function(connection, argument)
        except Dismissed:
            raise
        except BaseException as exc:  # gevent.Timeout, GreenletExit and SystemExit too: they end the connection only
            if own.is_copy:
                own.end_copy(None if isinstance(exc, ConnectionClosed) else exc)
            if not isinstance(exc, ConnectionClosed) or connection.is_open:
                _log.exception("%s: the application's function failed", connection.path)
                connection.release(CloseCode.INTERNAL_ERROR)
        if own.is_copy:
            own.end_copy()
