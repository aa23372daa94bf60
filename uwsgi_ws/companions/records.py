"""What goes between a worker and a companion, as the worker sees it: it writes its own records, and reads the other's.

A record is a type, an ASCII letter; the length of its payload, four bytes; the payload. Each is checked by itself; what
is allowed when is for ``exchange`` to say. ``docs/companion-protocol.md`` has it all.

Pure: bytes in, records out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any, NamedTuple

from uwsgi_ws.channels.records import decode_name
from uwsgi_ws.errors import ChannelError, RecordError
from uwsgi_ws.protocol.plain import is_text
from uwsgi_ws.protocol.uwsgi import encode_packet
from uwsgi_ws.protocol.websocket.frames import BINARY, TEXT

__all__ = [
    "BODY",
    "CLOSE",
    "COUNT",
    "DATA",
    "END",
    "HANDSHAKE",
    "JOIN",
    "LEAVE",
    "LOG",
    "PING",
    "PUBLISH",
    "READ_BODY",
    "READ_CHANNEL",
    "RESPONSE",
    "STOP_CHANNEL",
    "TEXT_MESSAGE",
    "VERSION",
    "Decoder",
    "Handshake",
    "Publication",
    "encode",
    "encode_body",
    "encode_close",
    "encode_failed_body",
    "encode_handshake_result",
    "encode_message",
    "encode_message_head",
    "encode_number",
    "encode_ping_result",
    "encode_request",
    "encode_version",
]

#: The version of the protocol.
VERSION_NUMBER = 1

# What a companion sends.
VERSION, READ_BODY, RESPONSE, BODY, HANDSHAKE, END, LOG = map(ord, "VRSBHEG")
TEXT_MESSAGE, DATA, CLOSE, PING = map(ord, "TDCP")
JOIN, LEAVE, READ_CHANNEL, STOP_CHANNEL, PUBLISH, COUNT = map(ord, "JLIOUN")

_HEAD = Struct(">BI")  # type, bytes of the payload
_SHORT, _WORD, _LONG = Struct(">H"), Struct(">I"), Struct(">Q")
_VERSION = Struct(">HI")
_PING_RESULT = Struct(">Qd")
_LONGEST_REASON = 123  # RFC 6455 5.5: a control frame has 125 bytes, of which the code takes two
_MAX_NAME = 65_535
_OPCODES = {ord("T"): TEXT, ord("D"): BINARY}
_LETTERS = {TEXT: b"T", BINARY: b"D"}
_ARGUMENTS = (":key", ":origin", ":protocol")

Pairs = list[tuple[str, str]]


class Handshake(NamedTuple):
    """The arguments of uWSGI's ``websocket_handshake``, empty where not given; and further headers."""

    key: str
    origin: str
    protocol: str
    headers: Pairs


class Publication(NamedTuple):
    """A message for a channel, and whether the request's own client shall not get it."""

    channel: str
    opcode: int
    payload: bytes
    is_for_others: bool


# What a worker sends


def encode(kind: bytes, payload: bytes) -> bytes:
    """Return a record whose payload is there already."""
    return _HEAD.pack(kind[0], len(payload)) + payload


def encode_version(largest: int) -> bytes:
    """Return the first record.

    Args:
        largest: Bytes of the largest payload that we take.
    """
    return encode(b"V", _VERSION.pack(VERSION_NUMBER, largest))


def encode_request(variables: Iterable[tuple[str, str]], modifier1: int) -> bytes:
    """Return the record of a request.

    Raises:
        ValueError: the variables are more than a uwsgi packet can hold.
    """
    return encode(b"Q", encode_packet(variables, modifier1))


def encode_message_head(opcode: int, length: int) -> bytes:
    """Return what stands before a client's message."""
    return _HEAD.pack(TEXT_MESSAGE if opcode == TEXT else DATA, length)


def encode_message(channel: bytes, opcode: int, payload: bytes) -> bytes:
    """Return the record of a channel's message."""
    return encode(b"M", b"".join((_SHORT.pack(len(channel)), channel, _LETTERS[opcode], payload)))


