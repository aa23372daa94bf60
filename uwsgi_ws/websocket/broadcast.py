"""One message to many connections: encoded once, and written by the end of the loop's turn without waiting."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from uwsgi_ws.channels.overflow import Overflow, Slow
from uwsgi_ws.hub.hub_calls import in_hub
from uwsgi_ws.protocol.websocket.frames import TEXT
from uwsgi_ws.protocol.websocket.messages import Sendable, as_message
from uwsgi_ws.protocol.websocket.prepared import Prepared
from uwsgi_ws.stats import TIMED_FROM
from uwsgi_ws.websocket.connection import Connection

__all__ = ["broadcast"]


def broadcast(
    connections: Iterable[Connection],
    message: Sendable,
    *,
    exclude: Connection | None = None,
    slow: Slow = "close",
    compress: bool = True,
) -> int:
    """Send a message to many connections of this worker, and return at once.

    Each connection gets its messages in the order in which they were sent and broadcast. A slow client delays nobody:
    up to ``--websockets-max-outbox`` wait for it; past that ``slow`` decides.

    Args:
        connections: Those that are not open any more are passed over.
        message: ``str`` as text, anything bytes-like as binary.
        exclude: One that does not get it, such as the sender.
        slow: ``close`` the slow client's connection with 1008, ``drop`` this message, or ``conflate``: drop those
            that wait, so that the newest takes their place.
        compress: As in ``Connection.send``; it is compressed once for all that take it.

    Returns:
        How many connections took it.

    Raises:
        TypeError: the message is neither, or one of ``connections`` is something else; nothing was sent.
        ValueError: no such ``slow``; nothing was sent.
    """
    overflow = Overflow(slow)
    prepared = Prepared(*as_message(message), may_compress=compress)
    # A list, as the caller's set may change meanwhile: slow clients are closed, and others come and go in threads.
    return in_hub(_offer, list(connections), exclude, prepared, overflow)


def _offer(connections: list[Connection], exclude: Connection | None, prepared: Prepared, overflow: Overflow) -> int:
    taken = 0
    for each in connections:
        if not isinstance(each, Connection):
            raise TypeError(f"a broadcast goes to connections, not {type(each).__name__}")
    if not connections:
        return 0
    is_timed = len(connections) >= TIMED_FROM
    began_at = monotonic() if is_timed else 0.0
    for connection in connections:
        if connection is not exclude:
            taken += connection.offer(prepared, overflow)
    stats = connections[0]._stats
    stats.count_broadcast(prepared.opcode == TEXT, taken, prepared.size)
    if is_timed:
        stats.measures.broadcasts.observe(monotonic() - began_at)
    return taken
