"""The shortest way for the commonest bytes: exactly one short whole message in one read."""

from __future__ import annotations

from uwsgi_ws.protocol.frames import SHORT_MESSAGES, TEXT
from uwsgi_ws.protocol.masking import Masker
from uwsgi_ws.protocol.messages import Message

__all__ = ["short_message"]

_frame = SHORT_MESSAGES.get


def _short_message(data: bytes) -> Message | None:
    """Return the message if ``data`` is one masked, final, valid text or binary frame of up to 125 bytes, else None.

    None says nothing about what else it is; ``WebSocket.receive`` finds out.
    """
    header = _frame(data[:2])
    if header is None:
        return None
    opcode, size = header
    if len(data) != size:
        return None
    payload = Masker(data[2:6]).process(data[6:])
    if opcode == TEXT and not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            return None
    return opcode, payload


try:
    from uwsgi_ws.protocol._speed import short_message
except ImportError:
    short_message = _short_message
