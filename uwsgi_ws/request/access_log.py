"""The access log: a line for each request, in uWSGI's format or one that an option gives."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import NamedTuple

from uwsgi_ws.log import date_format, escape, say_request
from uwsgi_ws.log.records import text_of
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.identity import trace_of
from uwsgi_ws.shared.status import memory
from uwsgi_ws.stats import Stats

__all__ = ["AccessLog", "Selection"]


class Selection(NamedTuple):
    """Which requests have an access line when not all have one; one reason is enough.

    Args:
        client_errors: A status of 400 to 499.
        server_errors: A status of 500 to 599.
        slow: It took so many milliseconds; 0 to not ask.
        big: The response body has so many bytes; 0 to not ask.
        empty: The response has no body.
    """

    client_errors: bool = False
    server_errors: bool = False
    slow: int = 0
    big: int = 0
    empty: bool = False

    def __bool__(self) -> bool:
        return self != Selection()

    def has(self, request: Request) -> bool:
        """Return whether a request, which is over, has a line."""
        size = _generated(request)
        return (
            (self.client_errors and 400 <= request.status < 500)
            or (self.server_errors and 500 <= request.status < 600)
            or 0 < self.slow <= _milliseconds(request)
            or 0 < self.big <= size
            or (self.empty and not size)
        )


class AccessLog:
    """Writes a line for each request, when it is over.

    Args:
        log_format: uWSGI's notation, ``%(name)`` for each value; None for uWSGI's own line.
        worker_id: For ``%(wid)``.
        selection: Which requests have a line; None for all.
        dates_as_lines: Write ``%(ftime)`` in the format of the time at the beginning of lines.
        has_records: Whether lines are JSON objects.
        forwarded_for: Show X-Forwarded-For as the client's address where a request has it, trusted or not.
    """

    def __init__(
        self,
        log_format: str | None,
        worker_id: int,
        stats: Stats,
        selection: Selection | None = None,
        *,
        dates_as_lines: bool = False,
        forwarded_for: bool = False,
        has_records: bool = False,
    ) -> None:
        self._selection = selection
        self._dates_as_lines = dates_as_lines
        self._address = _forwarded_for if forwarded_for else _VALUES["addr"]
        self._has_records = has_records
        self._worker_id = worker_id
        self._stats = stats
        self._pieces = None if log_format is None else [*self._compile(log_format)]

    def write(self, request: Request) -> None:
        """Write the request's line, if it has one."""
        if self._selection is not None and not self._selection.has(request):
            return
        if self._has_records:
            fields = self._fields(request)
            message = f"{fields['method']} {fields['uri']} {fields['status']}"
            say_request(message if self._pieces is None else self._formatted(request), is_whole=True, fields=fields)
        elif self._pieces is None:
            say_request(self._default_line(request), is_whole=False)
        else:
            # As in uWSGI, a format of one's own has no time before it.
            say_request(self._formatted(request), is_whole=True)

    def _formatted(self, request: Request) -> str:
        assert self._pieces is not None
        return "".join([piece if isinstance(piece, str) else piece(request) for piece in self._pieces])

    def _fields(self, request: Request) -> dict[str, object]:
        """Return what a JSON object says of a request."""
        environ, websocket = request.environ, request.websocket
        fields: dict[str, object] = {
            name: text_of(environ.get(variable)) for name, variable in _VARIABLES_OF_RECORDS.items()
        }
        fields["trace_id"] = trace_of(environ.get("HTTP_TRACEPARENT"))
        fields["worker"] = self._worker_id
        fields["status"] = request.status
        fields["duration_ms"] = round((time.monotonic() - request.began_at) * 1000, 3)
        fields["bytes_sent"] = request.bytes_sent
        for name, value in (request.logvars or {}).items():
            fields.setdefault(name, value)
        if websocket is not None:
            names = ("messages_received", "messages_sent", "bytes_received", "bytes_sent", "close_code")
            fields["websocket"] = {name: getattr(websocket, name) for name in names}
        return fields

    def _default_line(self, request: Request) -> str:
        line = (
            f"[pid: {os.getpid()}|app: 0|req: {request.request_id}/{self._stats.requests}] "
            f"{self._address(request)} ({_var(request, 'REMOTE_USER')}) "
            f"{{{request.variable_count} vars in {request.head_size} bytes}} [{time.ctime(request.started_at)}] "
            f"{_var(request, 'REQUEST_METHOD')} {_var(request, 'REQUEST_URI')} => "
            f"generated {_generated(request)} bytes in {_milliseconds(request)} msecs "
            f"({_var(request, 'SERVER_PROTOCOL')} {request.status}) "
            f"{request.header_count} headers in {request.header_bytes} bytes (1 switches on core {request.core})"
        )
        websocket = request.websocket
        if websocket is None:
            return line
        how = "detached" if websocket.detached is not None else f"closed {websocket.close_code}"
        return (
            f"{line} websocket: received {websocket.messages_received} messages in {websocket.bytes_received} bytes, "
            f"sent {websocket.messages_sent} in {websocket.bytes_sent}, {how}"
            f"{'' if (forgiven := _lenient(request)) == '-' else f', lenient {forgiven}'}"
        )

    def _compile(self, log_format: str) -> list[str | Callable[[Request], str]]:
        pieces: list[str | Callable[[Request], str]] = []
        for name, literal in re.findall(r"%\(([^)]*)\)|([^%]+|%)", log_format):
            pieces.append(literal if literal else self._value(name))
        return pieces

    def _value(self, name: str) -> Callable[[Request], str]:
        if name == "addr":
            return self._address
        if name == "ftime" and self._dates_as_lines and (form := date_format()):
            return lambda request: time.strftime(form, time.localtime(request.started_at))
        if name in _VALUES:
            return _VALUES[name]
        if name.startswith("var."):
            key = name[4:]
            return lambda request: _var(request, key)
        if name == "wid":
            return lambda request: str(self._worker_id)
        # Anything else is a log variable that an application may set (uwsgi.set_logvar).
        return lambda request: escape((request.logvars or {}).get(name, "-"))


