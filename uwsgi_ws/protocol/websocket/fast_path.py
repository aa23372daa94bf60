"""The shortest way for the commonest bytes: exactly one whole message, and no long one, in one read."""

from __future__ import annotations

from uwsgi_ws.protocol.websocket.frames import MAX_CONTROL, SHORT_MESSAGES, TEXT
from uwsgi_ws.protocol.websocket.masking import Masker
from uwsgi_ws.protocol.websocket.messages import Message, is_text

__all__ = ["short_message"]

_frame = SHORT_MESSAGES.get
_MEDIUM = (b"\x81\xfe", b"\x82\xfe")  # FIN, text or binary, masked, a length of two bytes


def _short_message(data: bytes) -> Message | None:
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


try:
    from uwsgi_ws.protocol.websocket._speed import short_message
except ImportError:
    short_message = _short_message
