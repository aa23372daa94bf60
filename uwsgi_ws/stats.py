"""A worker's counters. Plain numbers: whoever counts adds one, whoever asks reads."""

from __future__ import annotations

from time import monotonic, time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from uwsgi_ws.fronts.base import Request

__all__ = ["Standing", "Stats"]


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
        started_at: Seconds since the epoch.
    """

    __slots__ = (
        "busy_seconds",
        "bytes_sent",
        "channel_deliveries",
        "channel_drops",
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
        self.started_at = time()

    def begin(self, request: Request) -> None:
        """Count a request, and number it."""
        self.requests += 1
        request.request_id = self.requests

    def end(self, request: Request) -> None:
        """Add what a request took that is over."""
        self.busy_seconds += monotonic() - request.began_at
        self.bytes_sent += request.header_bytes + request.body_bytes
        if request.websocket is not None:
            self.bytes_sent += request.websocket.bytes_sent


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