def _var(request: Request, name: str) -> str:
    value = request.environ.get(name, "")
    return escape(value) if isinstance(value, str) else "-"


def _forwarded_for(request: Request) -> str:
    return _var(request, "HTTP_X_FORWARDED_FOR") or _var(request, "REMOTE_ADDR")


def _generated(request: Request) -> int:
    return request.body_bytes if request.websocket is None else request.websocket.bytes_sent


def _milliseconds(request: Request) -> int:
    return int((time.monotonic() - request.began_at) * 1000)


def _time_format(request: Request) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(request.started_at))


def _lenient(request: Request) -> str:
    """Return which faults of a client ``--websockets-lenient`` has let pass; a dash for none."""
    words = [word] if (word := (request.logvars or {}).get("websocket.lenient")) else []
    if request.websocket is not None and request.websocket.has_unmasked:
        words.append("masking")
    return ",".join(words) or "-"


def _of_websocket(attribute: str) -> Callable[[Request], str]:
    return lambda request: "-" if request.websocket is None else str(getattr(request.websocket, attribute))


#: What a JSON object has of the environ.
_VARIABLES_OF_RECORDS = {
    "request_id": "HTTP_X_REQUEST_ID",
    "remote_addr": "REMOTE_ADDR",
    "user": "REMOTE_USER",
    "method": "REQUEST_METHOD",
    "host": "HTTP_HOST",
    "uri": "REQUEST_URI",
    "protocol": "SERVER_PROTOCOL",
    "user_agent": "HTTP_USER_AGENT",
    "referer": "HTTP_REFERER",
}
#: uWSGI's names (its LogFormat page), then ours for WebSockets.
_VALUES: dict[str, Callable[[Request], str]] = {
    "request_id": lambda request: _var(request, "HTTP_X_REQUEST_ID") or "-",
    "traceparent": lambda request: _var(request, "HTTP_TRACEPARENT") or "-",
    "trace_id": lambda request: trace_of(request.environ.get("HTTP_TRACEPARENT")) or "-",
    "addr": lambda request: _var(request, "REMOTE_ADDR"),
    "user": lambda request: _var(request, "REMOTE_USER"),
    "method": lambda request: _var(request, "REQUEST_METHOD"),
    "uri": lambda request: _var(request, "REQUEST_URI"),
    "proto": lambda request: _var(request, "SERVER_PROTOCOL"),
    "host": lambda request: _var(request, "HTTP_HOST"),
    "uagent": lambda request: _var(request, "HTTP_USER_AGENT"),
    "referer": lambda request: _var(request, "HTTP_REFERER"),
    "status": lambda request: str(request.status),
    "msecs": lambda request: str(_milliseconds(request)),
    "secs": lambda request: f"{time.monotonic() - request.began_at:.3f}",
    "micros": lambda request: str(int((time.monotonic() - request.began_at) * 1e6)),
    "size": lambda request: str(_generated(request) + request.header_bytes),
    "rsize": lambda request: str(_generated(request)),
    "hsize": lambda request: str(request.header_bytes),
    "headers": lambda request: str(request.header_count),
    "vars": lambda request: str(request.variable_count),
    "pktsize": lambda request: str(request.head_size),
    "pid": lambda request: str(os.getpid()),
    "core": lambda request: str(request.core),
    "switches": lambda request: "1",
    "ctime": lambda request: time.ctime(request.started_at),
    "ltime": _time_format,
    "ftime": _time_format,
    "rss": lambda request: str(memory()[0]),
    "rssM": lambda request: str(memory()[0] >> 20),
    "vsz": lambda request: str(memory()[1]),
    "vszM": lambda request: str(memory()[1] >> 20),
    "time": lambda request: str(int(request.started_at)),
    "epoch": lambda request: str(int(time.time())),
    "websocket.received": _of_websocket("messages_received"),
    "websocket.sent": _of_websocket("messages_sent"),
    "websocket.bytes_received": _of_websocket("bytes_received"),
    "websocket.bytes_sent": _of_websocket("bytes_sent"),
    "websocket.close_code": _of_websocket("close_code"),
    "websocket.lenient": _lenient,
}
