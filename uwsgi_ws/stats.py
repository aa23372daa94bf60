"""A worker's counters. They are plain numbers: what counts adds one, what asks reads them."""

from __future__ import annotations

from time import monotonic, time

__all__ = ["Stats"]


class Stats:
    """What a worker has done since it started.

    ``shared.status`` says what each number is. ``busy_seconds`` sums up the requests' durations; ``started_at`` is in
    seconds since the epoch.
    """

    __slots__ = (
        "busy_seconds",
        "bytes_sent",
        "channel_deliveries",
        "channel_drops",
        "channel_gaps",
        "channel_messages",
        "exceptions",
        "requests",
        "slow_closed",
        "slow_dropped",
        "started_at",
        "websockets",
    )

    def __init__(self) -> None:
        self.requests = 0
        self.exceptions = 0
        self.bytes_sent = 0
        self.busy_seconds = 0.0
        self.websockets = 0
        self.slow_closed = 0
        self.slow_dropped = 0
        self.channel_messages = 0
        self.channel_deliveries = 0
        self.channel_drops = 0
        self.channel_gaps = 0
        self.started_at = time()

    def begin(self) -> int:
        """Count a request, and return its number."""
        self.requests += 1
        return self.requests

    def end(self, began_at: float, sent: int) -> None:
        """Add what a request took that is over.

        Args:
            began_at: When it came (monotonic).
            sent: Bytes that went out for it.
        """
        self.busy_seconds += monotonic() - began_at
        self.bytes_sent += sent
