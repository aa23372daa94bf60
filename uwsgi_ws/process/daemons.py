"""Programs that live as long as the instance: ``--attach-daemon`` and its relatives; they are the master's children.

A daemon that ends is started again, later each time when it ends soon. One with a pidfile goes to the background
itself: its command ends at once, and the file tells whether it lives. When the instance stops, those without a pidfile
end with it, and after a reload they are started anew, as uWSGI's are.

Source: uWSGI's core/daemons.c and its documentation's page on attaching daemons.
"""

from __future__ import annotations

import math
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from uwsgi_ws.log import say
from uwsgi_ws.options import DaemonSpec, Options
from uwsgi_ws.process.children import RestartBackoff, cause
from uwsgi_ws.process.hooks import spawn

__all__ = ["Daemons"]

#: A daemon that lives shorter than this, in seconds, has not started well.
_MIN_UPTIME = 10.0
#: Seconds before the next start of one that has not.
_DELAYS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
_SHORTEST_PAUSE = 1.0  # between two looks at a pidfile
#: Seconds that a daemon has to exit.
_STOP_TIMEOUT = 10.0


@dataclass(slots=True, eq=False)
class _Daemon:
    """One program, and its process.

    Attributes:
        spec: What is to be run.
        pid: Its process; of one with a pidfile, the command that starts it. 0 for none.
        kill_at: When it is killed if it has not ended.
        next_at: When it is started again, or its pidfile looked at.
        backoff: Of its early ends.
        started_at: When it was started last.
    """

    spec: DaemonSpec
    pid: int = 0
    kill_at: float = math.inf
    next_at: float = 0.0
    backoff: RestartBackoff = field(default_factory=lambda: RestartBackoff(_DELAYS))
    started_at: float = 0.0


class Daemons:
    """All attached daemons: a ``ChildKind``.

    Args:
        options: They say which.
    """

    def __init__(self, options: Options) -> None:
        self._daemons = [_Daemon(spec) for spec in options.daemons]
        self._is_stopping = False

    @property
    def live(self) -> bool:
        """Whether a daemon still lives that ends with the instance."""
        return any(daemon.pid and not daemon.spec.pidfile for daemon in self._daemons)

    @property
    def due(self) -> list[float]:
        """When there is something to do."""
        if self._is_stopping:
            return [daemon.kill_at for daemon in self._daemons if daemon.pid]
        return [daemon.kill_at if daemon.pid else daemon.next_at for daemon in self._daemons]

    def look(self) -> None:
        """Start daemons that should run and do not, and kill those that do not exit in time."""
        now = monotonic()
        for daemon in self._daemons:
            if daemon.pid and daemon.kill_at <= now:
                daemon.kill_at = math.inf
                _send(daemon.pid, signal.SIGKILL)
            elif not daemon.pid and not self._is_stopping and daemon.next_at <= now:
                self._start(daemon, now)

    def _start(self, daemon: _Daemon, now: float) -> None:
        spec = daemon.spec
        daemon.next_at = now + max(spec.every, _SHORTEST_PAUSE)
        if spec.pidfile and _alive(spec.pidfile):
            return
        try:
            daemon.pid = spawn(spec.command)
        except OSError as exc:
            say(f"*** cannot attach {spec.command!r}: {exc.strerror} ***")
            return
        daemon.started_at = now
        say(f"[uwsgi-daemons] spawning {spec.command!r} (pid: {daemon.pid})")

    def exited(self, pid: int, status: int) -> bool:
        """Say whether a process that has exited was a daemon, and take note of it."""
        for daemon in self._daemons:
            if daemon.pid == pid:
                daemon.pid, daemon.kill_at = 0, math.inf
                if daemon.spec.pidfile or self._is_stopping:
                    return True
                if monotonic() - daemon.started_at < _MIN_UPTIME:
                    daemon.backoff.fail()
                    daemon.next_at = daemon.backoff.next_at
                else:
                    daemon.backoff.succeed()
                    daemon.next_at = monotonic()
                what = f"{daemon.spec.command!r} (pid: {pid}) has ended, {cause(status)}"
                say(f"[uwsgi-daemons] {what}; it is started again")
                return True
        return False

    def renew(self) -> None:
        """Restart the daemons whose code may have changed."""
        for daemon in self._daemons:
            if daemon.pid and not daemon.spec.pidfile:
                daemon.kill_at = monotonic() + _STOP_TIMEOUT
                daemon.backoff.succeed()
                daemon.started_at = -_MIN_UPTIME  # its end is no failure
                _send(daemon.pid, daemon.spec.reload_signal)

    def stop(self) -> None:
        """Tell all daemons to exit, and start none any more; a second call changes nothing."""
        if self._is_stopping:
            return
        self._is_stopping = True
        for daemon in self._daemons:
            if daemon.pid and not daemon.spec.pidfile:
                daemon.kill_at = monotonic() + _STOP_TIMEOUT
                _send(daemon.pid, daemon.spec.stop_signal)
            elif daemon.spec.ends_with_us and (pid := _alive(daemon.spec.pidfile)):
                _send(pid, daemon.spec.stop_signal)


def _alive(pidfile: str) -> int:
    """Return the id of the living process that a pidfile names; 0 for none."""
    try:
        pid = int(Path(pidfile).read_text())
        if pid <= 1:  # to the kernel, all processes, a group, or the one that must not end
            return 0
        os.kill(pid, 0)
    except PermissionError:
        return pid
    except (OSError, ValueError):
        return 0
    return pid


def _send(pid: int, number: int) -> None:
    """Send a signal to a process and those it has started, as far as they are still its group."""
    for send in (os.killpg, os.kill):
        try:
            send(pid, number)
            return
        except (ProcessLookupError, PermissionError):
            pass
