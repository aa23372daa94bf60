"""When a worker asks to be replaced."""

from __future__ import annotations

import pytest

from uwsgi_ws.options import Options
from uwsgi_ws.process.limits import reason_to_go
from uwsgi_ws.shared.status import WorkerStatus

MIB = 1 << 20


@pytest.mark.parametrize(
    ("options", "status", "age", "reason"),
    [
        (Options(), WorkerStatus(requests=10**9, rss=10**12), 10**9, None),
        (Options(max_requests=5), WorkerStatus(requests=4), 99, None),
        (Options(max_requests=5), WorkerStatus(requests=5), 99, "it has begun 5 requests (--max-requests)"),
        (Options(max_requests=5), WorkerStatus(requests=5), 9.9, None),  # --min-worker-lifetime
        (Options(max_requests=5, min_worker_lifetime=0), WorkerStatus(requests=5), 0, "it has begun 5 requests"),
        (Options(max_worker_lifetime=60), WorkerStatus(), 59.9, None),
        (Options(max_worker_lifetime=60), WorkerStatus(), 60, "it has lived for 60 seconds (--max-worker-lifetime)"),
        (Options(reload_on_rss=100), WorkerStatus(rss=100 * MIB - 1), 99, None),
        (Options(max_requests=5, max_requests_delta=10), WorkerStatus(worker_id=2, requests=24), 99, None),
        (Options(max_requests=5, max_requests_delta=10), WorkerStatus(worker_id=2, requests=25), 99, "it has begun 25"),
        (Options(max_worker_lifetime=60, max_worker_lifetime_delta=9), WorkerStatus(worker_id=1), 68.9, None),
        (
            Options(max_worker_lifetime=60, max_worker_lifetime_delta=9),
            WorkerStatus(worker_id=1),
            69,
            "it has lived for 69",
        ),
        (
            Options(reload_on_as=100),
            WorkerStatus(vsz=100 * MIB),
            99,
            "it has an address space of 100 MiB (--reload-on-as)",
        ),
        (Options(reload_on_exception=True), WorkerStatus(), 99, None),
        (Options(reload_on_exception=True), WorkerStatus(exceptions=1), 99, "the application has raised an exception"),
        (Options(reload_on_rss=100), WorkerStatus(rss=100 * MIB), 99, "it holds 100 MiB of memory (--reload-on-rss)"),
    ],
)
def test_a_worker_goes_when_a_limit_is_reached(
    options: Options, status: WorkerStatus, age: float, reason: str | None
) -> None:
    found = reason_to_go(options, status, age)
    assert found is None if reason is None else found is not None and found.startswith(reason)
