"""How a message looks inside Redis; ``docs/channels-on-redis.md`` tells other programs.

Text is published as it is, so that any program reads it and writes it. Whatever that cannot say has a *head*: binary
messages, those that one connection does not get, those that are not to be compressed, those that are kept, gaps, and
records of presence.

Pure: bytes in, messages out.
"""

from __future__ import annotations

from uwsgi_ws.channels.positions import Position, parse_position
from uwsgi_ws.channels.records import GAP, PRESENCE, UNCOMPRESSED
from uwsgi_ws.errors import ChannelError
from uwsgi_ws.protocol.plain import is_text

__all__ = ["EXCLUDED_SIZE", "KEPT", "PREFIX", "decode", "decode_kept", "encode", "encode_gap"]

#: What a Redis channel's name has before ours, unless the URL has another ``prefix``.
PREFIX = "uwsgi_ws:"
#: Bytes that name the connection which does not get a message: 8 for its process, 8 for itself.
EXCLUDED_SIZE = 16

_TEXT, _BINARY = 1, 2  # RFC 6455 11.8
_MAGIC = b"\0ws"  # begins no text of a sensible program
_BODY = len(_MAGIC) + 1
#: The opcode of a message that is kept: its payload is for ``decode_kept``.
KEPT = 4
#: The kinds of messages; in capitals, of those that one connection does not get.
_MESSAGES = {b"t": _TEXT, b"b": _BINARY, b"u": UNCOMPRESSED + _TEXT, b"v": UNCOMPRESSED + _BINARY}
_KINDS = {**_MESSAGES, b"g": GAP, b"p": PRESENCE, b"k": KEPT}
_KINDS_EXCLUDING = {kind.upper(): opcode for kind, opcode in _MESSAGES.items()}
_TEXTS = b"tuTU"
_KIND_OF = {opcode: kind for kind, opcode in _KINDS.items()}


def encode(opcode: int, payload: bytes, excluded: bytes = b"") -> bytes:
    """Return what is published for a message.

    Args:
        opcode: 1 for text, 2 for binary, ``UNCOMPRESSED`` added or not; or ``PRESENCE``.
        payload: The message.
        excluded: ``EXCLUDED_SIZE`` bytes for the connection that does not get it, if any.
    """
    if opcode == _TEXT and not excluded and not payload.startswith(_MAGIC):
        return payload
    kind = _KIND_OF[opcode]
    return b"".join((_MAGIC, kind.upper() if excluded else kind, excluded, payload))


def encode_gap() -> bytes:
    """Return what is published where messages have been lost."""
    return _MAGIC + b"g"


def decode(data: bytes) -> tuple[int, bytes, bytes]:
    """Return opcode, payload and excluded connection of what was published, by whatever program.

    What has no head is text, or binary if it is not in UTF-8.

    Raises:
        ChannelError: the head, or what follows, is none of ours.
    """
    if not data.startswith(_MAGIC):
        return (_TEXT if is_text(data) else _BINARY), data, b""
    kind = data[_BODY - 1 : _BODY]
    begin = _BODY
    opcode = _KINDS.get(kind)
    if opcode is None:
        opcode = _KINDS_EXCLUDING.get(kind)
        begin += EXCLUDED_SIZE
        if opcode is None or len(data) < begin:
            raise ChannelError(f"not a message: it begins with {data[:_BODY]!r}")
    payload = data[begin:]
    if kind in _TEXTS and not is_text(payload):
        raise ChannelError("not a message: text that is not in UTF-8")
    return opcode, payload, data[_BODY:begin]


def decode_kept(payload: bytes) -> tuple[Position, bytes]:
    """Return the position of a message that is kept, and what was published, for ``decode``.

    Raises:
        ChannelError: it is none.
    """
    text, _, data = payload.partition(b" ")
    position = parse_position(text.decode(errors="replace"))
    if position is None:
        raise ChannelError(f"not a message: its position is {text[:64]!r}")
    return position, data
