"""How fast a peer may send: messages and bytes in a second, past which its connection is closed with 1008.

Each frame counts as a message, fragments and control frames too: to take one costs as much, whatever it carries.

It stands between the stream and the connection, where bytes come in, and only on connections that have a limit:
the others never pass here.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Any

from uwsgi_ws.hub.poller import Receiver

if TYPE_CHECKING:
    from uwsgi_ws.net.base import Stream
    from uwsgi_ws.websocket.connection import Connection

__all__ = ["Bucket", "PacedStream"]

_log = logging.getLogger("uwsgi_ws.websocket")


class Bucket:
    """Holds what may be spent at once: a second's worth, filled again as time passes.

    Args:
        rate: Units in a second; 0 is no limit.
        now: The time, in seconds.
    """

    __slots__ = ("_filled_at", "_level", "_rate")

    def __init__(self, rate: int, now: float) -> None:
        self._rate = rate
        self._level = float(rate)
        self._filled_at = now

    def take(self, amount: int, now: float) -> bool:
        """Take units out; False when there are not as many."""
        if not self._rate:
            return True
        self._level = min(self._rate, self._level + (now - self._filled_at) * self._rate) - amount
        self._filled_at = now
        return self._level >= 0


class PacedStream(Receiver):
    """A stream in all but ``start_receiving``, which watches what comes.

    Args:
        stream: The carrier's.
        messages_per_second: 0 is no limit.
        bytes_per_second: 0 is no limit.

    Attributes:
        connection: What the stream belongs to, until it is closed; set before it receives.
    """

    connection: Connection | None = None

    def __init__(self, stream: Stream, messages_per_second: int, bytes_per_second: int) -> None:
        self._stream = stream
        now = monotonic()
        self._messages = Bucket(messages_per_second, now)
        self._bytes = Bucket(bytes_per_second, now)
        self._handed = 0  # messages that went past the engine
        self._counted = 0
        self._receiver: Receiver | None = None

    @property
    def is_plain(self) -> bool:
        """See Stream."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def start_receiving(self, receiver: Receiver) -> None:
        """See Stream."""
        self._receiver = receiver
        self._stream.start_receiving(self)

    def receive(self, data: bytes) -> None:
        """See Receiver."""
        receiver = self._receiver
        assert receiver is not None, "set before anything is received"
        waiter = receiver.hand_over(data) if data else None
        if waiter is None:
            receiver.receive(data)
        else:
            self._handed += 1
            waiter.switch()
        self._charge(len(data))

    def recv_now(self) -> bytes | None:
        """See Stream; what is returned is counted once the caller has taken it apart."""
        data = self._stream.recv_now()
        if data and self.connection is not None:
            self.connection._poller.hub.loop.run_callback(self._charge, len(data))
        return data

    def _charge(self, size: int) -> None:
        """Count what has come."""
        connection = self.connection
        if connection is None:
            return
        counted = connection._engine.frames_received + self._handed
        new, self._counted = counted - self._counted, counted
        now = monotonic()
        if not self._messages.take(new, now):
            self._end(connection, "too many messages")
        elif not self._bytes.take(size, now):
            self._end(connection, "too much data")

    def _end(self, connection: Connection, reason: str) -> None:
        if connection.is_open:
            _log.warning("%s: %s in a second", connection.path, reason)
            connection.close(1008, reason)

    def close(self) -> None:
        """See Stream."""
        self._stream.close()
        self.connection = self._receiver = None  # they know it, too
