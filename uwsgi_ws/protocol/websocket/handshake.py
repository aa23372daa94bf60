"""The opening handshake, server side (RFC 6455 4.2 and 4.4): the request's MUSTs and the answer's headers.

A request comes as CGI variables, which is what every front can give; it refuses to know any front.
"""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from collections.abc import Container, Iterable, Mapping, Sequence

from uwsgi_ws.errors import HandshakeError
from uwsgi_ws.protocol.http.grammar import TOKEN
from uwsgi_ws.protocol.plain import plain_str

__all__ = [
    "accept_value",
    "check_request",
    "choose_subprotocol",
    "is_origin_allowed",
    "is_websocket",
    "offered_subprotocols",
]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: 16 bytes in base64.
_KEY = re.compile(r"[0-9A-Za-z+/]{22}==")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def _tokens(value: str) -> list[str]:
    """Return the lower-cased members of a comma-separated header value (RFC 9110 5.6.1)."""
    return [member for part in value.split(",") if (member := part.strip(" \t").lower())]


def is_websocket(variables: Mapping[str, str]) -> bool:
    """Say whether the request asks for a WebSocket at all, well or badly."""
    upgrade = variables.get("HTTP_UPGRADE")
    return upgrade is not None and (upgrade == "websocket" or "websocket" in _tokens(upgrade))


def check_request(variables: Mapping[str, str], lenient: Container[str] = ()) -> tuple[str, ...]:
    """Check every MUST of RFC 6455 4.2.1.

    Args:
        variables: The request's.
        lenient: What is not to be insisted on. ``handshake``: a Connection header that says upgrade, a key of 16
            bytes in base64 (any will do), a version (where there is one, it is 13). ``subprotocol``: names that are
            tokens.

    Returns:
        Those of ``lenient`` without which the request would have been refused.

    Raises:
        HandshakeError: 405 for another method, 400 for a bad header, 426 (with the version we speak) for
            another version.
    """
    if variables["REQUEST_METHOD"] != "GET":
        raise HandshakeError(405, "a WebSocket opens with GET", (("Allow", "GET"),))
    # HTTP/2 forbids Upgrade: with it comes only what its front has made of an extended CONNECT (RFC 8441).
    if variables["SERVER_PROTOCOL"] not in ("HTTP/1.1", "HTTP/2.0"):
        raise HandshakeError(400, "a WebSocket needs HTTP/1.1 or HTTP/2")
    if not variables.get("HTTP_HOST"):
        raise HandshakeError(400, "a WebSocket handshake needs a Host header")
    if not is_websocket(variables):
        raise HandshakeError(400, "not a WebSocket handshake: no Upgrade header that asks for websocket")
    needed: dict[str, None] = {}
    is_lenient = "handshake" in lenient
    connection = variables.get("HTTP_CONNECTION", "")
    if connection != "Upgrade" and "upgrade" not in _tokens(connection):
        if not is_lenient:
            raise HandshakeError(400, "WebSocket handshake without 'upgrade' in its Connection header")
        needed["handshake"] = None
    version = variables.get("HTTP_SEC_WEBSOCKET_VERSION", "")
    if not version and is_lenient:
        needed["handshake"] = None
    elif version != "13":
        # Never another one: browsers of that time had their Origin under another name, and so would pass.
        # 4.4: the answer names the versions that this server speaks. RFC 9110 15.5.22: a 426 MUST have Upgrade.
        raise HandshakeError(
            426,
            "only WebSocket version 13 is spoken here",
            (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),
        )
    key = variables.get("HTTP_SEC_WEBSOCKET_KEY", "")
    if not _KEY.fullmatch(key):
        if not is_lenient or not key or "," in key:  # of several keys none is known to be meant
            raise HandshakeError(400, "Sec-WebSocket-Key is not 16 bytes in base64")
        needed["handshake"] = None
    for name in offered_subprotocols(variables):
        if not TOKEN.fullmatch(name):
            if "subprotocol" not in lenient:
                raise HandshakeError(400, "Sec-WebSocket-Protocol is not a list of tokens")
            needed["subprotocol"] = None
    return tuple(needed)


def accept_value(key: str) -> str:
    """Return Sec-WebSocket-Accept for ``key`` (RFC 6455 4.2.2, 5.4)."""
    digest = hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()
    return b2a_base64(digest, newline=False).decode("ascii")


def offered_subprotocols(variables: Mapping[str, str]) -> list[str]:
    """Return the subprotocols that the client asks for, in its order of preference."""
    value = variables.get("HTTP_SEC_WEBSOCKET_PROTOCOL")
    return [name for part in value.split(",") if (name := part.strip(" \t"))] if value else []


def choose_subprotocol(variables: Mapping[str, str], supported: Sequence[str]) -> str | None:
    """Return the first of ``supported``, in the server's order, that the client offers; None if none."""
    offered = offered_subprotocols(variables)
    own = (plain_str(name, "a subprotocol is str") for name in supported)
    return next((name for name in own if name in offered), None)


def is_origin_allowed(variables: Mapping[str, str], scheme: str, allowed: Iterable[str]) -> bool:
    """Judge the Origin header (RFC 6455 10.2).

    A request without one does not come from a browser and passes: Origin protects users of browsers, not the server
    from other programs. ``null`` and anything else must stand in the list, compared as scheme, host and port.

    Args:
        variables: The request's CGI variables.
        scheme: ``http`` or ``https``, how the client reached this server.
        allowed: Origins such as ``https://example.org``, or ``same`` for the one named by the Host header.
    """
    origin = variables.get("HTTP_ORIGIN")
    if origin is None:
        return True
    asked = _normal_origin(origin)
    for entry in allowed:
        if entry == "same":
            entry = f"{scheme}://{variables.get('HTTP_HOST', '')}"
        if asked == _normal_origin(entry):
            return True
    return False


def _normal_origin(origin: str) -> str:
    """Return an origin lower-cased and without its scheme's default port (RFC 6454 4 and 6)."""
    origin = origin.lower()
    scheme, separator, host = origin.partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    if separator and port and host.endswith(":" + port):
        host = host[: -len(port) - 1]
    return f"{scheme}{separator}{host}"
