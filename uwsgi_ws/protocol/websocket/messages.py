"""Messages from fragments (RFC 6455 5.4): joined, measured, and checked as UTF-8 while they arrive (8.1).

An assembler belongs to one message of one connection. (uWSGI keeps one buffer for the whole process, and so
hands one connection's fragments to another.)
"""

from __future__ import annotations

import codecs
from typing import NamedTuple

from uwsgi_ws.errors import InvalidText, MessageTooBig
from uwsgi_ws.protocol.plain import is_text, octets
from uwsgi_ws.protocol.websocket.deflate import Inflater
from uwsgi_ws.protocol.websocket.frames import BINARY, TEXT
from uwsgi_ws.protocol.websocket.speed import Masker, Payload

__all__ = ["MESSAGE_OVERHEAD", "Assembler", "Message", "Piece", "Sendable", "as_message", "check_text"]

#: Bytes that a message takes beside its payload while it waits: CPython's tuple 72, its bytes object 33, the slot of a
#: deque 8, and what malloc rounds up. A flood of short messages takes little else.
MESSAGE_OVERHEAD = 136

#: Pieces below are copied together.
_SMALL = 4_096
#: Frames of so many bytes are unmasked into their place, where that is compiled. Beyond, a header alone would
#: ask for too much memory, be it only on paper.
_LARGE = range(65_536, 16_777_217)

_new_decoder = codecs.getincrementaldecoder("utf-8")


#: One whole message: its opcode (TEXT or BINARY) and its payload, which is UTF-8 when text. A bare tuple: making a
#: named one takes 0.25 us, a fiftieth of all that an echoed message costs.
Message = tuple[int, bytes]

#: What an application may send: text, or anything bytes-like.
Sendable = str | bytes | bytearray | memoryview


def as_message(message: Sendable) -> Message:
    """Return what an application wants sent as opcode and payload.

    Raises:
        TypeError: it is neither text nor bytes-like.
        ValueError: it is closed or released; or text with a lone surrogate, which UTF-8 has not.
    """
    if isinstance(message, str):
        return TEXT, str.encode(message)
    # Of all but bytes a copy: it may wait while the caller changes it.
    return BINARY, octets(message, "a message is str or bytes-like")


class Piece(NamedTuple):
    """A part of a message that is being streamed; its third item tells it from a whole message.

    ``final`` is True on the last one, which may be empty.
    A piece of text may end inside a character; the pieces together are UTF-8.
    """

    opcode: int
    payload: bytes
    final: bool


def check_text(payload: bytes) -> None:
    """Raise InvalidText unless ``payload`` is UTF-8."""
    if not is_text(payload):
        raise InvalidText("text message is not UTF-8")


# InvalidText is raised outside of the `except`: a connection remembers what failed it, and UnicodeDecodeError, as cause
# or as context, knows the whole payload.


def _goes_on(decoder: codecs.IncrementalDecoder, piece: bytes, final: bool = False) -> bool:
    """Have a decoder check the next piece of a text."""
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True


class Assembler:
    """Collects the pieces of one message.

    A piece is any run of unmasked payload bytes: a fragment or a part of one. What is held never passes
    ``limit`` bytes, and ``take`` empties it, so that a streamed message is never held whole. A compressed message is
    inflated as it comes.
    """

    __slots__ = ("_decoder", "_frame", "_inflater", "_is_dropped", "_parts", "_size", "_small", "limit", "opcode")

    def __init__(self, opcode: int, limit: int, inflater: Inflater | None = None) -> None:
        self.opcode = opcode
        self._inflater = inflater  # which keeps to the limit itself; None for a message that is not compressed
        self.limit = limit
        self._size = 0  # bytes announced by the frame headers so far
        # Large pieces are kept as they come and joined once; small ones would cost more as objects than as bytes, so a
        # message in a million fragments takes no more memory than its payload.
        self._parts: list[bytes] = []
        self._small = bytearray()
        self._frame: Payload | None = None  # the present frame's, if it is large
        self._decoder: codecs.IncrementalDecoder | None = None  # made at the first byte that is not ASCII
        self._is_dropped = False

    def drop(self) -> None:
        """Hold nothing of the message any more, neither what has come nor what will; its size still counts."""
        self._is_dropped = True
        self._parts = []
        self._small = bytearray()
        self._frame = None
        self._decoder = None

    def announce(self, length: int) -> None:
        """Take note of a frame's header before its payload comes.

        Raises:
            MessageTooBig: the frame would take the message past the limit.
        """
        if self._inflater is not None:
            return
        self._size += length
        if self._size > self.limit:
            raise MessageTooBig(self._size, self.limit)
        if length in _LARGE and not self._is_dropped:
            self._frame = Payload(length)

    def add_masked(self, masker: Masker, piece: bytes) -> None:
        """Append bytes of the present frame's payload as they came. Raises as ``add``, and as ``Inflater.inflate``."""
        if self._is_dropped:
            return
        frame = self._frame
        if frame is None:
            piece = masker.process(piece)
            self.add(piece if self._inflater is None else self._inflater.inflate(piece))
            return
        is_ascii = frame.add(masker, piece)
        if self.opcode == TEXT and (self._decoder is not None or not is_ascii):
            self._check(frame.last(len(piece)))

    def add(self, piece: bytes) -> None:
        """Append payload bytes.

        Raises:
            InvalidText: as soon as the text so far cannot be the beginning of valid UTF-8.
        """
        if self.opcode == TEXT and (self._decoder is not None or not piece.isascii()):
            self._check(piece)
        if len(piece) < _SMALL:
            self._small += piece
        else:
            self._seal()
            self._parts.append(piece)

    def _check(self, piece: bytes) -> None:
        """Check the next piece of a text, the first that is not ASCII or one behind it."""
        if self._decoder is None:
            self._decoder = _new_decoder()
        if not _goes_on(self._decoder, piece):
            raise InvalidText("text message is not UTF-8")
        # CPython's decoder waits for a surrogate's third byte, which cannot make it valid.
        unfinished = self._decoder.getstate()[0]
        if unfinished[:1] == b"\xed" and unfinished[1:2] >= b"\xa0":
            raise InvalidText("text message is not UTF-8")

    def end_frame(self) -> None:
        """Take note that all of the present frame's payload has come."""
        if self._frame is not None:
            self._seal()
            self._parts.append(self._frame.take())
            self._frame = None

    def _seal(self) -> None:
        if self._small:
            self._parts.append(bytes(self._small))
            self._small.clear()

    def take(self) -> bytes:
        """Return the bytes collected since the last call and hold them no longer."""
        self.end_frame()  # or what has come of it: the rest goes without
        self._seal()
        parts, self._parts = self._parts, []
        return b"".join(parts)

    def finish(self) -> bytes:
        """Return what ``take`` would, the message being complete.

        Raises:
            InvalidText: the text ends inside a character.
            InvalidDeflate: the message cannot be inflated.
            MessageTooBig: it is longer than the limit.
        """
        if self._inflater is not None and not self._is_dropped:
            self.add(self._inflater.finish())
        if self._decoder is not None and not _goes_on(self._decoder, b"", True):
            raise InvalidText("text message ends inside a character")
        return self.take()
