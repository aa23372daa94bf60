"""A worker's heartbeat: about once a second its event loop tells the others how the worker stands."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from uwsgi_ws.server.server import Server
from uwsgi_ws.shared.status import WorkerStatus, counted, memory

__all__ = ["Heartbeat"]

_INTERVAL = 1.0  # seconds


class Heartbeat:
    """Beats while the event loop runs.

    Args:
        worker_id: 1 to N.
        spawns: Processes that this worker has been, this one included.
    """

    def __init__(self, server: Server, worker_id: int, spawns: int) -> None:
        self._server = server
        self._worker_id = worker_id
        self._spawns = spawns
        self._memory = (0, 0)
        self._busyness = 0
        self._measured = (0.0, 0.0, 0.0)
        self._on_beat: list[Callable[[WorkerStatus], None]] = []
        loop: Any = server.hub.loop
        # Keeps the loop alive in a worker that accepts no client: gevent would take its wait for orders for a mistake.
        self._timer = loop.timer(_INTERVAL, _INTERVAL)

    def on_beat(self, do: Callable[[WorkerStatus], None]) -> None:
        """Have something called in the hub with each new status; it must not wait."""
        self._on_beat.append(do)

    def start(self) -> None:
        """Beat once now, and on from there."""
        self._measure()  # what came before is not asked for
        self._beat()
        self._timer.start(self._measure_and_beat)

    def status(self) -> WorkerStatus:
        """Return how the worker stands now."""
        try:
            self._memory = memory()
        except OSError:
            pass  # no descriptor is left to read it by; the beat goes on
        rss, vsz = self._memory
        return WorkerStatus(
            worker_id=self._worker_id,
            pid=os.getpid(),
            beat=time.monotonic_ns(),
            spawns=self._spawns,
            clients=len(self._server.pool),
            busyness=self._busyness,
            overload_refused=self._server.overload.refused,
            overloaded=int(self._server.overload.is_on),
            rss=rss,
            vsz=vsz,
            **counted(self._server.stats),
        )

    def _measure(self) -> int:
        """Return how busy the worker has been since the last call: what it has least of counts, in per cent.

        That is places, CPU time, or the time in which a further request may run where one does at a time. An event
        loop that waits for a call that does not yield is neither; it does not beat.
        """
        before, self._measured = self._measured, (time.monotonic(), time.process_time(), self._server.serial_seconds)
        passed, cpu, serial = (new - old for new, old in zip(self._measured, before, strict=True))
        places = len(self._server.pool) / self._server.pool.size
        return min(100, round(100 * max(places, max(cpu, serial) / max(passed, 0.001))))

    def _measure_and_beat(self) -> None:
        lag = time.monotonic() - self._measured[0] - _INTERVAL
        self._server.stats.measures.lags.observe(max(0.0, lag))
        self._busyness = self._measure()
        self._beat()

    def _beat(self) -> None:
        status = self.status()
        for do in self._on_beat:
            try:
                do(status)
            except Exception:
                # One listener fails; the others watch other things.
                self._server.hub.handle_error(do, *sys.exc_info())
