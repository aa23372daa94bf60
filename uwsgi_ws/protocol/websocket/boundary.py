"""Where one frame ends and the next begins, in bytes that are passed on unread (RFC 6455 5.2).

Between two frames something may be said that neither end expects, such as a close frame; in the middle of one it would
be taken for payload. So a middleman that passes frames on, and may want to send one of its own, keeps count. It judges
nothing: what is wrong with a frame is for its receiver to say.
"""

from __future__ import annotations

from uwsgi_ws.protocol.websocket.frames import CLOSE, MASKED

__all__ = ["FrameBoundary"]

#: Bytes of length behind the first two of a header, by the seven bits that tell.
_LONGER = {126: 2, 127: 8}
_LONGEST_BEFORE_KEY = 10


class FrameBoundary:
    """Follows one direction of a WebSocket, from the first byte behind the handshake.

    Attributes:
        has_close: A close frame has begun: its sender says no more.
    """

    __slots__ = ("_head", "_left", "has_close")

    def __init__(self) -> None:
        self._head = b""  # of a header, what is there, as long as that does not tell the frame's length
        self._left = 0  # bytes to come of the frame whose length is known
        self.has_close = False

    @property
    def is_here(self) -> bool:
        """Whether the bytes so far end where a frame does."""
        return not self._left and not self._head

    def follow(self, data: bytes) -> None:
        """Take note of bytes that are passed on."""
        at = 0
        while at < len(data):
            at = self.follow_frame(data, at)

    def follow_frame(self, data: bytes, start: int = 0) -> int:
        """Take note of ``data[start:]`` up to the end of the first frame in it; return where that is.

        It is ``len(data)`` as well when the frame goes on behind; then ``is_here`` is False.
        """
        if not self._left:
            begin = start - len(self._head)  # where the frame begins: before data[0] if its header came in pieces
            head = self._head + data[start : begin + _LONGEST_BEFORE_KEY]
            if len(head) < 2 or len(head) < 2 + _LONGER.get(head[1] & ~MASKED, 0):
                self._head = head
                return len(data)
            second = head[1]
            length = second & ~MASKED
            size = 2
            if length in _LONGER:
                size += _LONGER[length]
                length = int.from_bytes(head[2:size], "big")
            self._head = b""
            self._left = size + length + (4 if second & MASKED else 0)
            self.has_close = self.has_close or head[0] & 0x0F == CLOSE
            start = begin
        end = start + self._left
        if end <= len(data):
            self._left = 0
            return end
        self._left = end - len(data)
        return len(data)
