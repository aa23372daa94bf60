"""Steps that a line of the log takes on its way to a logger. Each makes bytes of bytes, and never fails.

Source: uWSGI's core/logging.c (``uwsgi_log_encoder_*``). Its JSON has raw control characters in strings; ours has none.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Callable

from uwsgi_ws.loggers import LogEncoder

__all__ = ["Encode", "encoder"]

Encode = Callable[[bytes], bytes]


def encoder(step: LogEncoder) -> Encode:
    """Return the function of a step. It gets a line with its end, or what the step before has made of it."""
    text = step.text.encode("utf-8", "surrogateescape")
    match step.kind:
        case "prefix":
            return lambda line: text + line
        case "suffix":
            return lambda line: line + text
        case "nl":
            return lambda line: line + b"\n"
        case "gzip":
            import gzip

            return gzip.compress
        case "compress":
            return zlib.compress
        case "format":
            return _filled(text, bytes)
        case "json":
            return _filled(text, _escaped)
        case _:
            raise AssertionError("the options know no other")


def _filled(text: bytes, quoted: Encode) -> Encode:
    """Return a function that puts lines into a text.

    Args:
        text: With variables.
        quoted: Makes a line fit to stand there.
    """
    pieces = [
        _variable(piece.decode("utf-8", "surrogateescape"), quoted) if number % 2 else _constant(piece)
        for number, piece in enumerate(re.split(rb"\$\{([^}]*)\}", text))
    ]
    return lambda line: b"".join([piece(line) for piece in pieces])


def _constant(piece: bytes) -> Encode:
    return lambda line: piece


def _variable(name: str, quoted: Encode) -> Encode:
    kind, _, form = name.partition(":")
    match kind:
        case "msg":
            return lambda line: quoted(line.removesuffix(b"\n"))
        case "msgnl":
            return quoted
        case "unix":
            return lambda line: b"%d" % time.time()
        case "micros":
            return lambda line: b"%d" % (time.time_ns() // 1000)
        case _:
            return lambda line: time.strftime(form).encode("utf-8", "surrogateescape")


def _escaped(line: bytes) -> bytes:
    return json.dumps(line.decode("utf-8", "backslashreplace"), ensure_ascii=False)[1:-1].encode()
