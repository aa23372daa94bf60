"""What is done with every byte of a payload, and the shortest way for the commonest bytes.

``speed.pyx`` beside this file does the same with pointers; Python prefers it where it is compiled. Masking takes it
0.12 us for 32 bytes and 80 us for 1 MiB, where wsaccel's loop takes 0.6 and 1,050. (Big-integer XOR and
``bytes.translate`` over strides, the fastest forms in pure Python, take 0.7 us and 2.4 ms; the former serves where
wsaccel has no wheel.)
"""

from __future__ import annotations

try:
    from wsaccel.xormask import XorMaskerSimple as Masker
except ImportError:  # it has no wheel for this interpreter
    from uwsgi_ws.protocol.websocket.masking import Masker

from uwsgi_ws.protocol.plain import is_text
from uwsgi_ws.protocol.websocket.frames import MAX_CONTROL, SHORT_MESSAGES, TEXT

__all__ = ["Masker", "Payload", "short_message", "unmask"]

#: Pieces below are copied together: a payload in a million pieces takes no more memory than its size.
_SMALL = 4_096

_frame = SHORT_MESSAGES.get
_MEDIUM = (b"\x81\xfe", b"\x82\xfe")  # FIN, text or binary, masked, a length of two bytes


class Payload:
    """One frame's payload, unmasked piece by piece.

    Args:
        size: In bytes.
    """

    __slots__ = ("_left", "_parts")

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError("a payload has no negative size")
        self._left = size
        self._parts: list[bytes] = []

    def add(self, masker: Masker, piece: bytes) -> bool:
        """Put a masked piece behind the others; return whether it is ASCII."""
        if len(piece) > self._left:
            raise ValueError("more than the payload's size")
        plain: bytes = masker.process(piece)
        self._left -= len(plain)
        parts = self._parts
        if parts and len(plain) < _SMALL and len(parts[-1]) < _SMALL:
            parts[-1] += plain
        else:
            parts.append(plain)
        return plain.isascii()

    def last(self, count: int) -> bytes:
        """Return the last ``count`` bytes, unmasked."""
        parts = self._parts
        if not parts or len(parts[-1]) < count:
            parts = [b"".join(parts)]
        return parts[-1][max(len(parts[-1]) - count, 0) :]

    def take(self) -> bytes:
        """Return what has come; this must be the last call."""
        parts, self._parts = self._parts, []
        self._left = 0
        return b"".join(parts)


def short_message(data: bytes) -> tuple[int, bytes] | None:
    """Return the message if ``data`` is one masked, final, valid text or binary frame of up to 65,535 bytes, else None.

    None says nothing about what else it is; ``WebSocket.receive`` finds out.
    """
    header = _frame(data[:2])
    if header is not None:
        opcode, size = header
        body = 6
    else:
        if data[:2] not in _MEDIUM:
            return None
        opcode = data[0] & 0x0F
        size = int.from_bytes(data[2:4], "big") + 8
        body = 8
        if size - body <= MAX_CONTROL:
            return None  # its length is not as short as can be
    if len(data) != size:
        return None
    payload = Masker(data[body - 4 : body]).process(data[body:])
    if opcode == TEXT and not payload.isascii() and not is_text(payload):
        return None
    return opcode, payload


def unmask(key: bytes, payload: bytes) -> bytes:
    """Return ``payload`` XORed with the four bytes of ``key``; masking and unmasking are the same."""
    plain: bytes = Masker(key).process(payload)
    return plain
