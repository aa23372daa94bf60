"""``--metrics``: what all workers count together, as OpenMetrics text, and whether the instance is well.

The master writes it from memory that it shares with the workers, so a scrape wakes none of them. What workers have
counted that are gone stays in the sums.

The text is written here, and not by ``prometheus_client``: its import takes 0.13 s, and brings an HTTP server along.

Source: OpenMetrics 1.0 (RFC draft-richih-opsawg-openmetrics-00).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Literal, NamedTuple

from uwsgi_ws import __version__, _build
from uwsgi_ws.net.binding import bound_name, waiting_at
from uwsgi_ws.options import Options
from uwsgi_ws.process.common import Common
from uwsgi_ws.process.responder import Responder, http_response, path_of
from uwsgi_ws.process.sockets import Sockets
from uwsgi_ws.shared.measures import FAMILIES, Snapshot
from uwsgi_ws.shared.status import ROWS, WorkerStatus, newest

__all__ = ["MASTERS", "Health", "MetricsServer", "described_metrics", "page"]

_KIND = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_PREFIX = "uwsgi_ws_"
#: Seconds without a beat after which a worker is held for stuck, where health is asked for.
SILENCE = 10.0


class Health(NamedTuple):
    """How the instance is.

    Attributes:
        is_ready: Whether clients should be sent here.
        workers: Processes by the step of their life.
        serving: The seats of those that serve.
        reloads: By how they ended, ``done`` or ``failed``.
        spawns: Worker processes that there have been.
    """

    is_ready: bool
    workers: Mapping[str, int]
    serving: frozenset[int]
    reloads: Mapping[str, int]
    spawns: int


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its name without the prefix, and what it is."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    labels: tuple[str, ...] = ()

    def head(self) -> Iterator[str]:
        """Yield the lines that describe it."""
        name = _PREFIX + self.name
        yield f"# TYPE {name} {self.kind}"
        for unit in ("seconds", "bytes"):
            if name.endswith(f"_{unit}"):
                yield f"# UNIT {name} {unit}"
        yield f"# HELP {name} {self.help}"


#: Of the status rows, those that a family tells by labels.
_IN_FAMILIES = ("websockets",)
#: What the master knows itself.
MASTERS = {
    metric.name: metric
    for metric in (
        Metric("build", "info", "The version, and whether the hot path is compiled.", ("version", "core")),
        Metric("ready", "gauge", "1 while clients should be sent here."),
        Metric("workers", "gauge", "Worker processes, by the step of their life.", ("life",)),
        Metric("worker_spawns", "counter", "Worker processes that there have been."),
        Metric("reloads", "counter", "Reloads, by how they ended.", ("result",)),
        Metric("listen_queue", "gauge", "Clients that wait to be accepted at a TCP address.", ("address",)),
        Metric("websockets_open", "gauge", "WebSockets that are open.", ("carrier", "route")),
        Metric("slow_peers", "gauge", "WebSockets for which something waits that they have not taken.", ("worker",)),
        Metric("outbox_bytes", "gauge", "Bytes that wait for slow peers.", ("worker",)),
        Metric("worker_open_descriptors", "gauge", "Descriptors that a worker has open.", ("worker",)),
        Metric("worker_heartbeat_age_seconds", "gauge", "Time since a worker's event loop has told.", ("worker",)),
        Metric("worker_start_time_seconds", "gauge", "When a worker began, since the epoch.", ("worker",)),
    )
}


def _row_metrics() -> dict[str, tuple[Metric, list[str]]]:
    """Return the metrics of the status rows by name, each with its fields."""
    metrics: dict[str, tuple[Metric, list[str]]] = {}
    for field, row in ROWS.items():
        if row.kind == "fact" or not row.is_shown or field in _IN_FAMILIES:
            continue
        name = row.metric or field
        if row.kind == "gauge":
            metric = Metric(f"worker_{name}", "gauge", row.help, ("worker",))
        else:
            metric = Metric(name, "counter", row.help, tuple(label for label, _ in row.labels))
        metrics.setdefault(metric.name, (metric, []))[1].append(field)
    return metrics


_ROW_METRICS = _row_metrics()
_FAMILY_METRICS = {name: Metric(each.metric, each.kind, each.help, each.labels) for name, each in FAMILIES.items()}


def described_metrics() -> list[Metric]:
    """Return all metrics there are, in the order of the page."""
    return [*MASTERS.values(), *(metric for metric, _ in _ROW_METRICS.values()), *_FAMILY_METRICS.values()]


def page(common: Common, sockets: Sockets, health: Health) -> bytes:
    """Return all metrics as they are now."""
    board, seats = common.scoreboard, range(common.scoreboard.seats)
    living = [(status, common.measures.read(seat)) for seat in seats if (status := board.read(seat)).pid]
    lines = [
        *_masters_lines(sockets, health, living),
        *_rows_lines(common, living),
        "# EOF",
    ]
    return "\n".join(lines).encode() + b"\n"


def _masters_lines(sockets: Sockets, health: Health, living: Iterable[tuple[WorkerStatus, Snapshot]]) -> Iterator[str]:
    current = {status.worker_id: status for status in newest(status for status, _ in living)}
    opened: Counter[tuple[str, ...]] = Counter()
    queued: Counter[str] = Counter()
    slow: Counter[str] = Counter()
    for status, snapshot in living:
        for (family, *labels), number in snapshot.counts.items():
            if family in ("opened", "ended"):
                opened[tuple(labels)] += number if family == "opened" else -number
        queued[str(status.worker_id)] += snapshot.queued
        slow[str(status.worker_id)] += snapshot.slow
    waiting: Counter[str] = Counter()
    for endpoint, sock in sockets.with_endpoints():
        if endpoint.address.family == "tcp" and sock.fileno() >= 0:
            waiting[bound_name(endpoint.address, sock)] += waiting_at(sock)
    now = monotonic()
    numbers: dict[str, Mapping[tuple[str, ...], float]] = {
        "build": {(__version__, _build.name()): 1},
        "ready": {(): int(health.is_ready)},
        "workers": {(life,): number for life, number in health.workers.items()},
        "worker_spawns": {(): health.spawns},
        "reloads": {(result,): number for result, number in health.reloads.items()},
        "listen_queue": {(name,): number for name, number in waiting.items()},
        "websockets_open": opened,
        "slow_peers": {(worker,): number for worker, number in slow.items()},
        "outbox_bytes": {(worker,): number for worker, number in queued.items()},
        "worker_open_descriptors": {
            (str(worker),): count
            for worker, status in current.items()
            if (count := _descriptors(status.pid)) is not None
        },
        "worker_heartbeat_age_seconds": {
            (str(worker),): max(0.0, now - status.beat / 1e9) for worker, status in current.items()
        },
        "worker_start_time_seconds": {(str(worker),): status.started_at for worker, status in current.items()},
    }
    for name, metric in MASTERS.items():
        yield from _simple(metric, numbers[name])


def _rows_lines(common: Common, living: list[tuple[WorkerStatus, Snapshot]]) -> Iterator[str]:
    sums = common.retired.with_living(living)
    current = newest(status for status, _ in living)
    for metric, fields in _ROW_METRICS.values():
        numbers: dict[tuple[str, ...], float] = {}
        for field in fields:
            row = ROWS[field]
            if row.kind == "gauge":
                numbers = {(str(status.worker_id),): getattr(status, field) for status in current}
            else:
                number = sums.statuses[field]
                numbers[tuple(value for _, value in row.labels)] = number / row.scale if row.scale != 1 else number
        yield from _simple(metric, numbers)
    for name, metric in _FAMILY_METRICS.items():
        if metric.kind == "histogram":
            yield from _histogram(metric, *sums.histograms.get(name, ([], [0], 0.0)))
        else:
            yield from _simple(metric, {key[1:]: number for key, number in sums.counts.items() if key[0] == name})


def _simple(metric: Metric, numbers: Mapping[tuple[str, ...], float]) -> Iterator[str]:
    yield from metric.head()
    suffix = {"counter": "_total", "info": "_info"}.get(metric.kind, "")
    for values, number in sorted(numbers.items()):
        yield f"{_PREFIX}{metric.name}{suffix}{_labelled(zip(metric.labels, values, strict=True))} {number}"


def _histogram(metric: Metric, bounds: list[float], counts: list[int], total: float) -> Iterator[str]:
    yield from metric.head()
    name, up_to = _PREFIX + metric.name, 0
    for bound, count in zip([*map(repr, bounds), "+Inf"], counts, strict=True):
        up_to += count
        yield f'{name}_bucket{{le="{bound}"}} {up_to}'
    yield f"{name}_count {up_to}"
    yield f"{name}_sum {total!r}"


def _labelled(pairs: Iterable[tuple[str, str]]) -> str:
    texts = [f'{name}="{_escaped(value)}"' for name, value in pairs]
    return f"{{{','.join(texts)}}}" if texts else ""


def _escaped(value: str) -> str:
    value = value.encode("utf-8", "backslashreplace").decode()  # a mount point may hold bytes that are no text
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _descriptors(pid: int) -> int | None:
    """Return how many descriptors a process has open; None where that cannot be seen."""
    path = f"/proc/{pid}/fd"
    try:
        # Linux says it as the size since 6.2.
        return os.stat(path).st_size or len(os.listdir(path))
    except OSError:
        return None


class MetricsServer(Responder):
    """The addresses of ``--metrics``, and their clients.

    Args:
        options: They name the addresses.
        common: What workers tell.
        sockets: Where clients wait for workers.
        health: Returns how the instance is.

    Raises:
        OptionError: An address cannot be bound.
    """

    def __init__(self, options: Options, common: Common, sockets: Sockets, health: Callable[[], Health]) -> None:
        super().__init__(options, "metrics", [each.address for each in options.metrics], is_asked=True)
        self._paths = {each.path for each in options.metrics}
        self._common = common
        self._sockets = sockets
        self._health = health

    def _answer(self, head: bytes) -> bytes:
        path = path_of(head)
        if path is None:
            return http_response(head, 405, "text/plain", b"only GET and HEAD\n", "Allow: GET, HEAD")
        if path in self._paths:
            return http_response(head, 200, _KIND, page(self._common, self._sockets, self._health()))
        if path == "/readyz":
            is_well = self._health().is_ready
            text = "ready" if is_well else "not ready"
        elif path == "/healthz":
            silent = self._silent()
            is_well = not silent
            text = "healthy" if is_well else f"no heartbeat of worker {', '.join(map(str, silent))}"
        else:
            known = ", ".join(sorted({*self._paths, "/healthz", "/readyz"}))
            return http_response(head, 404, "text/plain", f"there are {known}\n".encode())
        return http_response(
            head, 200 if is_well else 503, "text/plain", f"{text}\n".encode(), "Cache-Control: no-store"
        )

    def _silent(self) -> list[int]:
        """Return the workers that serve and whose event loops do not run; none while one of them runs."""
        statuses = [self._common.scoreboard.read(seat) for seat in sorted(self._health().serving)]
        silent = [each.worker_id for each in statuses if each.beat and monotonic() - each.beat / 1e9 > SILENCE]
        return silent if len(silent) == len(statuses) else []
