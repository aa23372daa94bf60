"""Makes the functions of ``uwsgi.*`` that depend on options or on the instance, and the memory that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uwsgi_ws.api.cache import Caches
from uwsgi_ws.api.harakiri import UserHarakiri
from uwsgi_ws.api.instance import Instance
from uwsgi_ws.api.metrics import Metrics, is_counted
from uwsgi_ws.api.rpc import Rpc
from uwsgi_ws.api.sharedarea import SharedAreas
from uwsgi_ws.options import Options
from uwsgi_ws.shared.locks import SharedLocks

__all__ = ["shared_functions"]


def shared_functions(options: Options, instance: Instance) -> dict[str, Callable[..., Any]]:
    """Return the functions by name; the memory is made for this process and those that will be forked from it.

    Raises:
        OptionError: there is not so much memory, or a metric is about another that is not there.
    """
    locks = SharedLocks()
    try:
        caches = Caches(options.caches, locks)
    except (OSError, OverflowError) as exc:
        raise options.error("cache2", f"no memory for it: {exc}") from exc
    known: set[str] = set()
    for spec in options.metric:
        for name in (*spec.children, *filter(None, [spec.alias])):
            if name not in known and not is_counted(name):
                raise options.error("metric", f"{spec.name!r} is about {name!r}, which is no metric before it")
        known.add(spec.name)
    metrics = Metrics(options.metric, locks, instance, is_on=options.enable_metrics or bool(options.metric))
    try:
        areas = SharedAreas(options.sharedarea, locks, instance)
    except (OSError, ValueError, OverflowError) as exc:
        raise options.error("sharedarea", str(exc)) from exc
    functions = {function.__name__: function for function in (*caches.functions, *metrics.functions, *Rpc().functions)}
    functions.update({**areas.functions, **instance.signals.functions})
    return {**functions, "set_user_harakiri": UserHarakiri(instance).set_user_harakiri}
