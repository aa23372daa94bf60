"""A WebSocket whose application runs in a native thread.

It is a ``Connection`` and belongs to the hub's thread like any other. Only what applications call is different: it goes
by way of the crossing, unless the hub itself calls. A receiver brings home all messages that wait, so that
the next calls find theirs without crossing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from uwsgi_ws.fronts.base import Headers, Request
from uwsgi_ws.net.crossing import in_hub
from uwsgi_ws.protocol.messages import Message
from uwsgi_ws.websocket.acceptor import Acceptor
from uwsgi_ws.websocket.connection import Connection
from uwsgi_ws.websocket.outbox import Overflow

__all__ = ["ThreadAcceptor", "ThreadConnection"]


class ThreadConnection(Connection):
    """A connection usable from any thread; see ``Connection`` for what its methods do."""

    __slots__ = ("_brought",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Bounded by what may wait in the connection: more is brought only when it is empty.
        self._brought: deque[Message] = deque()

    # Receiving

    def recv_message(self, deadline: float | None = None) -> Message | None:
        """See Connection."""
        try:
            return self._brought.popleft()
        except IndexError:
            return in_hub(self._bring, deadline)

    def recv_now(self) -> Message | None:
        """See Connection."""
        try:
            return self._brought.popleft()
        except IndexError:
            return in_hub(super().recv_now)

    def _bring(self, deadline: float | None) -> Message | None:
        message = Connection.recv_message(self, deadline)
        self._brought.extend(self.take_waiting())
        return message

    def _bring_back(self) -> None:
        brought = [self._brought.popleft() for _ in range(len(self._brought))]
        self.give_back(brought)

    def recv_streaming(self, timeout: float | None = None) -> Iterator[str | bytes]:
        """See Connection."""
        in_hub(self._bring_back)
        pieces = Connection.recv_streaming(self, timeout)
        while (piece := in_hub(next, pieces, None)) is not None:
            yield piece

    def fileno(self) -> int:
        """See Connection."""
        return in_hub(self._fileno)

    def _fileno(self) -> int:
        # From now on each message is told of, so each must be in its place.
        self._bring_back()
        return Connection.fileno(self)

    # Sending

    def send_message(self, opcode: int, payload: bytes) -> None:
        """See Connection."""
        in_hub(Connection.send_message, self, opcode, payload)

    def offer(self, frame: bytes, size: int, overflow: Overflow = Overflow.CLOSE) -> bool:
        """See Connection."""
        return in_hub(super().offer, frame, size, overflow)

    def ping(self, payload: bytes = b"") -> None:
        """See Connection."""
        in_hub(super().ping, payload)

    # Channels

    def join(self, channel: str, *, slow: str = "close") -> None:
        """See Connection."""
        in_hub(super().join, channel, slow=slow)

    def leave(self, channel: str) -> None:
        """See Connection."""
        in_hub(super().leave, channel)

    # Ending

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """See Connection."""
        in_hub(super().close, code, reason)

    def abort(self) -> None:
        """See Connection."""
        in_hub(super().abort)

    def release(self, code: int = 1000) -> None:
        """See Connection."""
        self._brought.clear()
        in_hub(super().release, code)


class ThreadAcceptor(Acceptor):
    """Makes connections that threads may use."""

    connection_class = ThreadConnection

    def accept(
        self, request: Request, headers: Headers, subprotocol: str | None, reason: str = "Switching Protocols"
    ) -> Connection:
        """See Acceptor."""
        return in_hub(super().accept, request, headers, subprotocol, reason)
