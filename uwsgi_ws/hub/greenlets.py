"""What every message asks greenlet for. In compiled modules these are calls of its C functions (``greenlets.pxd``)."""

from __future__ import annotations

from typing import Any

from greenlet import getcurrent, greenlet

__all__ = ["getcurrent", "prepare", "switch"]

#: Switch to a greenlet. The bare switch: that of gevent's hub asks the greenlet it leaves for a hook first, which costs
#: as much again.
switch: Any = greenlet.switch


def prepare() -> None:
    """Find the C functions, once in each compiled module that calls them."""
