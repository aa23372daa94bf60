"""Finds workers whose event loop does not run: something in them does not yield, and all their clients wait."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from time import monotonic

from uwsgi_ws.log import say
from uwsgi_ws.options import Options
from uwsgi_ws.process.generations import Life, WorkerProcess
from uwsgi_ws.process.signals import REPORT
from uwsgi_ws.shared.scoreboard import Scoreboard

__all__ = ["Watchdog"]

_BEAT = 1.0  # seconds between two of a healthy worker
#: Seconds between two looks; when there were more, the master was held up, or the whole machine.
_HELD_UP = 3.0


class Watchdog:
    """Looks at the workers' heartbeats; in the master, about once a second.

    Args:
        options: They hold the limits.
        scoreboard: Where the beats are.
    """

    def __init__(self, options: Options, scoreboard: Scoreboard) -> None:
        self._options = options
        self._scoreboard = scoreboard
        self._looked_at = monotonic()
        self._trust_from = 0.0

    def look(self, workers: Iterable[WorkerProcess]) -> None:
        """Have those that are stuck log their Python stack; kill them when it lasts longer than ``--harakiri``."""
        now = monotonic()
        if now - self._looked_at > _HELD_UP:
            self._trust_from = now + 2 * _BEAT  # the workers get the time to beat again
        self._looked_at = now
        if now < self._trust_from:
            return
        for worker in workers:
            if worker.life in (Life.SERVING, Life.RESTING):
                self._look_at(worker, now)

    def _look_at(self, worker: WorkerProcess, now: float) -> None:
        status = self._scoreboard.read(worker.order.seat)
        beat = status.beat / 1e9
        silence = now - beat - _BEAT
        if not beat:
            return
        rss, space = status.rss >> 20, status.vsz >> 20
        if 0 < self._options.evil_reload_on_rss <= rss or 0 < self._options.evil_reload_on_as <= space:
            say(f"*** {worker} holds {rss} MiB of memory, {space} MiB of address space, it is killed ***")
            os.kill(worker.pid, signal.SIGKILL)
            return
        if 0 < self._options.harakiri < silence:
            say(f"*** HARAKIRI: {worker} has not run its event loop for {silence:.0f} seconds, it is killed ***")
            os.kill(worker.pid, signal.SIGKILL)
        elif 0 < self._options.stuck_report < silence and worker.reported_beat != beat:
            worker.reported_beat = beat
            say(f"{worker} has not run its event loop for {silence:.0f} seconds; this is what it does:")
            os.kill(worker.pid, REPORT)
