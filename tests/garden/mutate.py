"""Requests that nobody would send: changed from those of ``tests/vectors/http1``, the same for the same number."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

__all__ = ["mutated", "seeds"]

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "http1"
#: Longer ones are about limits, which are every server's own.
LONGEST = 2_000

#: Bytes that parsers have been seen to differ on.
PIECES = b"""\
\r|\n|\r\n|\n\n|\r\r|\r\n\r\n|\r\n |\0|\t| |  |\x0b|\x0c|\x1f|\x7f|\x80|\x85|\xa0|\xff|\xc4\xb1|:|;|,|\
+|-|_|=|"|'|\\|/|?|#|*|%|&|<|>|[|]|{|}|@|0|1|9|a|f|0x|00|chunked|identity|Content-Length|Transfer-Encoding|HTTP/1.1|HTTP/1.0|http://y/|0\r\n\r\n|\
5\r\nhello\r\n""".split(b"|")
#: Whole lines of a head.
LINES = b"""\
Content-Length: 0|Content-Length: 1|Content-Length: 3|Content-Length: 5|Content-Length: 6|Content-Length: 16|\
Content-Length: +5|Content-Length: -1|Content-Length: 5, 5|Content-Length: 5,6|Content-Length: 0x5|Content-Length: 005|\
Content-Length: 5 5|Content-Length: |Content-Length: 5_0|Content-Length: 1e1|Content-Length : 5|Content_Length: 5|\
content-length: 5|Content-Length\t: 5| Content-Length: 5|Transfer-Encoding: chunked|Transfer-Encoding: Chunked|\
Transfer-Encoding: identity|Transfer-Encoding: gzip|Transfer-Encoding: gzip, chunked|Transfer-Encoding: |\
Transfer-Encoding: chunked, chunked|Transfer-Encoding: chunked, identity|Transfer-Encoding: xchunked|\
Transfer-Encoding: "chunked"|Transfer-Encoding: chunked;q=1|Transfer-Encoding: \x0bchunked|\
Transfer-Encoding: chunked\x0b|Transfer-Encoding: ,chunked|Transfer-Encoding: chunked,|Transfer-Encoding : chunked|\
Transfer-Encoding:chunked| Transfer-Encoding: chunked|Transfer_Encoding: chunked|Connection: close|\
Connection: keep-alive|Connection: Content-Length|Connection: Transfer-Encoding, close|Host: y|Host: |\
Expect: 100-continue|Upgrade: websocket|X: y|X|: y|X: \0|X: a\rb|Trailer: X|TE: trailers|Max-Forwards: 0|\
Range: bytes=0-1|If-Match: x|Content-Encoding: gzip""".split(b"|")


def seeds() -> list[bytes]:
    """Return the requests that all others are made from: valid ones more often than invalid ones."""
    found = []
    for kind, times in (("valid", 8), ("invalid", 1)):
        for path in sorted((VECTORS / kind).glob("*.http")):
            data = path.read_bytes()
            if len(data) <= LONGEST and "options" not in json.loads(path.with_suffix(".json").read_text()):
                found += [data] * times
    return found


def mutated(base: list[bytes], seed: int, number: int) -> bytes:
    """Return the request with this number."""
    rng = random.Random(f"{seed}/{number}")
    data = rng.choice(base)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
        data = rng.choice(CHANGES)(data, rng, base)
    return data[: 2 * LONGEST]


def _put(data: bytes, rng: random.Random, base: list[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice(PIECES) + data[at:]


def _put_at_an_edge(data: bytes, rng: random.Random, base: list[bytes]) -> bytes:
    """At a line's beginning or end, or around a colon or semicolon, where grammars end."""
    edges = [match.start() for match in re.finditer(rb"[\r\n:;, ]", data)] or [0]
    at = rng.choice(edges) + rng.randint(0, 1)
    return data[:at] + rng.choice(PIECES) + data[at:]


def _replace(data: bytes, rng: random.Random, base: list[bytes]) -> bytes:
    at = rng.randrange(len(data) or 1)
    return data[:at] + rng.choice(PIECES) + data[at + rng.randint(1, 2) :]


def _remove(data: bytes, rng: random.Random, base: list[bytes]) -> bytes:
    at = rng.randrange(len(data) or 1)
    return data[:at] + data[at + rng.choice((1, 1, 2, 5)) :]


def _add_line(data: bytes, rng: random.Random, base: list[bytes]) -> bytes:
    ends = [match.end() for match in re.finditer(rb"\r\n", data)] or [0]
    at = rng.choice(ends[:6])
    return data[:at] + rng.choice(LINES) + b"\r\n" + data[at:]


def _repeat_line(data: bytes, rng: random.Random, base: list[bytes]) -> bytes:
    lines = data.split(b"\r\n")
    at = rng.randrange(len(lines))
    return b"\r\n".join([*lines[: at + 1], *lines[at:]])


def _swap_lines(data: bytes, rng: random.Random, base: list[bytes]) -> bytes:
    lines = data.split(b"\r\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def _end_a_line_otherwise(data: bytes, rng: random.Random, base: list[bytes]) -> bytes:
    ends = [match.start() for match in re.finditer(rb"\r\n", data)] or [0]
    at = rng.choice(ends)
    return data[:at] + rng.choice((b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n\n", b"\r\n ", b"\0\r\n")) + data[at + 2 :]


def _change_a_number(data: bytes, rng: random.Random, base: list[bytes]) -> bytes:
    numbers = list(re.finditer(rb"[0-9a-fA-F]+", data))
    if not numbers:
        return data
    match = rng.choice(numbers)
    new = rng.choice(
        (
            b"0",
            b"1",
            b"2",
            b"6",
            b"ffffffffffffffff",
            b"10000000000000005",
            b"-1",
            b"",
            b"0" + match[0],
            match[0] + b"0",
        )
    )
    return data[: match.start()] + new + data[match.end() :]


def _change_case(data: bytes, rng: random.Random, base: list[bytes]) -> bytes:
    at = rng.randrange(len(data) or 1)
    return data[:at] + data[at : at + 8].swapcase() + data[at + 8 :]


def _cross(data: bytes, rng: random.Random, base: list[bytes]) -> bytes:
    """Go on as another request does, from the beginning of one of its lines."""
    other = rng.choice(base)
    ends = [match.end() for match in re.finditer(rb"\r\n", data)] or [0]
    starts = [match.end() for match in re.finditer(rb"\r\n", other)] or [0]
    return data[: rng.choice(ends)] + other[rng.choice(starts) :]


CHANGES = [
    _put,
    _put_at_an_edge,
    _put_at_an_edge,
    _replace,
    _remove,
    _add_line,
    _add_line,
    _repeat_line,
    _swap_lines,
    _end_a_line_otherwise,
    _change_a_number,
    _change_case,
    _cross,
]
