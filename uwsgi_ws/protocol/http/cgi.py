"""A request in CGI's terms, as every front gives it: methods, targets and hosts, and the names of header fields.

Source: RFC 9110, RFC 9112; CGI names RFC 3875 4.1 and PEP 3333.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from uwsgi_ws.errors import RequestError
from uwsgi_ws.protocol.http.grammar import HOST, TOKEN

__all__ = ["METHODS", "Fields", "is_target", "method_of", "split_target"]

# The methods that every environ may share. Any other token is one as well (RFC 9110 9.1): the application judges it.
# fmt: off
METHODS: Final = {name: name for name in (
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "QUERY",
    "COPY", "LOCK", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND", "UNBIND",
    "ACL", "REPORT", "MKACTIVITY", "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE",
    "PURGE", "MKCALENDAR", "LINK", "UNLINK",
)}

# Not the application's to judge: we are no proxy (RFC 9110 9.3.6), and PRI is HTTP/2's preface (RFC 9113 3.4).
_NOT_OURS: Final = frozenset({"CONNECT", "PRI"})

# No method in use has half of it. RFC 9112 3: one "longer than any that it implements SHOULD" get 501.
_METHOD_SIZE: Final = 64

# The field names every environ may share from the start; others are learnt.
_USUAL_NAMES: Final = (
    b"Accept", b"Accept-Charset", b"Accept-Encoding", b"Accept-Language", b"Authorization", b"Cache-Control",
    b"Connection", b"Content-Encoding", b"Content-Language", b"Content-Length", b"Content-Type", b"Cookie",
    b"Date", b"DNT", b"Expect", b"Forwarded", b"From", b"Host", b"If-Match", b"If-Modified-Since",
    b"If-None-Match", b"If-Range", b"If-Unmodified-Since", b"Keep-Alive", b"Origin", b"Pragma", b"Priority",
    b"Range", b"Referer", b"Save-Data", b"Sec-CH-UA", b"Sec-CH-UA-Mobile", b"Sec-CH-UA-Platform",
    b"Sec-Fetch-Dest", b"Sec-Fetch-Mode", b"Sec-Fetch-Site", b"Sec-Fetch-User", b"Sec-GPC",
    b"Sec-WebSocket-Extensions", b"Sec-WebSocket-Key", b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Version",
    b"TE", b"Trailer", b"Transfer-Encoding", b"Upgrade", b"Upgrade-Insecure-Requests", b"User-Agent", b"Via",
    b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Port", b"X-Forwarded-Proto", b"X-Real-IP",
    b"X-Request-ID", b"X-Requested-With",
)
# fmt: on

_ABSOLUTE: Final = re.compile(r"(?i:https?)://([^/?]*)([^?]*)(?:\?(.*))?")

_SINGLE: Final = frozenset({"HTTP_HOST", "CONTENT_TYPE"})

# A request target that is not plain ASCII: browsers encode it, other clients often do not, and mean UTF-8.
# Not a longer form of an ASCII character than UTF-8's own (RFC 3629 3): nobody but an attacker sends one.
_WIDE_TARGET: Final = re.compile(r"(?!.*(?:[\xc0\xc1]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f])[\x80-\xbf])[!\"$-~\x80-\xff]+")

# Names that must not come by way of one with an underscore, whatever is done with those: they frame a request, or say
# whom and what it is for.
_NEVER_BY_UNDERSCORE: Final = frozenset(
    {b"CONNECTION", b"CONTENT_LENGTH", b"CONTENT_TYPE", b"EXPECT", b"HOST", b"TRANSFER_ENCODING", b"UPGRADE"}
)


class _Keys(dict[bytes, str]):
    """Field names as sent to CGI names, each CGI name one object shared by all environs.

    Starts with the usual names in the usual spellings and learns what it sees. When full it starts
    over: a peer that invents names can neither grow it nor keep other names out for long.
    """

    CAPACITY: Final = 1_024  # names, the usual ones included
    NAME_SIZE: Final = 64  # longer names are not worth keeping

    def __init__(self) -> None:
        super().__init__()
        self._start_over()

    def _start_over(self) -> None:
        self.clear()
        for name in _USUAL_NAMES:
            upper = name.upper()
            self[name] = self[name.lower()] = self[upper] = self._name(upper)

    @staticmethod
    def _name(upper: bytes) -> str:
        key = upper.replace(b"-", b"_").decode("latin-1")
        return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key

    def __missing__(self, name: bytes) -> str:
        """Return the CGI name of a field name not seen so far; "" if it has an underscore."""
        if b"_" in name:
            return ""
        upper = name.upper()
        if len(name) > self.NAME_SIZE:
            return self._name(upper)
        if len(self) >= self.CAPACITY - 1:
            self._start_over()
        key = self.get(upper) or self._name(upper)
        self[upper] = self[name] = key
        return key


_KEYS: Final = _Keys()


#: Fields whose values a site's clients have in common. Nothing secret, nothing that one client only would send.
_COMMON: Final = frozenset(
    "HTTP_" + name.upper().replace("-", "_")
    for name in (
        "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Connection", "Host", "Origin", "Pragma",
        "Sec-CH-UA", "Sec-CH-UA-Mobile", "Sec-CH-UA-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site",
        "Sec-Fetch-User", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "Sec-WebSocket-Version", "Upgrade",
        "User-Agent", "X-Forwarded-Proto",
    )
)  # fmt: skip


class _Values(dict[bytes, str]):
    """Values of common fields, each one object shared by all environs; of a browser's WebSocket they are most.

    When full it starts over.
    """

    CAPACITY: Final = 1_024
    SIZE: Final = 256  # bytes; longer values are not worth keeping

    def __missing__(self, value: bytes) -> str:
        """Return a value's text."""
        text = _text(value)
        if len(value) <= self.SIZE:
            if len(self) >= self.CAPACITY:
                self.clear()
            self[value] = text
        return text


