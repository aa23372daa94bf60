"""What a worker tells the other processes of itself: a row for each number, from which all that shows it derives.

Annotations are not postponed here: they are the rows, and as texts they would have to be compiled once more.
"""

import os
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple

from uwsgi_ws.stats import Stats

__all__ = ["ROWS", "Row", "WorkerStatus", "counted", "described", "in_words", "memory", "newest"]


class Row(NamedTuple):
    """A number of a worker's.

    Args:
        help: What it is, for people.
        kind: A counter only grows; a gauge goes up and down; a fact says which process it is.
        name: How uWSGI calls it, or else we; empty for the number's own name.
        stats: The attribute of ``Stats`` that it is taken from; empty for none.
        scale: What that is multiplied by, to be a whole number.
        is_shown: Whether users see it.
        metric: How ``--metrics`` calls it; empty for the field's own name.
        labels: Its labels there, where several rows are one metric, whose help is the first one's.
    """

    help: str
    kind: Literal["counter", "gauge", "fact"]
    name: str = ""
    stats: str = ""
    scale: int = 1
    is_shown: bool = True
    metric: str = ""
    labels: tuple[tuple[str, str], ...] = ()


def _messages(direction: str, kind: str) -> Row:
    """Return the row of a number of messages."""
    name = {"text": "texts", "binary": "binaries"}[kind]
    return Row(
        "Messages of WebSockets, by direction and kind.",
        "counter",
        stats=f"{name}_{direction}",
        metric="websocket_messages",
        labels=(("direction", direction), ("kind", kind)),
    )


class WorkerStatus(NamedTuple):
    """How a worker stands, about once a second. All are whole numbers."""

    worker_id: Annotated[int, Row("1 to N; 0 where there is no worker.", "fact", "id")] = 0
    pid: Annotated[int, Row("Its process.", "fact")] = 0
    beat: Annotated[
        int, Row("When it told: monotonic nanoseconds. Its event loop ran then.", "fact", is_shown=False)
    ] = 0
    started_at: Annotated[int, Row("Seconds since the epoch.", "fact", "last_spawn", "started_at")] = 0
    spawns: Annotated[int, Row("Processes that this worker has been, this one included.", "fact", "respawn_count")] = 0
    clients: Annotated[int, Row("Connections that it serves, a greenlet each.", "gauge", metric="greenlets")] = 0
    busyness: Annotated[
        int, Row("0 to 100: per cent of its places or its time in use.", "gauge", metric="busyness_percent")
    ] = 0
    requests: Annotated[int, Row("Requests begun, WebSockets included.", "counter", stats="requests")] = 0
    exceptions: Annotated[int, Row("Requests that an exception ended.", "counter", stats="exceptions")] = 0
    bytes_sent: Annotated[
        int,
        Row(
            "Bytes of responses, heads included, and of WebSocket frames.",
            "counter",
            "tx",
            "bytes_sent",
            metric="sent_bytes",
        ),
    ] = 0
    busy_us: Annotated[
        int,
        Row(
            "Time that requests took, WebSockets included.",
            "counter",
            "running_time",
            "busy_seconds",
            1_000_000,
            metric="busy_seconds",
        ),
    ] = 0
    websockets: Annotated[int, Row("WebSockets opened.", "counter", stats="websockets")] = 0
    texts_received: Annotated[int, _messages("received", "text")] = 0
    binaries_received: Annotated[int, _messages("received", "binary")] = 0
    texts_sent: Annotated[int, _messages("sent", "text")] = 0
    binaries_sent: Annotated[int, _messages("sent", "binary")] = 0
    websocket_bytes_received: Annotated[
        int,
        Row(
            "Bytes of WebSockets: all that came after the opening handshake, and the payloads sent.",
            "counter",
            stats="websocket_bytes_received",
            metric="websocket_bytes",
            labels=(("direction", "received"),),
        ),
    ] = 0
    websocket_bytes_sent: Annotated[
        int,
        Row(
            "Bytes of WebSockets: all that came after the opening handshake, and the payloads sent.",
            "counter",
            stats="websocket_bytes_sent",
            metric="websocket_bytes",
            labels=(("direction", "sent"),),
        ),
    ] = 0
    slow_closed: Annotated[
        int, Row("WebSockets closed as too slow for what was broadcast to them.", "counter", stats="slow_closed")
    ] = 0
    slow_dropped: Annotated[int, Row("Messages that slow WebSockets did not get.", "counter", stats="slow_dropped")] = 0
    channel_messages: Annotated[int, Row("Messages published on channels.", "counter", stats="channel_messages")] = 0
    channel_deliveries: Annotated[
        int, Row("Channels' messages handed to subscribers of this worker.", "counter", stats="channel_deliveries")
    ] = 0
    channel_drops: Annotated[
        int, Row("Channels' messages that a worker or a subscription did not get.", "counter", stats="channel_drops")
    ] = 0
    channel_gaps: Annotated[
        int, Row("Times that a subscriber may have missed a channel's messages.", "counter", stats="channel_gaps")
    ] = 0
    overload_refused: Annotated[
        int,
        Row(
            "Clients refused with 503, as the worker was near its bound of descriptors or memory.",
            "counter",
        ),
    ] = 0
    overloaded: Annotated[int, Row("1 while it refuses new clients so, else 0.", "gauge")] = 0
    rss: Annotated[int, Row("Resident memory in bytes.", "gauge", metric="resident_memory_bytes")] = 0
    vsz: Annotated[int, Row("Virtual memory in bytes.", "gauge", metric="virtual_memory_bytes")] = 0


#: By the field's name.
ROWS: dict[str, Row] = {name: hint.__metadata__[0] for name, hint in WorkerStatus.__annotations__.items()}


def counted(stats: Stats) -> dict[str, int]:
    """Return the fields that are taken from a worker's counters."""
    return {name: int(getattr(stats, row.stats) * row.scale) for name, row in ROWS.items() if row.stats}


def described(status: WorkerStatus) -> dict[str, Any]:
    """Return a status as uWSGI describes a worker, under its names, and ours for what it does not count."""
    numbers = {row.name or field: getattr(status, field) for field, row in ROWS.items() if row.is_shown}
    return {
        **numbers,
        "delta_requests": status.requests,
        "avg_rt": status.busy_us // max(1, status.requests),
        "status": "busy" if status.clients else "idle" if status.pid else "cheap",
        "signals": 0,
        "apps": [],
    }


def in_words(status: WorkerStatus) -> str:
    """Return a status as a line of the log."""
    if not status.pid:
        return f"worker {status.worker_id}: {described(status)['status']}"
    return (
        f"worker {status.worker_id} (pid: {status.pid}): {described(status)['status']}, {status.requests} requests, "
        f"{status.clients} connections, {status.rss >> 20} MiB"
    )


def newest(statuses: Iterable[WorkerStatus]) -> list[WorkerStatus]:
    """Return one status for each worker, in their order; of one that is being replaced, its successor's."""
    found = {status.worker_id: status for status in sorted(statuses, key=lambda status: status.spawns)}
    return [found[worker_id] for worker_id in sorted(found)]


def memory() -> tuple[int, int]:
    """Return this process's resident and virtual memory in bytes.

    Raises:
        OSError: there is no descriptor left to read it by.
    """
    with open("/proc/self/statm") as statm:
        pages = statm.read().split()
    size = os.sysconf("SC_PAGE_SIZE")
    return int(pages[1]) * size, int(pages[0]) * size
