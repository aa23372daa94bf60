"""A message on its way out, encoded once for each wire variant that a peer needs, however many peers get it.

A sender says *what*: an opcode and a payload. The engine of each connection knows *how* its peer takes messages, and
picks the variant (``WebSocket.frame_of``, ``WebSocket.encode``): the plain frame, or one compressed for a window of so
many bits (RFC 7692), which is made when the first engine asks for it. Compressed here, a message refers to no earlier
one, so that all peers with the same window take the same bytes.
"""

from __future__ import annotations

from uwsgi_ws.protocol.websocket import frames
from uwsgi_ws.protocol.websocket.deflate import Deflate

__all__ = ["Prepared"]


class Prepared:
    """One whole message for many peers. Immutable.

    Args:
        opcode: TEXT, the payload is UTF-8 then, or BINARY.
        may_compress: Whether peers that take compressed messages get one.

    Attributes:
        plain: The message as one frame without extensions; made at once, as nearly every message needs it.
        size: Bytes of the payload.
    """

    __slots__ = ("_compressed", "may_compress", "opcode", "payload", "plain", "size")

    def __init__(self, opcode: int, payload: bytes, may_compress: bool = True) -> None:
        self.opcode = opcode
        self.payload = payload
        self.size = len(payload)
        self.plain = frames.encode(opcode, payload)
        self.may_compress = may_compress
        self._compressed: dict[int, bytes] | None = None

    def compressed(self, deflate: Deflate) -> bytes:
        """Return the message compressed for a peer; as it is where that would not be shorter."""
        if not self.may_compress:
            return self.plain
        if self._compressed is None:
            self._compressed = {}
        frame = self._compressed.get(deflate.bits)
        if frame is None:
            payload = deflate.compress_alone(self.payload)
            frame = self.plain
            if payload is not None:
                frame = frames.encode_compressed_header(self.opcode, len(payload)) + payload
            self._compressed[deflate.bits] = frame
        if frame is not self.plain:
            deflate.forget_sent()
        return frame