def _text(value: bytes) -> str:
    # llhttp leaves white space at the end. Never str.strip(): it takes \xa0 and \x85 as well.
    return value.strip(b" \t").decode("latin-1")


_VALUES: Final = _Values()


class Fields:
    """Puts each field of one head where it belongs in ``variables``; called by llhttp, among others.

    Args:
        variables: CGI names to values.
        underscores: What becomes of a field with ``_`` in its name, which CGI names cannot tell from one with ``-``:
            ``drop``, ``keep`` or ``refuse``.

    Attributes:
        dropped: The names of fields that were dropped; None for none.
    """

    __slots__ = ("dropped", "underscores", "variables")

    def __init__(self, variables: dict[str, str], underscores: str = "drop") -> None:
        self.variables = variables
        self.underscores = underscores
        self.dropped: list[bytes] | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field.

        Raises:
            RequestError: 400, it is repeated and must not be, or its name is refused.
        """
        key = _KEYS[name]
        if not key:
            key = self._key_of_underscored(name)
            if not key:
                return
        text = _VALUES[value] if key in _COMMON else _text(value)
        variables = self.variables
        if key not in variables:
            variables[key] = text
        elif key in _SINGLE:
            raise RequestError(400, "a header field that must be single is repeated")
        else:
            variables[key] += ("; " if key == "HTTP_COOKIE" else ", ") + text

    def _key_of_underscored(self, name: bytes) -> str:
        """Return the CGI name of a field with an underscore, empty if it is dropped."""
        if self.underscores == "refuse":
            raise RequestError(400, "a header field has an underscore in its name")
        key = name.upper().replace(b"-", b"_")
        if self.underscores == "keep" and key not in _NEVER_BY_UNDERSCORE:
            return "HTTP_" + key.decode("latin-1")
        if self.dropped is None:
            self.dropped = []
        self.dropped.append(name)
        return ""


def method_of(name: str) -> str | None:
    """Return a request's method, one object for all requests if it is a usual one; None, it is no token.

    Raises:
        RequestError: 501, it is not for an origin server, or too long.
    """
    method = METHODS.get(name)
    if method is None and TOKEN.fullmatch(name):
        if name in _NOT_OURS or len(name) > _METHOD_SIZE:
            raise RequestError(501, "the request method is not implemented")
        return name
    return method


def is_target(text: str) -> bool:
    """Return whether a request target has only characters that it may: any visible ASCII but ``#``, and other bytes.

    Browsers send some of them (``| " { }``) bare which RFC 3986 wants encoded; a backslash only behind the ``?``, as
    they take it for a slash before. Bytes beyond ASCII reach the application as they are (PEP 3333).
    """
    if text.isascii() and text.isprintable():
        if not text or "#" in text or " " in text:
            return False
    elif not _WIDE_TARGET.fullmatch(text):
        return False
    return "\\" not in text or "\\" not in text.partition("?")[0]


def split_target(method: str, target: str) -> tuple[str, str, str]:
    """Return a target's authority, which only the absolute form has, its PATH_INFO and its QUERY_STRING.

    Source: RFC 9112 3.2.

    Raises:
        RequestError: 400, it has no form that fits the method.
    """
    authority = query = ""
    if target[0] == "/":
        path, _, query = target.partition("?")
    elif absolute := _ABSOLUTE.fullmatch(target):
        authority, path, query = absolute[1], absolute[2] or "/", absolute[3] or ""
        if not HOST.fullmatch(authority):
            raise RequestError(400, "the host in the request target is invalid")
    elif target == "*" and method == "OPTIONS":
        path = ""  # PEP 3333 knows only paths with a slash and the empty one
    else:
        raise RequestError(400, "the request target has a form that does not fit the method")
    return authority, unquote_to_bytes(path.encode("latin-1")).decode("latin-1") if "%" in path else path, query
