"""HTTP/2 requests in CGI's terms.

Frames, HPACK, states and windows are the h2 library's; here is what it leaves to the server. It refuses names in upper
case, connection-specific fields, wrong pseudo-headers and CR, LF or NUL in values before anything comes here.

Source: RFC 9113 8.2, 8.3; RFC 8441.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from uwsgi_ws.errors import RequestError
from uwsgi_ws.protocol.http.cgi import Fields, is_target, method_of, split_target
from uwsgi_ws.protocol.http.grammar import FIELD_VALUE_BYTES, HOST, LENGTH, TOKEN
from uwsgi_ws.protocol.http.http1 import Limits, expects_100

__all__ = ["Head", "read_head"]

#: What a field counts beside its name and value (RFC 9113 6.5.2).
_FIELD_OVERHEAD: Final = 32


@dataclass(slots=True)
class Head:
    """One request's head.

    Args:
        variables: CGI names to native strings, as HTTP/1.1's (``protocol.http1.Head``). A WebSocket's (RFC 8441) look
            like those of an opening handshake over HTTP/1.1, so that applications need not know.
        size: Bytes of all fields, as RFC 9113 6.5.2 counts them.
        expects_continue: The client waits for a 100 before it sends the body.
        is_websocket: It asks for a WebSocket.
        content_length: Bytes of the body, None if not told.
        dropped_names: Of fields that were dropped for an underscore in them.
    """

    variables: dict[str, str]
    size: int
    expects_continue: bool
    is_websocket: bool
    content_length: int | None
    dropped_names: list[bytes] | None = None


def read_head(fields: Iterable[tuple[bytes, bytes]], key: str, limits: Limits) -> Head:
    """Return the head that a request's header fields make.

    Args:
        fields: Names in lower case, pseudo-headers first.
        key: Sec-WebSocket-Key for a WebSocket's environ. HTTP/2 has none, but applications hand it to uWSGI's
            ``websocket_handshake``, and some use it as the connection's name.
        limits: What a request may cost.

    Raises:
        RequestError: It cannot be served; the stream gets the answer, the connection goes on.
    """
    pseudo: dict[bytes, str] = {}
    variables: dict[str, str] = {}
    listener = Fields(variables, limits.underscores)
    size = count = 0
    for name, value in fields:
        size += len(name) + len(value) + _FIELD_OVERHEAD
        count += 1
        if name[0] == 0x3A:
            pseudo[name] = value.decode("latin-1")
        elif not TOKEN.fullmatch(name.decode("latin-1")) or not FIELD_VALUE_BYTES.fullmatch(value):
            raise RequestError(400, "a header field is malformed")
        else:
            listener.on_header(name, value)
    if size > limits.head_size or count > limits.header_count:
        raise RequestError(431, "the request has too many or too long header fields")
    is_websocket = _set_target(variables, pseudo, limits)
    if is_websocket:
        variables["HTTP_UPGRADE"] = "websocket"
        variables["HTTP_CONNECTION"] = "Upgrade"
        variables["HTTP_SEC_WEBSOCKET_KEY"] = key
    expectation = variables.get("HTTP_EXPECT")
    expects_continue = expectation is not None and expects_100(expectation)
    length = _content_length(variables, limits)
    return Head(variables, size, expects_continue, is_websocket, length, listener.dropped)


def _set_target(variables: dict[str, str], pseudo: dict[bytes, str], limits: Limits) -> bool:
    """Set what the pseudo-headers say; return whether they ask for a WebSocket."""
    method = pseudo[b":method"]
    is_websocket = False
    if method == "CONNECT":
        # RFC 9220 3: "respond with a 501 (Not Implemented)" to a :protocol that is not supported.
        if pseudo.get(b":protocol") != "websocket":
            raise RequestError(501, "only WebSocket is tunnelled here")
        is_websocket = True
        method = "GET"
    elif method_of(method) is None:
        raise RequestError(400, "the request method is malformed")
    if pseudo[b":scheme"] not in ("http", "https"):
        raise RequestError(400, "the request has another scheme than http and https")
    target = pseudo[b":path"]
    if len(target) > limits.target_size:
        raise RequestError(414, "the request target is too long")
    if not is_target(target) or target[0] not in "/*":
        raise RequestError(400, "the request target is malformed")
    host = pseudo.get(b":authority", variables.get("HTTP_HOST", ""))
    if not HOST.fullmatch(host):
        raise RequestError(400, "the request's authority is invalid")
    variables["REQUEST_METHOD"] = method
    variables["REQUEST_URI"] = target
    variables["SERVER_PROTOCOL"] = "HTTP/2.0"
    variables["HTTP_HOST"] = host
    _, variables["PATH_INFO"], variables["QUERY_STRING"] = split_target(method, target)
    return is_websocket


def _content_length(variables: dict[str, str], limits: Limits) -> int | None:
    declared = variables.get("CONTENT_LENGTH")
    if declared is None:
        return None
    if not LENGTH.fullmatch(declared):
        raise RequestError(400, "the Content-Length is malformed")
    length = int(declared)
    limits.check_body(length)
    return length
