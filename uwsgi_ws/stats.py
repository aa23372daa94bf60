"""A worker's counters. They are plain numbers: what counts adds one, what asks reads them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from time import monotonic, time
from typing import Any

__all__ = ["BROADCASTS", "DURATIONS", "LAGS", "SESSIONS", "TIMED_FROM", "Histogram", "Measures", "Stats"]

#: Upper bounds of the buckets, in seconds: of requests and round trips, of WebSockets, of the event loop's lag, and of
#: broadcasts.
DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SESSIONS = (1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0)
LAGS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BROADCASTS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

#: Mount points that WebSockets are counted by, and characters of each; more of them would not be of use to anybody.
_MOST_ROUTES, _LONGEST_ROUTE = 50, 64
#: Connections from which on a broadcast is timed: the clock costs as much as a message to one or two.
TIMED_FROM = 16

#: Close codes that have a number of their own where they are counted; a peer may invent others.
_CODES = frozenset(range(1000, 1016))
#: What a refused opening handshake is counted as, by the status of the answer.
_REFUSALS = {
    400: "malformed",
    403: "origin",
    405: "method",
    426: "version",
    429: "too_many_from_address",
    503: "too_many",
}


class Histogram:
    """How many numbers there were up to each bound.

    Args:
        bounds: Of the buckets, in their order; one more bucket is for what is beyond.

    Attributes:
        counts: How many in each bucket alone.
        total: The sum of all.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, number: float) -> None:
        """Take note of a number."""
        self.counts[bisect_left(self.bounds, number)] += 1
        self.total += number


class Measures:
    """What a worker counts by labels, and its histograms. ``shared.measures`` says what each is.

    Attributes:
        counts: By the family's name and its labels' values. Whoever counts sees to it that these are few.
        routes: The mount points, which are the routes that WebSockets are counted by. See ``know``.
        outboxes: Those in which something waits for a slow peer.
    """

    __slots__ = (
        "_labels",
        "_mounts",
        "broadcasts",
        "counts",
        "lags",
        "outboxes",
        "pings",
        "requests",
        "routes",
        "sessions",
    )

    def __init__(self) -> None:
        self.counts: dict[tuple[str, ...], int] = {}
        self.requests = Histogram(DURATIONS)
        self.sessions = Histogram(SESSIONS)
        self.pings = Histogram(DURATIONS)
        self.broadcasts = Histogram(BROADCASTS)
        self.lags = Histogram(LAGS)
        self.routes: frozenset[str] = frozenset()
        self._mounts = self.routes
        self.outboxes: set[Any] = set()
        self._labels: dict[tuple[str, str], tuple[str, str]] = {}

    def know(self, mounts: Iterable[str]) -> None:
        """Count WebSockets by these mount points, as far as there is room; the others are the route ``other``."""
        self._mounts = frozenset(mounts)
        short = sorted(mount for mount in self._mounts if len(mount) <= _LONGEST_ROUTE)
        self.routes = frozenset(short[:_MOST_ROUTES])

    def count(self, family: str, *labels: str) -> None:
        """Count one more."""
        key = (family, *labels)
        self.counts[key] = self.counts.get(key, 0) + 1

    def opened(self, carrier: str, script_name: object) -> tuple[str, str]:
        """Count a WebSocket that opens, and return its labels.

        Args:
            carrier: What it came by.
            script_name: SCRIPT_NAME as it is in the environ; a client can set it, so only a mount point counts.
        """
        route = script_name if isinstance(script_name, str) and script_name in self._mounts else ""
        if route and route not in self.routes:
            route = "other"
        label = (carrier, str(route) or "/")
        label = self._labels.setdefault(label, label)  # one object for all
        self.count("opened", *label)
        return label

    def ended(self, label: tuple[str, str], code: object, took: float) -> None:
        """Count a WebSocket that has ended, or is about to.

        Args:
            label: What ``opened`` has returned.
            code: Its close code; anything else where only the application knows it.
            took: Seconds since its request came.
        """
        self.count("ended", *label)
        self.sessions.observe(took)
        if not isinstance(code, int):
            name = "1006" if code is None else "unknown"
        elif code in _CODES:
            name = str(int(code))
        else:
            name = f"{code // 1000}xxx" if 3000 <= code < 5000 else "other"
        self.count("closes", name)

    def refused(self, status: int) -> None:
        """Count an opening handshake that the server has refused."""
        self.count("refusals", _REFUSALS.get(status, "other"))


class Stats:
    """What a worker has done since it started.

    ``shared.status`` says what each number is. ``busy_seconds`` sums up the requests' durations; ``started_at`` is in
    seconds since the epoch. ``measures`` holds what is more than one number.
    """

    __slots__ = (
        "binaries_received",
        "binaries_sent",
        "busy_seconds",
        "bytes_sent",
        "channel_deliveries",
        "channel_drops",
        "channel_gaps",
        "channel_messages",
        "exceptions",
        "measures",
        "requests",
        "slow_closed",
        "slow_dropped",
        "started_at",
        "texts_received",
        "texts_sent",
        "websocket_bytes_received",
        "websocket_bytes_sent",
        "websockets",
    )

    def __init__(self) -> None:
        self.requests = 0
        self.exceptions = 0
        self.bytes_sent = 0
        self.busy_seconds = 0.0
        self.websockets = 0
        self.texts_received = 0
        self.binaries_received = 0
        self.texts_sent = 0
        self.binaries_sent = 0
        self.websocket_bytes_received = 0
        self.websocket_bytes_sent = 0
        self.slow_closed = 0
        self.slow_dropped = 0
        self.channel_messages = 0
        self.channel_deliveries = 0
        self.channel_drops = 0
        self.channel_gaps = 0
        self.started_at = time()
        self.measures = Measures()

    def begin(self) -> int:
        """Count a request, and return its number."""
        self.requests += 1
        return self.requests

    def end(self, began_at: float, sent: int, websocket: Any = None) -> None:
        """Add what a request took that is over.

        Args:
            began_at: When it came (monotonic).
            sent: Bytes that went out for it.
            websocket: What it became; None when it stayed a request.
        """
        took = monotonic() - began_at
        self.busy_seconds += took
        self.bytes_sent += sent
        if websocket is None:
            self.measures.requests.observe(took)
        else:
            self.measures.ended(websocket.label, websocket.close_code, took)

    def count_broadcast(self, is_text: bool, taken: int, size: int) -> None:
        """Count a message that so many connections have taken, of so many bytes each."""
        if is_text:
            self.texts_sent += taken
        else:
            self.binaries_sent += taken
        self.websocket_bytes_sent += taken * size
