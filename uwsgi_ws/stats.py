"""A worker's counters. Plain numbers: whoever counts adds one, whoever asks reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time

__all__ = ["Stats"]


@dataclass(slots=True)
class Stats:
    """What a worker has done since it started.

    Attributes:
        requests: Requests begun, WebSockets included.
        exceptions: Of them, those that an application's exception ended.
        bytes_sent: Of responses, heads included, and WebSocket frames.
        busy_seconds: Sum of the requests' durations.
        websockets: WebSockets opened.
        slow_closed: WebSockets closed because they were too slow for what was broadcast to them.
        slow_dropped: Messages that slow WebSockets did not get.
    """

    requests: int = 0
    exceptions: int = 0
    bytes_sent: int = 0
    busy_seconds: float = 0.0
    websockets: int = 0
    slow_closed: int = 0
    slow_dropped: int = 0
    started_at: float = field(default_factory=time)
