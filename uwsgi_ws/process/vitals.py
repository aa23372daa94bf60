"""How an instance's workers are from second to second, for those who watch it: rates, memory, and whether loops run.

It reads the memory that the master shares with the workers, and asks none of them: a worker that stands still is seen
by that, and holds up nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from uwsgi_ws.process.common import Common
from uwsgi_ws.process.operations import Target
from uwsgi_ws.shared.measures import Snapshot
from uwsgi_ws.shared.status import WorkerStatus

__all__ = ["Vitals"]

#: Seconds without a beat, of one a second, from which on a worker's event loop is called stuck.
_STUCK = 2.5
#: Samples that are kept: five minutes.
_KEPT = 300
#: How families of counts make up the number of open WebSockets.
_SIGNS = {"opened": 1, "ended": -1}
#: What is told per second, and the counters that it is made of.
_RATES = {
    "received": ("texts_received", "binaries_received"),
    "sent": ("texts_sent", "binaries_sent"),
    "published": ("channel_messages",),
    "delivered": ("channel_deliveries",),
}


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a process has told at a beat, and its rates since the one before."""

    status: WorkerStatus
    snapshot: Snapshot
    rates: dict[str, float]


class Vitals:
    """Samples, a second apart or more.

    Args:
        common: What workers tell.

    Attributes:
        samples: The last minutes: for each moment, in seconds since the epoch, the open WebSockets, messages received
            and sent per second, bytes of resident memory, and the seconds by which the latest loop was late.
    """

    def __init__(self, common: Common) -> None:
        self._common = common
        self._last: dict[tuple[int, int], _Reading] = {}  # by seat and process
        self.samples: deque[tuple[float, ...]] = deque(maxlen=_KEPT)

    def sample(self, targets: Sequence[Target]) -> list[dict[str, Any]]:
        """Take a sample; return a line for each process of a worker."""
        readings: dict[tuple[int, int], _Reading] = {}
        lines = []
        for target in sorted(targets, key=lambda each: (each.worker_id, each.pid)):
            status = self._common.scoreboard.read(target.seat)
            if status.pid != target.pid:
                status = WorkerStatus()  # it has not told yet; or its predecessor has
            place = (target.seat, target.pid)
            reading = self._last.get(place)
            if reading is None or reading.status.beat != status.beat:
                snapshot = self._common.measures.read(target.seat) if status.pid else Snapshot()
                reading = _Reading(status, snapshot, _rates(status, snapshot, reading))
            readings[place] = reading
            lines.append(_line(target, reading))
        self._last = readings
        totals = [sum(line[name] for line in lines) for name in ("websockets", "received", "sent", "memory")]
        self.samples.append((round(time.time(), 1), *totals, max([line["lag"] for line in lines], default=0.0)))
        return lines


def _line(target: Target, reading: _Reading) -> dict[str, Any]:
    """Return what there is to say of a worker's process."""
    status, snapshot, rates = reading.status, reading.snapshot, reading.rates
    silent = max(0.0, time.monotonic() - status.beat / 1e9) if status.beat else 0.0
    is_stuck = target.life == "serving" and silent > _STUCK
    return {
        "worker": target.worker_id,
        "pid": target.pid,
        "life": target.life,
        "stuck": round(silent, 1) if is_stuck else None,
        "spawns": status.spawns,
        "started_at": status.started_at,
        "clients": status.clients,
        "busyness": status.busyness,
        "requests": status.requests,
        "exceptions": status.exceptions,
        "memory": status.rss,
        "queued": snapshot.queued,
        "slow": snapshot.slow,
        "websockets": sum(number * _SIGNS.get(family, 0) for (family, *_), number in snapshot.counts.items()),
        "dropped": status.channel_drops + status.slow_dropped + status.slow_closed,
        "gaps": status.channel_gaps,
        **(dict.fromkeys(rates, 0.0) | {"lag": round(silent, 3)} if is_stuck else rates),
    }


def _rates(status: WorkerStatus, snapshot: Snapshot, before: _Reading | None) -> dict[str, float]:
    """Return by how much counters have grown in a second, and by how much the loop was late, on average.

    It is between two beats: what lies between two looks has one beat, or two, or none.
    """
    rates = dict.fromkeys((*_RATES, "lag"), 0.0)
    if before is None or not before.status.beat or status.beat <= before.status.beat:
        return rates
    passed = (status.beat - before.status.beat) / 1e9
    for name, fields in _RATES.items():
        grown = sum(getattr(status, field) - getattr(before.status, field) for field in fields)
        rates[name] = round(grown / passed, 1)
    (_, counts, total), (_, counts_before, total_before) = (
        each.histograms.get("lags", ([], [], 0.0)) for each in (snapshot, before.snapshot)
    )
    number = sum(counts) - sum(counts_before)
    if number > 0:
        rates["lag"] = round(max(0.0, total - total_before) / number, 6)
    return rates
