"""``uwsgi.metric_*``: numbers that all workers have together, and what the server counts itself.

The memory is made when the application is about to be loaded, so a reload begins anew, as in uWSGI. What the server
counts can be read only; of another worker it is as it was about a second ago, as in uWSGI.

Source: uWSGI 2.0.31, core/metrics.c and plugins/python/uwsgi_pymodule.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from mmap import mmap
from typing import Any

from uwsgi_ws.api.arguments import c_long, c_str
from uwsgi_ws.api.instance import Instance
from uwsgi_ws.api.uwsgi import listen_queue
from uwsgi_ws.shared.cache import OPERATIONS
from uwsgi_ws.shared.locks import SharedLocks
from uwsgi_ws.shared.metrics import MetricSpec, SharedMetrics

__all__ = ["Metrics", "is_counted"]

#: uWSGI's names for what each worker counts, by those of ``uwsgi.workers()``.
_OF_WORKER = {
    "requests": "requests",
    "delta_requests": "delta_requests",
    "failed_requests": "exceptions",
    "respawns": "respawn_count",
    "avg_response_time": "avg_rt",
    "total_tx": "tx",
    "rss_size": "rss",
    "vsz_size": "vsz",
    "running_time": "running_time",
}
#: Those of all workers together.
_TOTALS = {
    "core.total_tx": "tx",
    "core.total_rss": "rss",
    "core.total_vsz": "vsz",
    "core.total_running_time": "running_time",
    "rss_size": "rss",
    "vsz_size": "vsz",
    "worker.0.requests": "requests",
}
_WORKER = re.compile(r"worker\.([1-9][0-9]{0,3})\." f"({'|'.join(_OF_WORKER)})")
_SOCKET = re.compile(r"socket\.([0-9]{1,3})\.listen_queue")
_OTHERS = ("core.avg_response_time", "core.busy_workers", "core.idle_workers")


def is_counted(name: str) -> bool:
    """Return whether the server counts something under a name."""
    return name in _TOTALS or name in _OTHERS or bool(_WORKER.fullmatch(name) or _SOCKET.fullmatch(name))


class Metrics:
    """The instance's metrics, as this process and those forked from it have them.

    Args:
        specs: The instance's own, those that others name before them.
        locks: Makes the lock.
        instance: Tells what workers count.
        is_on: Whether there are metrics at all.
    """

    def __init__(self, specs: Iterable[MetricSpec], locks: SharedLocks, instance: Instance, *, is_on: bool) -> None:
        self._specs = {spec.name: spec for spec in specs}
        settable = [(spec.name, spec.initial) for spec in self._specs.values() if not (spec.collector or spec.alias)]
        memory = memoryview(mmap(-1, SharedMetrics.size(len(settable)))) if settable else memoryview(b"")
        self._metrics = SharedMetrics(settable, memory, locks.lock() if settable else nullcontext())
        self._instance = instance
        self._is_on = is_on

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """Those that the ``uwsgi`` module offers."""
        return (
            self.metric_get,
            self.metric_set,
            self.metric_inc,
            self.metric_dec,
            self.metric_mul,
            self.metric_div,
            self.metric_set_max,
            self.metric_set_min,
        )

    def metric_get(self, name: str, /) -> int:
        """Return a metric's number, 0 when there is none."""
        name = c_str(name, "metric_get", 1)
        return self._number(name) if self._is_on else 0

    def metric_set(self, name: str, number: int = 1, /) -> bool | None:
        """Set a metric's number; return True, or None when there is none that can be set."""
        number = c_long(number)
        return self._change("metric_set", name, lambda before: number)

    def metric_inc(self, name: str, number: int = 1, /) -> bool | None:
        """Add to a metric's number; return as ``metric_set``."""
        return self._calculate("inc", name, number)

    def metric_dec(self, name: str, number: int = 1, /) -> bool | None:
        """Subtract from a metric's number; return as ``metric_set``."""
        return self._calculate("dec", name, number)

    def metric_mul(self, name: str, number: int = 1, /) -> bool | None:
        """Multiply a metric's number; return as ``metric_set``."""
        return self._calculate("mul", name, number)

    def metric_div(self, name: str, number: int = 1, /) -> bool | None:
        """Divide a metric's number, towards 0; return as ``metric_set``, and None for a division by 0."""
        c_str(name, "metric_div", 1)
        return self._calculate("div", name, number) if c_long(number) else None

    def metric_set_max(self, name: str, number: int = 1, /) -> bool | None:
        """Set a metric's number if it is smaller; return as ``metric_set``."""
        number = c_long(number)
        return self._change("metric_set_max", name, lambda before: max(before, number))

    def metric_set_min(self, name: str, number: int = 1, /) -> bool | None:
        """Set a metric's number if it is larger, and ``number`` larger than the first one; return as ``metric_set``."""
        number = c_long(number)
        spec = self._specs.get(name) if isinstance(name, str) else None
        initial = spec.initial if spec else 0
        return self._change("metric_set_min", name, lambda before: number if initial < number < before else before)

    def _calculate(self, operation: str, name: str, number: int) -> bool | None:
        number = c_long(number)
        return self._change(f"metric_{operation}", name, lambda before: OPERATIONS[operation](before, number))

    def _change(self, function: str, name: str, change: Callable[[int], int]) -> bool | None:
        name = c_str(name, function, 1)
        if not self._is_on or name not in self._metrics:
            return None
        self._metrics.change(name, change)
        return True

    def _number(self, name: str) -> int:
        spec = self._specs.get(name)
        if spec is None:
            return self._counted(name)
        if spec.alias:
            return self._number(spec.alias)
        if not spec.collector:
            return self._metrics.get(name)
        if spec.collector == "file":
            return spec.initial + _number_in_file(spec.path, spec.word)
        total = sum(self._number(child) for child in spec.children)
        return spec.initial + (total if spec.collector == "sum" else total // max(1, len(spec.children)))

    def _counted(self, name: str) -> int:
        """Return a number that the server counts, 0 for a name that stands for none."""
        found = _SOCKET.fullmatch(name)
        if found:
            try:
                return listen_queue(int(found[1]))
            except ValueError:
                return 0
        workers: tuple[dict[str, Any], ...] = self._instance.workers()
        found = _WORKER.fullmatch(name)
        if found:
            return sum(worker[_OF_WORKER[found[2]]] for worker in workers if worker["id"] == int(found[1]))
        if name in _TOTALS:
            return sum(worker[_TOTALS[name]] for worker in workers)
        if name == "core.avg_response_time":
            return int(sum(worker["avg_rt"] for worker in workers)) // max(1, len(workers))
        if name in ("core.busy_workers", "core.idle_workers"):
            return sum(worker["status"] == name[5:9].encode() for worker in workers)
        return 0


def _number_in_file(path: str, word: int) -> int:
    """Return the number that a word of a file begins with, 0 when there is none."""
    try:
        with open(path, "rb") as file:
            words = file.read(4096).replace(b"\0", b" ").split()
    except OSError:
        return 0
    found = re.match(rb"[+-]?[0-9]{1,18}", words[word]) if word < len(words) else None
    return int(found[0]) if found else 0
