"""The clients that a worker serves: a greenlet each, and no more of them than it has slots."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from gevent import Greenlet, get_hub, getcurrent
from gevent.pool import Pool

from uwsgi_ws.hub.own import in_copies
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


class ClientPool(Pool):
    """The greenlets that serve clients; its size is the number of the worker's slots."""

    greenlet_class = ClientGreenlet

    def __init__(self, size: int) -> None:
        global _is_serving
        super().__init__(size)
        _is_serving = True
        self._slots = size
        self._discard = self._discard  # type: ignore[method-assign]  # one object, which every greenlet keeps
        self._waiting: deque[Callable[[], None]] = deque()
        self._held = 0  # slots without a greenlet
        self._owed = 0  # how many of those the next greenlets that end leave their place in gevent's semaphore

    @property
    def slots(self) -> int:
        """How many clients there may be."""
        return self._slots

    def __len__(self) -> int:
        """Return how many clients there are."""
        return len(self.greenlets) + self._held

    def full(self) -> bool:
        """Return whether all slots are taken; gevent's own makes four calls of it, and every response asks."""
        return len(self.greenlets) + self._held >= self._slots

    def hold_slot(self) -> None:
        """Take a slot for a client that needs no greenlet any more; the one that serves it ends now."""
        self._held += 1
        if not self._semaphore.acquire(blocking=False):  # type: ignore[attr-defined]  # not in the stubs
            self._owed += 1

    def free_slot(self) -> None:
        """Give back what ``hold_slot`` has taken."""
        self._held -= 1
        if self._owed:
            self._owed -= 1
        else:
            self._semaphore.release()  # type: ignore[attr-defined]
        if self._waiting:
            get_hub().loop.run_callback(self._call)

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, in the hub, when a client has left; there must be one."""
        self._waiting.append(callback)

    @property
    def has_waiting(self) -> bool:
        """Whether a callback waits for a free slot."""
        return bool(self._waiting)

    def serving(self) -> Iterator[tuple[Any, Front]]:
        """Yield the greenlets whose client's front is known, each with it."""
        for greenlet in list(self.greenlets):
            front = getattr(greenlet, "front", None)
            if front is not None:
                yield greenlet, front

    def is_served(self, greenlet: Any, front: Front) -> bool:
        """Return whether a greenlet still serves the client of a front."""
        return greenlet in self.greenlets and greenlet.front is front

    def give_back(self, greenlet: Any) -> None:
        """Free the slot of a greenlet that is about to end: others need not wait until the loop gets round to it."""
        self._discard(greenlet)

    def _discard(self, greenlet: Any) -> None:
        """Take note that a client has left; gevent.pool.Pool's own frees the slot here."""
        if greenlet not in self.greenlets:
            return
        super()._discard(greenlet)  # type: ignore[misc]  # not in the stubs
        if self._owed and self._semaphore.acquire(blocking=False):  # type: ignore[attr-defined]
            self._owed -= 1
        if self._waiting:
            get_hub().loop.run_callback(self._call)

    def _call(self) -> None:
        """Call what waits, while there are free slots."""
        while self._waiting and not self.full():
            self._waiting.popleft()()


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
