"""Server-Sent Events on the wire, as the HTML standard has them (9.2): lines of UTF-8, a blank one after each event.

Only text can be sent. So a binary message goes as base64, in an event of the type ``binary``: no client takes it for
the text of a message.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

__all__ = ["COMMENT", "chunk", "encode_binary", "encode_event", "encode_id", "encode_retry", "read_ids", "write_ids"]

#: What clients pass over; it ends with a blank line, so that a client which reads whole events takes it at once.
COMMENT = b":\n\n"

_LINE_END = re.compile(rb"\r\n|\r|\n")
#: Stands for a channel without a position; between ids is a blank, which no position has.
_NO_POSITION = "-"


def encode_event(data: bytes, kind: str = "") -> bytes:
    """Return an event without its end: the blank line, with or without an id before it.

    Args:
        data: UTF-8. A client sees each of its line ends, CRLF and CR too, as LF.
        kind: Its type; empty for ``message``.
    """
    lines = [b"data: " + line for line in _LINE_END.split(data)]
    if kind:
        lines.insert(0, b"event: " + kind.encode())
    lines.append(b"")
    return b"\n".join(lines)


def encode_binary(data: bytes) -> bytes:
    """Return an event, as ``encode_event``, for bytes that are not text."""
    return encode_event(base64.b64encode(data), "binary")


def encode_id(position: str) -> bytes:
    """Return the end of an event whose id is a position: what a client that comes back shall name."""
    return b"id: " + position.encode() + b"\n\n"


def encode_retry(milliseconds: int) -> bytes:
    """Return what tells a client how long to wait before it connects again."""
    return b"retry: %d\n\n" % milliseconds


def write_ids(positions: Sequence[str | None]) -> str:
    """Return one id for the positions on several channels, in their order."""
    return " ".join(position or _NO_POSITION for position in positions)


def read_ids(text: str, count: int) -> list[str | None]:
    """Return the positions in an id; an empty one each where it is not one for so many channels.

    An empty position is one that no channel has: who asks for what came after it is told that messages may be missing.
    """
    words = text.split()
    if len(words) != count:
        return [""] * count
    return [None if word == _NO_POSITION else word for word in words]


def chunk(data: bytes) -> bytes:
    """Return a piece of a body in HTTP/1.1's chunked coding (RFC 9112 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)
