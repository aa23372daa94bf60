"""When a worker has done enough: limits after which it asks to be replaced. Pure, it is told how the worker stands."""

from __future__ import annotations

from uwsgi_ws.options import Options
from uwsgi_ws.shared.status import WorkerStatus

__all__ = ["reason_to_go"]


def reason_to_go(options: Options, status: WorkerStatus, age: float) -> str | None:
    """Return why a worker should be replaced, in words for the log; None while it should not.

    Args:
        options: They hold the limits; 0 is none.
        status: How the worker stands.
        age: Seconds since it began to serve. Before ``--min-worker-lifetime`` no limit counts: where an application
            needs more than a limit from the start, replacing would never end.
    """
    if age < options.min_worker_lifetime:
        return None
    if options.reload_on_exception and status.exceptions:
        return "the application has raised an exception (--reload-on-exception)"
    if options.max_requests and status.requests >= (
        options.max_requests + options.max_requests_delta * status.worker_id
    ):
        return f"it has begun {status.requests} requests (--max-requests)"
    lifetime = options.max_worker_lifetime + options.max_worker_lifetime_delta * status.worker_id
    if options.max_worker_lifetime and age >= lifetime:
        return f"it has lived for {age:.0f} seconds (--max-worker-lifetime)"
    rss = status.rss >> 20
    if options.reload_on_rss and rss >= options.reload_on_rss:
        return f"it holds {rss} MiB of memory (--reload-on-rss)"
    space = status.vsz >> 20
    if options.reload_on_as and space >= options.reload_on_as:
        return f"it has an address space of {space} MiB (--reload-on-as)"
    return None
