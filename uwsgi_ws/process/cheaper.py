"""How many workers there should be with ``--cheaper``, and when there need be none.

Pure: it is told how they stand, and when.

A worker of uWSGI's is busy or it is not. One of ours holds many connections, most of them silent, and so it tells how
busy it is in per cent (``busyness``). The algorithms are uWSGI's with this number: a worker is busy when it is past
``--cheaper-busyness-max``.

No worker comes and goes all the time: one is put away only when the others could serve what all serve now and stay well
below the number at which one more would come.

Source: uWSGI's Cheaper page, core/master_checks.c, core/cheaper.c, plugins/cheaper_busyness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from uwsgi_ws.options import Options
from uwsgi_ws.shared.status import WorkerStatus

__all__ = ["Cheaper", "Decision", "Idleness", "View"]

#: Nanoseconds after which a worker's event loop, which tells once a second, does not run: something does not yield.
_STUCK = 2_500_000_000


class Decision(NamedTuple):
    """What to do.

    Attributes:
        change: Workers to add; less than 0 puts so many away.
        why: For the log; empty for nothing to say.
    """

    change: int = 0
    why: str = ""


_NOTHING = Decision()


@dataclass(frozen=True, slots=True)
class View:
    """What the master sees, about once a second.

    Args:
        now: Monotonic seconds.
        serving: The workers that accept clients.
        resting: Those that accept none any more, and wait for theirs to leave.
        coming: How many are about to serve.
        wanted: How many shall serve: besides those that do and those that come there are those that die at once, and
            are started again after a pause.
        backlog: Clients that wait to be accepted.
    """

    now: float
    serving: Sequence[WorkerStatus]
    resting: Sequence[WorkerStatus] = ()
    coming: int = 0
    wanted: int = 0
    backlog: int = 0

    def busyness(self) -> list[int]:
        """Return the busyness of each worker that serves."""
        return [self._of(status) for status in self.serving]

    def total(self) -> int:
        """Return the busyness of all workers: clients of those that rest come back to the others."""
        return sum(self._of(status) for status in (*self.serving, *self.resting))

    def _of(self, status: WorkerStatus) -> int:
        return 100 if self.now * 1e9 - status.beat > _STUCK else status.busyness


class Cheaper:
    """Decides; asked about once a second while neither a reload nor a pause goes on.

    Args:
        options: Checked already.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._algorithm: _Algorithm = _ALGORITHMS[options.cheaper_algo](options)
        self._asked = 0

    def ask(self, change: int) -> None:
        """Have a worker more or fewer at the next look, whatever the algorithm says."""
        self._asked += change

    def look(self, view: View) -> Decision:
        """Return what to do; the bounds are kept."""
        options = self._options
        asked, self._asked = self._asked, 0
        memory = sum(status.rss for status in (*view.serving, *view.resting))
        if 0 < options.cheaper_rss_limit_hard <= memory and not view.resting:
            wish = Decision(-1, f"the workers hold {memory >> 20} MiB (--cheaper-rss-limit-hard)")
        elif asked:
            wish = Decision(asked, f"{abs(asked)} {'more' if asked > 0 else 'fewer'} asked for by --master-fifo")
        elif view.coming or not view.serving:
            return _NOTHING  # what those do that come is seen first
        else:
            wish = self._algorithm.look(view)
        if not wish.change:
            return wish
        if 0 < options.cheaper_rss_limit_soft <= memory and wish.change > 0:
            return _NOTHING
        change = min(wish.change, options.processes - view.wanted)
        change = max(change, options.cheaper - min(view.wanted, len(view.serving))) if wish.change < 0 else change
        return Decision(change, wish.why) if change * wish.change > 0 else _NOTHING


class _Algorithm(Protocol):
    def __init__(self, options: Options) -> None: ...

    def look(self, view: View) -> Decision:
        """Return what to do; bounds are the caller's."""


def _is_enough_with_one_less(view: View, options: Options) -> bool:
    middle = (options.cheaper_busyness_max + options.cheaper_busyness_min) / 2
    return len(view.serving) > options.cheaper and view.total() <= middle * (len(view.serving) - 1)


class _Spare:
    """More workers when all are busy look after look; fewer when that many looks have found too many."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._overloaded = 0
        self._calm = 0

    def look(self, view: View) -> Decision:
        options = self._options
        if all(busyness > options.cheaper_busyness_max for busyness in view.busyness()):
            self._overloaded += 1
        else:
            self._overloaded = max(0, self._overloaded - 1)
        if self._overloaded > options.cheaper_overload:
            self._overloaded = 0
            return Decision(options.cheaper_step, "all workers are busy")
        self._calm = self._calm + 1 if not self._overloaded and _is_enough_with_one_less(view, options) else 0
        if self._calm > options.cheaper_overload:
            self._calm = 0
            return Decision(-1, "the workers are idle")
        return _NOTHING


class _Spare2:
    """Always as many idle workers as ``--cheaper`` says; more at once, fewer after a while."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._calm = 0

    def look(self, view: View) -> Decision:
        options = self._options
        idle = sum(busyness <= options.cheaper_busyness_max for busyness in view.busyness())
        if idle < options.cheaper:
            self._calm = 0
            return Decision(min(options.cheaper_step, options.cheaper - idle), f"only {idle} workers are idle")
        self._calm = self._calm + 1 if idle > options.cheaper and _is_enough_with_one_less(view, options) else 0
        if self._calm > options.cheaper_overload:
            self._calm = 0
            return Decision(-1, f"{idle} workers are idle")
        return _NOTHING