def encode_close(code: int, reason: str) -> bytes:
    """Return the record that says how the WebSocket ended."""
    return encode(b"C", _SHORT.pack(code) + reason.encode())


def encode_body(piece: bytes) -> bytes:
    """Return a piece of the request's body; empty at its end."""
    return encode(b"B", piece)


def encode_failed_body(why: str) -> bytes:
    """Return the record that stands in place of a body that cannot be had."""
    return encode(b"F", why.encode())


def encode_handshake_result(why: str = "") -> bytes:
    """Return the answer to a handshake; ``why`` it failed, if it did."""
    return encode(b"H", why.encode())


def encode_ping_result(number: int, seconds: float) -> bytes:
    """Return the answer to a ping."""
    return encode(b"P", _PING_RESULT.pack(number, seconds))


def encode_number(tag: int, number: int) -> bytes:
    """Return the answer to a count."""
    return encode(b"N", _WORD.pack(tag) + _WORD.pack(number))


# What a companion sends


def _version(payload: bytes) -> tuple[int, int]:
    _check_size(payload, _VERSION.size)
    version, largest = _VERSION.unpack(payload)
    return version, largest


def _as_it_is(payload: bytes) -> bytes:
    return payload


def _text(payload: bytes) -> str:
    # What a program logs may be anything, and is shown all the same.
    return payload.decode(errors="backslashreplace")


def _name(payload: bytes) -> str:
    if len(payload) > _MAX_NAME:
        raise RecordError(f"a channel's name of {len(payload)} bytes, {_MAX_NAME} allowed")
    try:
        return decode_name(payload)
    except ChannelError:
        raise RecordError("a channel's name is not UTF-8") from None


def _close(payload: bytes) -> tuple[int, str]:
    if not 2 <= len(payload) <= 2 + _LONGEST_REASON:
        raise RecordError(f"a close of {len(payload)} bytes")
    reason = payload[2:]
    if not is_text(reason):
        raise RecordError("the reason of a close is not UTF-8")
    return _SHORT.unpack_from(payload)[0], reason.decode()


def _ping(payload: bytes) -> int:
    _check_size(payload, _LONG.size)
    number: int = _LONG.unpack(payload)[0]
    return number


def _size(payload: bytes) -> int:
    _check_size(payload, _WORD.size)
    size: int = _WORD.unpack(payload)[0]
    if not size:
        raise RecordError("nothing of the body is asked for")
    return size


def _response(payload: bytes) -> tuple[str, Pairs]:
    pairs = _block(payload)
    if not pairs or pairs[0][0] != ":status":
        raise RecordError("a response does not begin with its :status")
    status, headers = pairs[0][1], pairs[1:]
    if not (status[:3].isascii() and status[:3].isdigit() and len(status[:3]) == 3):
        raise RecordError("a status does not begin with three digits")
    if any(name.startswith(":") for name, _ in headers):
        raise RecordError("a response has an argument that there is not")
    return status, headers


def _handshake(payload: bytes) -> Handshake:
    arguments: dict[str, str] = {}
    headers: Pairs = []
    for name, value in _block(payload):
        if not name.startswith(":"):
            headers.append((name, value))
        elif name in arguments or name not in _ARGUMENTS:
            raise RecordError("a handshake has an argument twice, or one that there is not")
        else:
            arguments[name] = value
    key, origin, protocol = (arguments.get(name, "") for name in _ARGUMENTS)
    return Handshake(key, origin, protocol, headers)


def _publication(payload: bytes) -> Publication:
    name_end = 2 + int.from_bytes(payload[:2], "big")
    if len(payload) < name_end + 2:
        raise RecordError("a message for a channel is cut short")
    letter, flags = payload[name_end], payload[name_end + 1]
    if letter not in _OPCODES or flags > 1:
        raise RecordError("a message for a channel is neither text nor data, or has unknown flags")
    return Publication(_name(payload[2:name_end]), _OPCODES[letter], payload[name_end + 2 :], flags == 1)


