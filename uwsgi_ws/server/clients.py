"""The clients that a worker serves: a greenlet each, and no more of them than it has slots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gevent import Greenlet, getcurrent

from uwsgi_ws.hub.own import in_copies
from uwsgi_ws.hub.slots import Slots
from uwsgi_ws.request.base import Front

__all__ = ["ClientGreenlet", "ClientPool", "is_serving"]

#: Whether this process, or the one that it was forked from, has a pool of clients.
_is_serving = False


class ClientGreenlet(Greenlet):  # type: ignore[type-arg]  # generic in the stubs only
    """Serves one client connection. Records no stack of its spawner: that costs more than the rest of it.

    Attributes:
        front: What reads the client's requests, once it is known.
    """

    # Else each would have a dict of its own; `_run` is gevent's name for what it is to do.
    __slots__ = ("_run", "front")
    front: Front

    spawning_stack_limit = 0


class ClientPool(Slots):
    """The greenlets that serve clients; its size is the number of the worker's slots."""

    def __init__(self, size: int) -> None:
        global _is_serving
        super().__init__(size, ClientGreenlet)
        _is_serving = True

    def serving(self) -> Iterator[tuple[Any, Front]]:
        """Yield the greenlets whose client's front is known, each with it."""
        for greenlet in list(self._greenlets):
            front = getattr(greenlet, "front", None)
            if front is not None:
                yield greenlet, front

    def is_served(self, greenlet: Any, front: Front) -> bool:
        """Return whether a greenlet still serves the client of a front."""
        return greenlet in self._greenlets and greenlet.front is front


def is_serving() -> bool:
    """Return whether a server of ours is in this process."""
    return _is_serving


class _NoClient:
    """The front of a greenlet in a copy of the process."""

    request = None


def _forget_client() -> None:
    """Forget, in a process that the application has forked, whose client this greenlet serves."""
    greenlet: Any = getcurrent()
    if isinstance(greenlet, ClientGreenlet):
        greenlet.front = _NoClient()  # type: ignore[assignment]  # all that a copy may ask it for


in_copies(_forget_client)
