"""Calls an application for a request and sends what it answers: PEP 3333, and uWSGI's ways with WebSockets.

A request that became a WebSocket ends with a close frame whatever the application returns (1000), or 1011 when it
raises; uWSGI just drops the connection.
"""

from __future__ import annotations

import io
import logging
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from http import HTTPStatus
from types import TracebackType
from typing import Any

from gevent import GreenletExit

from uwsgi_ws.errors import ClientGone, ConnectionClosed, RequestError
from uwsgi_ws.fronts.base import Headers, Request
from uwsgi_ws.wsgi.current import enter

__all__ = ["Application", "ErrorLog", "FileWrapper", "fail", "respond", "respond_error", "run"]

Application = Callable[[dict[str, Any], Callable[..., Callable[[bytes], object]]], Iterable[bytes] | None]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType]

_log = logging.getLogger("uwsgi_ws.wsgi")

_STATUS = re.compile(r"[1-9][0-9]{2}( [\t -~\x80-\xff]*)?")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: RFC 9110 5.5: visible characters, space and tab; a CR or LF here would split the response.
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)


class FileWrapper:
    """``wsgi.file_wrapper``: an open file as a response body, sent by the kernel where that is possible.

    Args:
        filelike: Has ``read``; with a ``fileno`` of a regular file, its bytes are never copied.
        block_size: Bytes per read where it must be read.
    """

    def __init__(self, filelike: Any, block_size: int = 65_536) -> None:
        self.filelike = filelike
        self.block_size = block_size

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        data: bytes = self.filelike.read(self.block_size)
        if not data:
            raise StopIteration
        return data


class ErrorLog:
    """``wsgi.errors``: text to the server's log, wherever that is now."""

    def write(self, text: str) -> int:
        """Write text as it is."""
        return sys.stderr.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Push it out."""
        sys.stderr.flush()


class _Response:
    """What ``start_response`` and ``write`` share: the head until it must go out."""

    __slots__ = ("content_length", "headers", "is_head", "request", "status")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.is_head = request.environ["REQUEST_METHOD"] == "HEAD"  # before the application changes it
        self.status: str | None = None
        self.headers: Headers = ()
        self.content_length: int | None = None  # the application's own

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """``start_response`` (PEP 3333)."""
        if self.request.is_head_written:
            if exc_info is not None:
                raise exc_info[1].with_traceback(exc_info[2])
            raise OSError("headers already sent")  # uWSGI's words
        if self.status is not None and exc_info is None:
            raise AssertionError("start_response called a second time without exc_info")
        self.content_length = check_head(status, headers)
        if status[0] == "1":
            raise ValueError(f"not the status of a final response: {status!r}")
        self.status = f"{status} " if len(status) == 3 else status  # RFC 9112 4: the space is not optional
        self.headers = list(headers)
        return self.write

    def write(self, data: bytes) -> None:
        """The callable that ``start_response`` returns: send now."""
        if not isinstance(data, bytes):
            raise TypeError(f"a response body is bytes, not {type(data).__name__}")
        self.send_head(None)
        if data:
            self.request.write_body(data)

    def send_head(self, body_length: int | None) -> None:
        """Send the head, unless it has gone; a Content-Length of the application's wins over ``body_length``."""
        if self.request.is_head_written:
            return
        if self.status is None:
            raise AssertionError("the application sent a body before it called start_response")
        headers = self.headers
        if self.content_length is not None:
            body_length = self.content_length
        # For HEAD, no body says nothing about the length that GET's would have.
        elif body_length is not None and (body_length or not self.is_head):
            headers = [*headers, ("Content-Length", str(body_length))]
        if self.status.startswith(("204", "304")):
            # RFC 9110 8.6: a 204 MUST NOT have it; a 304's would have to be that of the 200.
            headers = [header for header in headers if header[0].lower() != "content-length"]
        self.request.write_head(self.status, headers, body_length)


def check_head(status: str, headers: Iterable[tuple[str, str]]) -> int | None:
    """Raise unless an application's status and headers may go out as they are; return the Content-Length in them."""
    if not isinstance(status, str):
        raise TypeError(f"a status is str, not {type(status).__name__}")
    _check_status(status)
    if not isinstance(headers, list):
        raise TypeError(f"response headers are a list, not {type(headers).__name__}")
    length: int | None = None
    for name, value in headers:
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"a response header is a pair of str, not {name!r}: {value!r}")
        is_length = _check_name(name)
        if not (value.isascii() and value.isprintable()) and not _VALUE.fullmatch(value):
            raise ValueError(f"control or non-latin-1 characters in the response header {name!r}")
        if is_length:
            if length is not None or not (value.isascii() and value.isdigit()):
                raise ValueError(f"not a length, or not the only one: Content-Length {value!r}")
            length = int(value)
    return length