def _count(payload: bytes) -> tuple[int, str]:
    if len(payload) < _WORD.size:
        raise RecordError("a count has no tag")
    return _WORD.unpack_from(payload)[0], _name(payload[_WORD.size :])


def _check_size(payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise RecordError(f"{len(payload)} bytes in the place of {size}")


def _block(payload: bytes) -> Pairs:
    """Return the names and values of a block, in order."""
    pairs: Pairs = []
    at, end = 0, len(payload)
    while at < end:
        value_at = at + 2 + int.from_bytes(payload[at : at + 2], "little")
        next_at = value_at + 2 + int.from_bytes(payload[value_at : value_at + 2], "little")
        if value_at + 2 > end or next_at > end or value_at == at + 2:
            raise RecordError("the lengths in a block do not fit, or a name is empty")
        name, value = payload[at + 2 : value_at], payload[value_at + 2 : next_at]
        pairs.append((name.decode("latin-1"), value.decode("latin-1")))
        at = next_at
    return pairs


_READERS: dict[int, Callable[[bytes], Any]] = {
    VERSION: _version,
    BODY: _as_it_is,
    CLOSE: _close,
    DATA: _as_it_is,
    END: _text,
    LOG: _text,
    HANDSHAKE: _handshake,
    READ_CHANNEL: _name,
    JOIN: _name,
    LEAVE: _name,
    COUNT: _count,
    STOP_CHANNEL: _name,
    PING: _ping,
    READ_BODY: _size,
    RESPONSE: _response,
    TEXT_MESSAGE: _as_it_is,
    PUBLISH: _publication,
}


class Decoder:
    """Turns what a companion sends, cut anywhere, into records: the type and what the payload means.

    Holds one unfinished record at most.

    Args:
        largest: Bytes allowed in a payload.

    Attributes:
        error: What makes it no stream of records, once that has come; nothing behind it is looked at.
    """

    __slots__ = ("_buffer", "_largest", "_needed", "error")

    def __init__(self, largest: int) -> None:
        self._buffer = bytearray()
        self._largest = largest
        self._needed = _HEAD.size  # bytes without which there is nothing to be done
        self.error: RecordError | None = None

    def feed(self, data: bytes) -> list[tuple[int, Any]]:
        """Take bytes; return the records that they complete, in order: those before an ``error``, too."""
        if self.error is not None:
            return []
        # The usual read: one message, whole.
        length = len(data)
        if length > 4 and not self._buffer and (data[0] == TEXT_MESSAGE or data[0] == DATA):
            size = data[1] << 24 | data[2] << 16 | data[3] << 8 | data[4]
            if size + 5 == length and size <= self._largest:
                return [(data[0], data[5:])]
        buffer = self._buffer
        buffer += data
        records: list[tuple[int, Any]] = []
        if len(buffer) < self._needed:
            return records
        begin = 0
        try:
            with memoryview(buffer) as view:
                begin = self._read_records(view, records)
        except RecordError as exc:
            self.error = exc
            exc.__traceback__ = None  # its frames know the records
            begin = len(buffer)
        del buffer[:begin]
        return records

    def _read_records(self, view: memoryview, records: list[tuple[int, Any]]) -> int:
        """Append the whole records of the buffer; return where the next one begins."""
        begin, end = 0, len(view)
        while end - begin >= _HEAD.size:
            kind, size = _HEAD.unpack_from(view, begin)
            read = _READERS.get(kind)
            if read is None:
                raise RecordError("a record of no known type", _said(view, begin))
            if size > self._largest:
                raise RecordError(f"a record of {size} bytes, {self._largest} allowed", _said(view, begin))
            next_at = begin + _HEAD.size + size
            if next_at > end:
                self._needed = next_at - begin
                return begin
            try:
                value = read(bytes(view[begin + _HEAD.size : next_at]))
            except RecordError as exc:
                raise RecordError(str(exc), _said(view, begin)) from None
            records.append((kind, value))
            begin = next_at
        self._needed = _HEAD.size
        return begin


def _said(view: memoryview, begin: int) -> bytes:
    return bytes(view[begin : begin + RecordError.SHOWN])
