"""Responses compressed on their way out: the action ``gzip``, and ``--http-auto-gzip``.

Source: uWSGI's transformation ``gzip``. Unlike there, a client that does not say it takes gzip gets the response as it
is, and so does everyone where compressing would break what the headers promise.
"""

from __future__ import annotations

import re
import zlib

from uwsgi_ws.request.base import Headers

__all__ = ["compressed_head", "compressor", "takes_gzip"]

_GZIP = 16 + zlib.MAX_WBITS
#: RFC 9110 12.5.3: a coding with its weight.
_CODING = re.compile(r"([^\s;]+)\s*(?:;\s*q\s*=\s*([0-9.]+))?", re.IGNORECASE)


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether a client takes gzip (RFC 9110 12.5.3)."""
    weights = {}
    for item in accept_encoding.split(","):
        if found := _CODING.fullmatch(item.strip()):
            weights[found[1].lower()] = (found[2] or "1").strip("0.") != ""
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", False)))


def compressed_head(status: int, headers: Headers) -> Headers | None:
    """Return the head of a response whose body is compressed; None where it must stay as it is."""
    if status < 200 or status in (204, 205, 206, 304):
        return None
    kept = []
    for name, value in headers:
        lowered = name.lower()
        if lowered in ("content-encoding", "content-range"):
            return None
        if lowered == "content-type" and value.lower().startswith("text/event-stream"):
            return None  # a compressor keeps back what the client waits for
        if lowered == "cache-control" and "no-transform" in value.lower():
            return None
        if lowered == "etag" and not value.startswith("W/"):
            value = f"W/{value}"  # other bytes, the same meaning (RFC 9110 8.8.1)
        if lowered not in ("content-length", "accept-ranges"):
            kept.append((name, value))
    return [*kept, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]


def compressor() -> zlib._Compress:
    """Return what compresses one body."""
    return zlib.compressobj(6, zlib.DEFLATED, _GZIP)
