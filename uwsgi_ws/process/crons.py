"""Commands that the master runs at times of the day: ``--cron`` and its relatives.

A command that runs is left alone when the instance stops or reloads, as in uWSGI: it may be half-way through a backup.

Source: uWSGI 2.0.31, core/cron.c.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from time import monotonic, time

from uwsgi_ws.crontab import LEAST_PAUSE, Minutes
from uwsgi_ws.log import say
from uwsgi_ws.options import CronSpec, Options
from uwsgi_ws.process.children import cause
from uwsgi_ws.process.hooks import spawn

__all__ = ["Crons"]

#: Processes of one command: further runs are left out, else one that never ends would fill the machine.
_MOST_RUNNING = 64


@dataclass(slots=True, eq=False)
class _Running:
    """A process: when it was started, and when it is killed."""

    started_at: float
    kill_at: float | None


@dataclass(slots=True, eq=False)
class _Cron:
    spec: CronSpec
    running: dict[int, _Running] = field(default_factory=dict)
    not_before: float = 0.0


class Crons:
    """All commands that have times: a ``ChildKind``.

    Args:
        options: They say which.
    """

    live = False  # the instance waits for none

    def __init__(self, options: Options) -> None:
        self._crons = [_Cron(spec) for spec in options.crons]
        self._harakiri = options.cron_harakiri
        self._minutes = Minutes()
        self._is_stopping = False

    @property
    def due(self) -> list[float]:
        """When there is something to do, beside the look at the clock, which the master's loop leads to anyway."""
        return [run.kill_at for cron in self._crons for run in cron.running.values() if run.kill_at is not None]

    def look(self) -> None:
        """Run what is due, and kill what takes too long."""
        if not self._crons:
            return
        now = monotonic()
        for cron in self._crons:
            for pid, run in cron.running.items():
                if run.kill_at is not None and run.kill_at <= now:
                    run.kill_at = None
                    say(f'*** HARAKIRI ON CRON "{cron.spec.command}" (pid: {pid}) ***')
                    _kill(pid)
        if self._is_stopping:
            return
        minutes = self._minutes.passed(time(), now)
        for cron in self._crons if minutes else ():
            if cron.not_before <= now and any(cron.spec.time.matches(minute) for minute in minutes):
                self._run(cron, now)

    def _run(self, cron: _Cron, now: float) -> None:
        if len(cron.running) >= (1 if cron.spec.unique else _MOST_RUNNING):
            if not cron.spec.unique:
                say(f"[uwsgi-cron] {cron.spec.command!r} runs {_MOST_RUNNING} times already, and is left out")
            return
        cron.not_before = now + LEAST_PAUSE
        try:
            pid = spawn(cron.spec.command)
        except OSError as exc:
            say(f"*** cannot run {cron.spec.command!r}: {exc.strerror} ***")
            return
        harakiri = self._harakiri if cron.spec.harakiri is None else cron.spec.harakiri
        cron.running[pid] = _Running(now, now + harakiri if harakiri else None)
        say(f'[uwsgi-cron] running "{cron.spec.command}" (pid {pid})')

    def exited(self, pid: int, status: int) -> bool:
        """Say whether a process that has exited was one of them, and take note of it."""
        for cron in self._crons:
            run = cron.running.pop(pid, None)
            if run is not None:
                took = monotonic() - run.started_at
                say(
                    f'[uwsgi-cron] command "{cron.spec.command}" running with pid {pid} exited after {took:.0f} '
                    f"second(s), {cause(status)}"
                )
                return True
        return False

    def renew(self) -> None:
        """Nothing: the next run is of the code that is there then."""

    def stop(self) -> None:
        """Run nothing any more."""
        self._is_stopping = True


def _kill(pid: int) -> None:
    """Kill a process with those that it has started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # its end is noticed elsewhere
