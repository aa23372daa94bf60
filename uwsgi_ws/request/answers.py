"""The server's own answers, where no application gives one: all status lines and plain error bodies are made here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

from uwsgi_ws.errors import RequestError
from uwsgi_ws.log.rationed import Rationed
from uwsgi_ws.protocol.websocket.frames import CloseCode
from uwsgi_ws.request.base import Headers, Request

__all__ = [
    "fail",
    "log_exception",
    "respond",
    "respond_as_uwsgi",
    "respond_error",
    "respond_status",
    "status_line",
    "use_error_page",
]

_log = logging.getLogger("uwsgi_ws.wsgi")
_refusals = Rationed(_log)

_error_page: Callable[[Request], tuple[Headers, bytes] | None] | None = None


def status_line(code: int) -> str:
    """Return a status code with its phrase, as ``404 Not Found``; with an empty phrase where it has none.

    RFC 9112 4: the space before the phrase is not optional.
    """
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return f"{code} "


def log_exception(request: Request) -> None:
    """Log the exception that is being handled, and the request that it ended."""
    _log.exception("%s %s", request.environ.get("REQUEST_METHOD"), request.environ.get("REQUEST_URI"))


def use_error_page(page: Callable[[Request], tuple[Headers, bytes] | None] | None) -> None:
    """Have ``fail`` answer with a page of the exception that is being handled, where there is one for the request."""
    global _error_page
    _error_page = page


def fail(request: Request) -> None:
    """Log the exception that is being handled, and answer 500 or close the WebSocket with 1011."""
    log_exception(request)
    if request.websocket is None:
        made = None
        if _error_page is not None and not request.is_head_written and request.fileno() >= 0:
            made = _error_page(request)
        if made is None:
            _answer(request, 500, (), "")
        else:
            respond(request, status_line(500), *made)
    else:
        request.websocket.release(CloseCode.INTERNAL_ERROR)


def respond(request: Request, status: str, headers: Headers, body: bytes) -> None:
    """Send a whole response of the server's own."""
    if not status.startswith(("204", "304")):  # RFC 9110 8.6: they have no length to tell
        headers = [*headers, ("Content-Length", str(len(body)))]
    try:
        request.write_head(status, headers, len(body))
        request.write_last(body)
    except OSError:
        request.abandon()


def respond_status(request: Request, code: int, headers: Headers = (), explanation: str = "") -> None:
    """Send a whole response that says its status, and ``explanation`` behind it, in a line of text."""
    status = status_line(code)
    body = f"{status}{explanation}\n".encode()
    respond(request, status, [("Content-Type", "text/plain; charset=utf-8"), *headers], body)


def respond_as_uwsgi(request: Request, code: int, headers: Headers = ()) -> None:
    """Send a whole response that says the phrase of its status alone, as uWSGI's do."""
    status = status_line(code)
    respond(request, status, [("Content-Type", "text/plain"), *headers], status[4:].encode())


def respond_error(request: Request, error: RequestError) -> None:
    """Answer with the error's own status; drop the connection if a response has begun."""
    _refusals.warning("%s: %d %s", request.environ.get("REQUEST_URI"), error.status, error.reason)
    _answer(request, error.status, error.headers, f": {error.reason}")


def _answer(request: Request, status: int, headers: Headers, explanation: str) -> None:
    if request.is_head_written or request.fileno() < 0:
        request.abandon()
        return
    respond_status(request, status, headers, explanation)