# An application uses the same few again and again.
@lru_cache(maxsize=256)
def _check_status(status: str) -> None:
    if not _STATUS.fullmatch(status):
        raise ValueError(f"not a status line: {status!r}")


@lru_cache(maxsize=1_024)
def _check_name(name: str) -> bool:
    """Return whether it is Content-Length's."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a header name: {name!r}")
    lowered = name.lower()
    if lowered in _HOP_BY_HOP:
        raise ValueError(f"{name!r} is the server's to send, not the application's")
    return lowered == "content-length"


def run(application: Application, request: Request) -> bool:
    """Call ``application`` here and send its answer. Never raises: errors are logged and answered.

    Returns:
        False when an exception of the application's own ended it.
    """
    enter(request)
    response = _Response(request)
    result: Iterable[bytes] | None = None
    close_code = 1011
    try:
        try:
            result = application(request.environ, response.start)
            if request.websocket is None:
                _send_result(response, result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()
        close_code = 1000
    except GreenletExit:
        raise  # the server stops
    except ClientGone as gone:
        _log.info("%s: %s", request.environ.get("REQUEST_URI"), gone)
        request.abandon()
    except RequestError as error:
        respond_error(request, error)
    except BaseException as exc:  # gevent.Timeout and SystemExit too: they must not end more than the request
        if request.websocket is not None and isinstance(exc, ConnectionClosed):
            return True  # the usual end of a receive loop that has no `except`: not an error, no traceback
        fail(request)
        return False
    finally:
        if request.websocket is not None:
            request.websocket.release(close_code)
    return True


def fail(request: Request) -> None:
    """Log the exception that is being handled, and answer 500 or close the WebSocket with 1011."""
    _log.exception("%s %s", request.environ.get("REQUEST_METHOD"), request.environ.get("REQUEST_URI"))
    if request.websocket is None:
        _answer(request, 500, (), "")
    else:
        request.websocket.release(1011)


def _send_result(response: _Response, result: Iterable[bytes] | None) -> None:
    request = response.request
    if result is None:
        raise TypeError("the application returned None, not an iterable of bytes")
    if isinstance(result, bytes):
        result = [result]  # uWSGI sends it as it is
    if isinstance(result, FileWrapper) and _send_file(response, result):
        request.finish()
        return
    length: int | None = None
    if isinstance(result, (list, tuple)) and len(result) <= 1:
        # PEP 3333 "Handling the Content-Length Header": one item, so its length is the body's.
        length = len(result[0]) if result and isinstance(result[0], bytes) else 0
    has_begun = complained = False
    for chunk in result:
        if isinstance(chunk, bytes):
            if chunk:
                if not has_begun:
                    has_begun = True
                    response.send_head(length)
                request.write_body(chunk)
        elif not complained:
            # uWSGI sends nothing of it and goes on; its own text. Once: a str is as many chunks as characters.
            complained = True
            _log.error("[ERROR] Unhandled object from iterator: %r", type(chunk))
    if not has_begun:
        response.send_head(0 if length is None else length)
    request.finish()


def _send_file(response: _Response, wrapper: FileWrapper) -> bool:
    """Send a regular file by the kernel; False when it must be read instead."""
    request = response.request
    file = getattr(wrapper.filelike, "file", wrapper.filelike)  # tempfile's have it inside
    if not isinstance(getattr(file, "raw", file), io.FileIO):
        return False  # gzip's and its like have a descriptor too, of the packed file
    try:
        fd = file.fileno()
        offset = file.tell()
        info = os.fstat(fd)
    except (AttributeError, OSError):
        return False
    if not stat.S_ISREG(info.st_mode):
        return False
    size = max(0, info.st_size - offset)
    response.send_head(size)
    if not request.can_sendfile:
        return False
    request.write_file(fd, offset, size)
    return True


def respond(request: Request, status: str, headers: Headers, body: bytes) -> None:
    """Send a whole response of the server's own."""
    try:
        request.write_head(status, [*headers, ("Content-Length", str(len(body)))], len(body))
        request.write_body(body)
        request.finish()
    except OSError:
        request.abandon()


def respond_error(request: Request, error: RequestError) -> None:
    """Answer with the error's own status; drop the connection if a response has begun."""
    _log.warning("%s: %d %s", request.environ.get("REQUEST_URI"), error.status, error.reason)
    _answer(request, error.status, error.headers, f": {error.reason}")


def _answer(request: Request, status: int, headers: Headers, explanation: str) -> None:
    if request.is_head_written or request.fileno() < 0:
        request.abandon()
        return
    phrase = f"{status} {HTTPStatus(status).phrase}"
    body = f"{phrase}{explanation}\n".encode()
    respond(request, phrase, [("Content-Type", "text/plain; charset=utf-8"), *headers], body)
