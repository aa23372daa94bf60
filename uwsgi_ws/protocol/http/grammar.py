"""What HTTP's words may be made of, rule by rule, and what of an application's head may go out.

Rules that others are built from are strings; those that stand for themselves are compiled.

Source: RFC 9110 5 and 8.6, RFC 9112 4, RFC 3986 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from uwsgi_ws.protocol.http.hop_by_hop import HOP_BY_HOP, connection_options, end_to_end
from uwsgi_ws.protocol.plain import plain_str

__all__ = [
    "DIGITS",
    "FIELD_VALUE",
    "FIELD_VALUE_BYTES",
    "HOST",
    "LENGTH",
    "REASON",
    "SPLITTERS",
    "STATUS",
    "TCHAR",
    "TEXT",
    "TOKEN",
    "check_head",
]

Headers = Sequence[tuple[str, str]]

#: RFC 9110 5.6.2: a character of a token, such as a method or a field's name.
TCHAR: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
TOKEN: Final = re.compile(TCHAR + "+")

#: RFC 9110 5.5: what a field's value is made of: visible characters, space and tab.
TEXT: Final = r"[\t -~\x80-\xff]"
FIELD_VALUE: Final = re.compile(TEXT + "*")
FIELD_VALUE_BYTES: Final = re.compile(TEXT.encode() + b"*")
#: RFC 9110 5.5: what it never has. Any of them would split the head that it goes out in.
SPLITTERS: Final = re.compile(r"[\0\r\n]")

#: RFC 9112 4: what may follow a status code.
REASON: Final = rf"(?: {TEXT}*)?"
STATUS: Final = re.compile(r"[1-9][0-9]{2}" + REASON)

#: RFC 9110 8.6: a length. A 64-bit number has 20 digits; more would only be zeros, and int() has a limit of its own.
DIGITS: Final = r"[0-9]{1,20}"
LENGTH: Final = re.compile(DIGITS)

# RFC 3986 3.2.2, 3.2.3 without user information and IPvFuture; never empty (RFC 9110 4.2.1). Written
# so that no two repetitions compete for a character: it fails in linear time.
_NAME_CHAR: Final = r"[A-Za-z0-9._~!$&'()*+,;=\-]"
HOST: Final = re.compile(
    rf"(?:{_NAME_CHAR}+(?:%[0-9A-Fa-f]{{2}}{_NAME_CHAR}*)*|(?:%[0-9A-Fa-f]{{2}}{_NAME_CHAR}*)+|\[[0-9A-Fa-f:.]+\])"
    r"(?::[0-9]{0,5})?"
)

_CLOSE = ("Connection", "close")
#: What a header's name means to the server.
_ORDINARY = 0
_CONTENT_LENGTH = 1
_HOP_BY_HOP = 2


def check_head(status: str, headers: list[tuple[str, str]]) -> tuple[str, Headers, int | None, Sequence[str]]:
    """Return what of an application's status and headers may go out.

    Nothing that its own subclasses of ``str`` do counts any more: what was checked is what goes out.

    Returns:
        The status; the headers, of those for a connection only ``Connection: close``; the Content-Length in them; and
        the names of those left out.

    Raises:
        TypeError: something is not of the type that PEP 3333 wants.
        ValueError: something would break the response.
    """
    status = plain_str(status, "a status is str")
    _check_status(status)
    if not isinstance(headers, list):
        raise TypeError(f"response headers are a list, not {type(headers).__name__}")
    kept: list[tuple[str, str]] = []
    length: int | None = None
    has_hop_by_hop = False
    for pair in headers:
        if (type(pair) is not tuple and not isinstance(pair, (tuple, list))) or len(pair) != 2:
            raise TypeError(f"a response header is a pair of str, not {pair!r}")
        name, value = pair
        if type(name) is not str or type(value) is not str or type(pair) is not tuple:
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"a response header is a pair of str, not {name!r}: {value!r}")
            name, value = pair = plain_str(name, "a name is str"), plain_str(value, "a value is str")
        kind = _kind_of(name)
        if not (value.isascii() and value.isprintable()) and not FIELD_VALUE.fullmatch(value):
            raise ValueError(f"control or non-latin-1 characters in the response header {name!r}")
        if kind == _CONTENT_LENGTH:
            number = int(value) if value.isascii() and value.isdigit() else _listed_length(value)
            if length is not None:
                if number != length:
                    raise ValueError(f"Content-Length is {length}, and {number} as well")
                continue
            length = number
            if "," in value:
                pair = name, str(number)
        elif kind == _HOP_BY_HOP:
            has_hop_by_hop = True
        kept.append(pair)
    if not has_hop_by_hop:
        return status, kept, length, ()
    passing = end_to_end(kept, int(status[:3]))
    dropped = [name for name, value in kept if (name, value) not in passing]
    if "close" in connection_options(kept) and not status.startswith("1"):
        passing.append(_CLOSE)
        dropped = [name for name in dropped if name.lower() != "connection"]
    return status, passing, length, dropped


def _listed_length(value: str) -> int:
    """Return the Content-Length that a list has more than once (RFC 9110 8.6).

    Raises:
        ValueError: It has none, or several.
    """
    numbers = [number.strip(" \t") for number in value.split(",")]
    if not all(map(LENGTH.fullmatch, numbers)) or len({int(number) for number in numbers}) != 1:
        raise ValueError(f"not a length: Content-Length {value!r}")
    return int(numbers[0])


# An application uses the same few again and again.
@lru_cache(maxsize=256)
def _check_status(status: str) -> None:
    if not STATUS.fullmatch(status):
        raise ValueError(f"not a status line: {status!r}")


@lru_cache(maxsize=1_024)
def _kind_of(name: str) -> int:
    if not TOKEN.fullmatch(name):
        raise ValueError(f"not a header name: {name!r}")
    lowered = name.lower()
    if lowered in HOP_BY_HOP:
        return _HOP_BY_HOP
    return _CONTENT_LENGTH if lowered == "content-length" else _ORDINARY
