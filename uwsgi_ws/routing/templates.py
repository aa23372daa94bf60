"""Text with placeholders for a request's own values: ``$1``, ``${VARIABLE}``, ``${cookie[name]}``.

Compiled once. Values are text as environs have it: bytes decoded as latin-1 (PEP 3333).

Source: uWSGI's core/routing.c (``uwsgi_routing_translate``) and docs/InternalRouting.rst.
"""

from __future__ import annotations

import base64
import mimetypes
import os
import re
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote_to_bytes

from uwsgi_ws.protocol.http.dates import http_date
from uwsgi_ws.protocol.plain import wire_value
from uwsgi_ws.routing.request import RoutedRequest

__all__ = ["Template", "wire_text"]

_PLACEHOLDER = re.compile(r"\$([0-9])|\$\{([^}]*)\}")
_CALL = re.compile(r"([^\[]*)\[(.*)\]", re.DOTALL)

_Piece = Callable[[RoutedRequest], str]


def wire_text(text: str) -> str:
    """Return an option's text as environs have text: its bytes decoded as latin-1."""
    return os.fsencode(text).decode("latin-1")


class Template:
    """A compiled text.

    Args:
        text: As the option has it.

    Attributes:
        constant: The text if it has no placeholder, else None.

    Raises:
        ValueError: It calls an unknown function.
    """

    __slots__ = ("_pieces", "constant")

    def __init__(self, text: str) -> None:
        text = wire_text(text)
        self._pieces: list[str | _Piece] = []
        end = 0
        for placeholder in _PLACEHOLDER.finditer(text):
            if placeholder.start() > end:
                self._pieces.append(text[end : placeholder.start()])
            end = placeholder.end()
            group, name = placeholder.groups()
            self._pieces.append(_variable(name) if group is None else partial(_group, int(group)))
        if end < len(text):
            self._pieces.append(text[end:])
        self.constant: str | None = None
        if all(isinstance(piece, str) for piece in self._pieces):
            self.constant = text

    @property
    def literal_start(self) -> str:
        """The text with which every expansion begins."""
        first = self._pieces[0] if self._pieces else ""
        return first if isinstance(first, str) else ""

    def expand(self, request: RoutedRequest) -> str:
        """Return the text for a request; a value that the request does not have is empty."""
        if self.constant is not None:
            return self.constant
        return "".join([piece if isinstance(piece, str) else piece(request) for piece in self._pieces])


def _group(number: int, request: RoutedRequest) -> str:
    groups = request.groups
    return groups[number] if number < len(groups) else ""


def _variable(name: str) -> _Piece:
    """Return a function that finds the value of ``${name}``."""
    call = _CALL.fullmatch(name)
    if call is None:
        return partial(_value, name)
    function, argument = call.groups()
    if function == "uwsgi" and argument not in _OF_SERVER:
        raise ValueError(f"${{uwsgi[{argument}]}} is not known here, only {', '.join(_OF_SERVER)}")
    if function == "time" and argument not in _OF_TIME:
        raise ValueError(f"${{time[{argument}]}} is not known here, only {', '.join(_OF_TIME)}")
    if function == "httptime" and argument and not re.fullmatch("-?[0-9]{1,10}", argument):
        raise ValueError(f"${{httptime[{argument}]}} needs a number of seconds")
    try:
        return partial(_FUNCTIONS[function], argument)
    except KeyError:
        known = ", ".join(sorted(_FUNCTIONS))
        raise ValueError(f"${{{name}}}: {function!r} is not known here, only {known}") from None


def _value(name: str, request: RoutedRequest) -> str:
    value = request.environ.get(name, "")
    return wire_value(value) if isinstance(value, str) else ""


def _cookie(name: str, request: RoutedRequest) -> str:
    for pair in _value("HTTP_COOKIE", request).split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return ""


def _query_item(name: str, request: RoutedRequest) -> str:
    for pair in _value("QUERY_STRING", request).split("&"):
        key, _, value = pair.partition("=")
        if key == name:
            return unquote_to_bytes(value.replace("+", " ")).decode("latin-1")
    return ""


def _mime(name: str, request: RoutedRequest) -> str:
    return mimetypes.guess_type(_value(name, request))[0] or ""


def _base64(name: str, request: RoutedRequest) -> str:
    return base64.b64encode(_value(name, request).encode("latin-1")).decode()


def _hex(name: str, request: RoutedRequest) -> str:
    return _value(name, request).encode("latin-1").hex()


def _lower(name: str, request: RoutedRequest) -> str:
    return _value(name, request).encode("latin-1").lower().decode("latin-1")  # ASCII only, as C does


def _upper(name: str, request: RoutedRequest) -> str:
    # ASCII only: some letters of latin-1 have no upper case there.
    return _value(name, request).encode("latin-1").upper().decode("latin-1")


def _http_time(offset: str, request: RoutedRequest) -> str:
    return http_date(time.time() + int(offset or 0))


_OF_SERVER: dict[str, Callable[[RoutedRequest], str]] = {
    "pid": lambda request: str(os.getpid()),
    "status": lambda request: str(request.status_to_send or request.status),
}
_OF_TIME: dict[str, Callable[[], str]] = {
    "unix": lambda: str(int(time.time())),
    "micros": lambda: str(int(time.time() * 1e6)),
}
_FUNCTIONS: dict[str, Callable[[str, RoutedRequest], str]] = {
    "base64": _base64,
    "cookie": _cookie,
    "hex": _hex,
    "httptime": _http_time,
    "lower": _lower,
    "mime": _mime,
    "qs": _query_item,
    "time": lambda argument, request: _OF_TIME[argument](),
    "upper": _upper,
    "uwsgi": lambda argument, request: _OF_SERVER[argument](request),
}
