"""What a worker tells the other processes of itself."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["WorkerStatus"]


class WorkerStatus(NamedTuple):
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
