"""Which request is "here": the one whose application is running in this greenlet.

It is kept in the greenlet's ``spawn_tree_locals``, which gevent hands on to the greenlets that it spawns, so an
application's own greenlets may call ``uwsgi.*`` too (uWSGI refuses them). A native thread is one greenlet more, which
nobody has spawned: what it keeps is the thread's alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gevent import Greenlet, GreenletExit, get_hub, getcurrent
from gevent.pool import Pool

from uwsgi_ws.hub.own import in_copies
from uwsgi_ws.request.base import Front, Request

__all__ = [
    "REQUEST_KEY",
    "ClientGreenlet",
    "ClientPool",
    "Dismissed",
    "current_request",
    "current_start_response",
    "enter",
    "is_serving",
    "leave",
]

REQUEST_KEY = "uwsgi_ws.request"
#: Whether this process, or the one that it was forked from, has places for clients.
_is_serving = False
_START_RESPONSE_KEY = "uwsgi_ws.start_response"
#: uWSGI's words (plugins/python/uwsgi_python.h).
_NOT_HERE = "you can call uwsgi api function only from the main callable"


class Dismissed(GreenletExit):
    """The server ends a client's greenlet. A plain GreenletExit is the application's own, and an error like others."""


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
    """The worker's places: as many clients as may be served at once."""

    greenlet_class = ClientGreenlet

    def __init__(self, size: int) -> None:
        global _is_serving
        super().__init__(size)
        _is_serving = True
        self._places = size
        self._discard = self._discard  # type: ignore[method-assign]  # one object, which every greenlet keeps
        self._waiting: deque[Callable[[], None]] = deque()

    def full(self) -> bool:
        """Return whether all places are taken; gevent's own makes four calls of it, and every response asks."""
        return len(self.greenlets) >= self._places

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, in the hub, when somebody has left; there must be somebody."""
        self._waiting.append(callback)

    @property
    def has_waiting(self) -> bool:
        """Whether somebody is to be called."""
        return bool(self._waiting)

    def give_back(self, greenlet: Any) -> None:
        """Free the place of a greenlet that is about to end: others need not wait until the loop gets round to it."""
        self._discard(greenlet)

    def _discard(self, greenlet: Any) -> None:
        """Take note that a client has left; gevent.pool.Pool's own gives the place back here."""
        if greenlet not in self.greenlets:
            return
        super()._discard(greenlet)  # type: ignore[misc]  # not in the stubs
        if self._waiting:
            get_hub().loop.run_callback(self._call)

    def _call(self) -> None:
        """Call those who wait, while there are places."""
        while self._waiting and not self.full():
            self._waiting.popleft()()


def is_serving() -> bool:
    """Return whether a server of ours is in this process."""
    return _is_serving


def enter(request: Request, start_response: Callable[..., Any]) -> None:
    """Make ``request`` the current one of this greenlet and of those that it will spawn.

    Args:
        request: Whose application is about to be called.
        start_response: What it is called with.
    """
    greenlet: Any = getcurrent()
    greenlet.spawn_tree_locals = {REQUEST_KEY: request, _START_RESPONSE_KEY: start_response}


def leave() -> None:
    """Undo ``enter``, in a thread that serves others afterwards."""
    greenlet: Any = getcurrent()
    greenlet.spawn_tree_locals = None


class _NoClient:
    """The front of a greenlet in a copy of the process."""

    request = None


def _leave_client() -> None:
    """This process is a copy: what goes on in this greenlet has no request any more."""
    greenlet: Any = getcurrent()
    try:
        request = current_request()
    except SystemError:
        return
    if request.websocket is not None:
        request.websocket.forsake()
    if isinstance(greenlet, ClientGreenlet):
        greenlet.front = _NoClient()  # type: ignore[assignment]  # all that a copy may ask it for
    leave()


in_copies(_leave_client)


def current_request() -> Request:
    """Return the current request.

    Raises:
        SystemError: there is none here, in uWSGI's words.
    """
    try:
        return getcurrent().spawn_tree_locals[REQUEST_KEY]  # type: ignore[attr-defined, no-any-return]
    except (AttributeError, KeyError, TypeError):
        raise SystemError(_NOT_HERE) from None


def current_start_response() -> Callable[..., Any]:
    """Return what the current request's application was called with. Raises as ``current_request``."""
    current_request()
    return getcurrent().spawn_tree_locals[_START_RESPONSE_KEY]  # type: ignore[attr-defined, no-any-return]
