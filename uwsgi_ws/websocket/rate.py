"""How fast a peer may send: messages and bytes in a second, past which its connection is closed with 1008.

Each frame counts as a message, fragments and control frames too: to take one costs as much, whatever it carries.

The limit stands between the stream and the connection, where bytes come in, and only on connections that have one:
bytes of the others never pass here.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any, Protocol

from uwsgi_ws.hub.poller import Receiver
from uwsgi_ws.protocol.bucket import TokenBucket
from uwsgi_ws.protocol.websocket.frames import CloseCode

__all__ = ["RateLimit"]

_log = logging.getLogger("uwsgi_ws.websocket")


class Limited(Protocol):
    """A connection, as its limit sees it."""

    path: str

    @property
    def frames_received(self) -> int:
        """Frames that its engine has counted."""

    @property
    def is_open(self) -> bool:
        """Whether it is worth closing."""

    def take_if_simple(self, data: bytes) -> Any:
        """As ``Receiver``."""

    def receive(self, data: bytes) -> None:
        """As ``Receiver``."""

    def close(self, code: int | None, reason: str) -> None:
        """Begin the closing handshake."""


class RateLimit(Receiver):
    """Receives the stream's bytes for a connection, hands them on, and counts what has come.

    Args:
        connection: It refers to its limit, and must drop it when it ends.
        messages_per_second: 0 is no limit.
        bytes_per_second: 0 is no limit.
    """

    __slots__ = ("_bytes", "_connection", "_counted", "_handed", "_messages")

    def __init__(self, connection: Limited, messages_per_second: int, bytes_per_second: int) -> None:
        self._connection = connection
        now = monotonic()
        self._messages = _bucket(messages_per_second, now)
        self._bytes = _bucket(bytes_per_second, now)
        self._handed = 0  # messages that went past the engine
        self._counted = 0

    def receive(self, data: bytes) -> None:
        """Hand bytes on, then count them; close the connection if they were too many."""
        connection = self._connection
        waiter = connection.take_if_simple(data) if data else None
        if waiter is None:
            connection.receive(data)
        else:
            self._handed += 1
            waiter.switch()
        counted = connection.frames_received + self._handed
        new, self._counted = counted - self._counted, counted
        now = monotonic()
        if self._messages is not None and not self._messages.spend(new, now):
            self._end("too many messages")
        elif self._bytes is not None and not self._bytes.spend(len(data), now):
            self._end("too much data")

    def _end(self, reason: str) -> None:
        connection = self._connection
        if connection.is_open:
            _log.warning("%s: %s in a second", connection.path, reason)
            connection.close(CloseCode.POLICY_VIOLATION, reason)


def _bucket(rate: int, now: float) -> TokenBucket | None:
    """Return a bucket that a second's worth may be taken from at once; None without a limit."""
    return TokenBucket(rate, rate, now) if rate else None
