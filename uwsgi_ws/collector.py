"""Rest for the garbage collector while the server's own modules are loaded: what they make stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["at_rest"]


@contextmanager
def at_rest() -> Iterator[None]:
    """Have the collector look at nothing that is made meanwhile, neither then nor later.

    Not for the application's code: what that makes, and lets go, is for the collector to find. A program that runs the
    server with the collector switched off keeps it so.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
