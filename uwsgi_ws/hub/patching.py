"""Makes the standard library cooperative, so that applications wait in greenlets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import metadata
from typing import Any

__all__ = ["patch"]


def patch() -> None:
    """Have gevent replace what waits in the standard library.

    gevent handles SIGCHLD from the first child on that is watched, and a child is watched once it has been started. One
    that ends before that would never be noticed, and a greenlet that waits for it would wait for ever. So the signal is
    handled before there is any child. Processes that are forked later inherit that.
    """
    from gevent import get_hub, monkey

    with _plugins_known():
        monkey.patch_all()
    get_hub().loop.install_sigchld()


@contextlib.contextmanager
def _plugins_known() -> Iterator[None]:
    """Have the entry points of what is installed be read once.

    gevent asks for its plugins at each of some twenty steps, and each time all distributions would be looked through:
    of a start that is a tenth, with a hundred of them.
    """
    read: Any = metadata.entry_points
    known: Any = read()
    metadata.entry_points = known.select
    try:
        yield
    finally:
        metadata.entry_points = read
