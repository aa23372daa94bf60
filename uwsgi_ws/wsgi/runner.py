"""Calls an application for a request and sends its response: PEP 3333, and uWSGI's rules for WebSockets.

A request that became a WebSocket ends with a close frame whatever the application returns (1000), or 1011 when it
raises; uWSGI just drops the connection.

Not compiled, for the reason given in ``fronts.bytestream``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any

from uwsgi_ws.errors import ClientGone, ConnectionClosed, RequestError
from uwsgi_ws.hub import own
from uwsgi_ws.hub.dismissed import Dismissed
from uwsgi_ws.protocol.websocket.frames import CloseCode
from uwsgi_ws.request.answers import fail, log_exception, respond_error
from uwsgi_ws.request.base import Request
from uwsgi_ws.websocket.handed_over import HandedOver
from uwsgi_ws.wsgi.current import set_current
from uwsgi_ws.wsgi.environ import EnvironBase
from uwsgi_ws.wsgi.response import Response

__all__ = ["Application", "Call", "WsgiRunner", "run"]

Application = Callable[[dict[str, Any], Callable[..., Callable[[bytes], object]]], Iterable[bytes] | None]
#: Calls an application for a request and sends its response, as `run` does: here or in a thread, now or later.
Call = Callable[[Application, Request], bool]

_log = logging.getLogger("uwsgi_ws.wsgi")

# How an application's run ends its WebSocket; plain globals, as each request asks.
_DONE, _FAILED = CloseCode.NORMAL_CLOSURE, CloseCode.INTERNAL_ERROR

_told: set[int] = set()  # ids of applications whose dropped headers have been logged


class WsgiRunner:
    """Runs one application.

    Args:
        application: To be called.
        environ: The shared part of every environ.
        call: Calls it.
    """

    def __init__(self, application: Application, environ: EnvironBase, call: Call) -> None:
        self._application = application
        self._complete = environ.complete
        self._call = call

    def run(self, request: Request) -> bool:
        """Answer a request. See Runner."""
        self._complete(request, self._application)
        is_fine = self._call(self._application, request)
        stream = request.event_stream
        if stream is not None and stream.is_handed_over:
            stream.feed(request)
        return is_fine


def run(application: Application, request: Request) -> bool:
    """Call ``application`` here and send its response. Errors are logged and answered; only Dismissed is raised.

    Returns:
        False when an exception of the application's own ended it.
    """
    response = Response(request)
    set_current(request, response)
    result: Iterable[bytes] | None = None
    close_code = _FAILED
    try:
        try:
            result = application(request.environ, response)
            if own.is_copy:
                own.end_copy()
            if request.websocket is None:
                response.send(result)
        finally:
            if own.is_copy:
                error = sys.exc_info()[1]
                own.end_copy(None if isinstance(error, (ClientGone, ConnectionClosed)) else error)
            close = getattr(result, "close", None)
            if close is not None:
                close()
        close_code = _FAILED if response.has_failed else _DONE
    except Dismissed:
        raise  # the server stops
    except ClientGone as gone:
        _log.info("%s: %s", request.environ.get("REQUEST_URI"), gone)
        request.abandon()
    except BaseException as exc:  # gevent.Timeout, GreenletExit and SystemExit too: they end the request only
        if response.is_complete:
            log_exception(request)
            _finish(request, response)
            return False
        if isinstance(exc, RequestError):
            respond_error(request, exc)
            return True
        if request.websocket is not None and isinstance(exc, ConnectionClosed):
            return True  # the usual end of a receive loop that has no `except`: not an error, no traceback
        if type(exc) in (StopIteration, ConnectionError) and isinstance(request.websocket, HandedOver):
            close_code = _DONE  # a library's word to gunicorn, or to Werkzeug, that it has used the client's socket
            return True
        fail(request)
        return False
    finally:
        if response.dropped:
            _say_dropped(application, request, response)
        websocket = request.websocket
        if websocket is not None:
            if close_code is not _DONE and websocket.detached is not None:
                websocket.detached = None  # an application that fails has not left it to us
            if websocket.detached is None:
                websocket.release(close_code)
    return True


def _finish(request: Request, response: Response) -> None:
    try:
        response.finish()
    except OSError:
        request.abandon()


def _say_dropped(application: Application, request: Request, response: Response) -> None:
    """Log once for each application which of its headers are dropped, as they are the server's to send."""
    if id(application) not in _told:
        _told.add(id(application))
        names = ", ".join(response.dropped)
        _log.warning("%s: %s: the server's to send, dropped; not said again", request.environ.get("REQUEST_URI"), names)
