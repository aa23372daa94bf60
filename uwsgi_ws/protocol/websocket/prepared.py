"""A message on its way out, encoded once for each wire variant that a peer needs, however many peers get it.

A sender says *what*: an opcode and a payload. The engine of each connection knows *how* its peer takes messages, and
picks the variant (``WebSocket.frame_of``, ``WebSocket.encode``). Today there is one: the plain frame.

Permessage-deflate (RFC 7692) will be one more. A peer with ``server_no_context_takeover`` takes the same bytes as all
others with the same window: such a variant gets a slot here beside the plain frame, is made when the first engine asks
for it, and is shared. A peer whose compression goes on from message to message shares nothing: its engine compresses
``payload`` by itself. Both are decided in ``frame_of`` and ``encode``, by what the handshake has agreed on.
"""

from __future__ import annotations

from uwsgi_ws.protocol.websocket import frames

__all__ = ["Prepared"]


class Prepared:
    """One whole message for many peers. Immutable.

    Args:
        opcode: TEXT, the payload is UTF-8 then, or BINARY.

    Attributes:
        plain: The message as one frame without extensions; made at once, as nearly every message needs it.
        size: Bytes of the payload.
    """

    __slots__ = ("opcode", "payload", "plain", "size")

    def __init__(self, opcode: int, payload: bytes) -> None:
        self.opcode = opcode
        self.payload = payload
        self.size = len(payload)
        self.plain = frames.encode(opcode, payload)