class _Backlog:
    """More workers when more than ``--cheaper-overload`` clients wait; fewer after the multiplier's looks without."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._calm = 0

    def look(self, view: View) -> Decision:
        options = self._options
        if view.backlog > options.cheaper_overload:
            self._calm = 0
            return Decision(options.cheaper_step, f"{view.backlog} clients wait to be accepted")
        self._calm = self._calm + 1 if _is_enough_with_one_less(view, options) else 0
        if self._calm > options.cheaper_busyness_multiplier:
            self._calm = 0
            return Decision(-1, "the workers are idle")
        return _NOTHING


class _Busyness:
    """By the mean busyness in windows of ``--cheaper-overload`` seconds, and by clients that wait.

    A worker is put away after as many idle windows as the multiplier says. One that has to come back before as many
    have passed again makes the multiplier larger by the penalty, until a worker has stayed away for so long.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._ends_at: float | None = None
        self._means: list[float] = []
        self._multiplier = options.cheaper_busyness_multiplier
        self._idle_windows = 0
        self._windows_since_fewer: int | None = None
        self._emergency = 0  # workers that came because clients waited
        self._quiet_windows = 0
        self._waiting_since: float | None = None

    def look(self, view: View) -> Decision:
        options = self._options
        if self._ends_at is None:
            self._ends_at = view.now + options.cheaper_overload
        self._means.append(sum(view.busyness()) / len(view.serving))
        if why := self._emergency_of(view):
            self._emergency += options.cheaper_busyness_backlog_step
            self._quiet_windows = self._idle_windows = 0
            return Decision(options.cheaper_busyness_backlog_step, why)
        if view.now < self._ends_at:
            return _NOTHING
        self._ends_at = view.now + options.cheaper_overload
        mean = sum(self._means) / len(self._means)
        self._means.clear()
        return self._end_window(view, mean)

    def _emergency_of(self, view: View) -> str:
        """Return why a worker must come at once; empty if none must."""
        if not view.backlog or view.wanted >= self._options.processes:
            self._waiting_since = None
            return ""
        if self._waiting_since is None:
            self._waiting_since = view.now
        if view.backlog > self._options.cheaper_busyness_backlog_alert:
            return f"{view.backlog} clients wait to be accepted"
        if view.now - self._waiting_since >= self._options.cheaper_busyness_backlog_nonzero:
            waited, self._waiting_since = view.now - self._waiting_since, view.now
            return f"clients have waited to be accepted for {waited:.0f} seconds"
        return ""

    def _end_window(self, view: View, mean: float) -> Decision:
        options = self._options
        said = f"the workers' mean busyness is {mean:.0f} %"
        if self._windows_since_fewer is not None:
            self._windows_since_fewer += 1
            if self._windows_since_fewer > self._multiplier:
                self._windows_since_fewer = None
                self._multiplier = options.cheaper_busyness_multiplier
        if mean > options.cheaper_busyness_max:
            self._idle_windows = self._quiet_windows = 0
            if self._windows_since_fewer is not None:
                self._windows_since_fewer = None
                self._multiplier += options.cheaper_busyness_penalty
            return Decision(options.cheaper_step, said)
        is_enough = _is_enough_with_one_less(view, options)
        self._idle_windows = self._idle_windows + 1 if mean < options.cheaper_busyness_min and is_enough else 0
        self._quiet_windows = self._quiet_windows + 1 if is_enough and not view.backlog else 0
        if self._emergency and self._quiet_windows >= options.cheaper_busyness_backlog_multiplier:
            self._emergency -= 1
            self._quiet_windows = 0
            return Decision(-1, "nobody waits to be accepted any more")
        if self._idle_windows >= self._multiplier:
            self._idle_windows = self._windows_since_fewer = 0
            return Decision(-1, said)
        return Decision(0, said if options.cheaper_busyness_verbose else "")


class _Manual:
    """Only by the letters + and - of ``--master-fifo``."""

    def __init__(self, options: Options) -> None:
        pass

    def look(self, view: View) -> Decision:
        return _NOTHING


_ALGORITHMS: dict[str, type[_Algorithm]] = {
    "spare": _Spare,
    "spare2": _Spare2,
    "backlog": _Backlog,
    "busyness": _Busyness,
    "manual": _Manual,
}


class Idleness:
    """Tells when nobody has wanted anything for a while.

    Args:
        timeout: Seconds; 0 is never.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._requests = 0
        self._since = 0.0

    def look(self, now: float, statuses: Sequence[WorkerStatus], coming: int) -> bool:
        """Return whether there has been no client for the timeout.

        Args:
            now: Monotonic seconds.
            statuses: How the workers stand; none if all have been ended.
            coming: How many are about to serve.
        """
        requests = sum(status.requests for status in statuses)
        has_clients = any(status.clients for status in statuses)
        if not statuses or coming or has_clients or requests != self._requests:
            self._requests, self._since = requests, now
        return 0 < self._timeout <= now - self._since
