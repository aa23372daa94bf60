"""uwsgi packets written by hand: what a front server makes of a request."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

Pairs = Iterable[tuple[str, str]]


def packet(pairs: Pairs, modifier1: int = 0, modifier2: int = 0) -> bytes:
    """Return a packet, its variables in order, repeated ones too."""
    block = b"".join(_string(name) + _string(value) for name, value in pairs)
    return struct.pack("<BHB", modifier1, len(block), modifier2) + block


def _string(text: str) -> bytes:
    data = text.encode("latin-1")
    return struct.pack("<H", len(data)) + data


def variables(method: str = "GET", target: str = "/", headers: Pairs = (), more: Pairs = ()) -> list[tuple[str, str]]:
    """Return what nginx's ``uwsgi_params`` has for a request, then its headers, then ``more``."""
    path, _, query = target.partition("?")
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    return [
        ("QUERY_STRING", query),
        ("REQUEST_METHOD", method),
        ("CONTENT_TYPE", ""),
        ("CONTENT_LENGTH", lengths[0] if lengths else ""),
        ("REQUEST_URI", target),
        ("PATH_INFO", unquote_to_bytes(path.encode("latin-1")).decode("latin-1")),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "192.0.2.7"),
        ("REMOTE_PORT", "4711"),
        ("SERVER_PORT", "80"),
        ("SERVER_NAME", "front.example"),
        *((f"HTTP_{name.upper().replace('-', '_')}", value) for name, value in headers),
        *more,
    ]


def packet_of(request: bytes) -> bytes:
    """Return an HTTP request as the packet and what follows it, as a front server passes it on."""
    head, _, rest = request.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    headers = [(name, value.strip()) for name, _, value in (field.partition(":") for field in fields)]
    return packet(variables(method, target, headers)) + rest
