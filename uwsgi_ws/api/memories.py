"""Makes what workers share by ``uwsgi.*``, and the functions for it, by the options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uwsgi_ws.api.cache import Caches
from uwsgi_ws.options import Options
from uwsgi_ws.shared.locks import SharedLocks

__all__ = ["shared_functions"]


def shared_functions(options: Options) -> tuple[Callable[..., Any], ...]:
    """Return the functions; the memory is made for this process and those that will be forked from it.

    Raises:
        OptionError: there is not so much memory.
    """
    locks = SharedLocks()
    try:
        caches = Caches(options.caches, locks)
    except (OSError, OverflowError) as exc:
        raise options.error("cache2", f"no memory for it: {exc}") from exc
    return caches.functions
