"""A worker's counters. Plain numbers: whoever counts adds one, whoever asks reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time
from typing import NamedTuple

__all__ = ["Standing", "Stats"]


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
        channel_messages: Messages published on channels.
        channel_deliveries: Of channels' messages, handed to subscribers of this worker, each counted for each of them.
        channel_drops: Channels' messages that did not reach a worker or a ``Subscription`` because it was too slow, or
            whose publisher died over them; slow WebSockets are counted above.
    """

    requests: int = 0
    exceptions: int = 0
    bytes_sent: int = 0
    busy_seconds: float = 0.0
    websockets: int = 0
    slow_closed: int = 0
    slow_dropped: int = 0
    channel_messages: int = 0
    channel_deliveries: int = 0
    channel_drops: int = 0
    started_at: float = field(default_factory=time)


class Standing(NamedTuple):
    """How a worker stands: what it tells the others of itself about once a second. All are whole numbers.

    Attributes:
        worker_id: 1 to N; 0 where nobody is.
        pid: Its process.
        beat: Monotonic time in nanoseconds at which it told; its event loop ran then.
        started_at: Seconds since the epoch.
        births: Processes that this worker has been so far, itself included.
        clients: Connections it serves now.
        requests: As in ``Stats``, as are the next two.
        exceptions: See above.
        bytes_sent: See above.
        busy_us: ``Stats.busy_seconds`` in microseconds.
        websockets: As in ``Stats``.
        rss: Resident memory in bytes.
        vsz: Virtual memory in bytes.
    """

    worker_id: int = 0
    pid: int = 0
    beat: int = 0
    started_at: int = 0
    births: int = 0
    clients: int = 0
    requests: int = 0
    exceptions: int = 0
    bytes_sent: int = 0
    busy_us: int = 0
    websockets: int = 0
    rss: int = 0
    vsz: int = 0
