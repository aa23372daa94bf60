"""Which request is "here": the one whose application is running in this greenlet.

It is kept in the greenlet's ``spawn_tree_locals``, which gevent passes on to the greenlets that it spawns, so an
application's own greenlets may call ``uwsgi.*`` too (uWSGI refuses them). A native thread has a root greenlet of its
own, so what is stored there belongs to that thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import getcurrent

from uwsgi_ws.hub.own import in_copies
from uwsgi_ws.request.base import Request

__all__ = ["REQUEST_KEY", "clear_current", "current_request", "current_start_response", "set_current"]

REQUEST_KEY = "uwsgi_ws.request"
_START_RESPONSE_KEY = "uwsgi_ws.start_response"
#: uWSGI's words (plugins/python/uwsgi_python.h).
_NOT_HERE = "you can call uwsgi api function only from the main callable"


def set_current(request: Request, start_response: Callable[..., Any]) -> None:
    """Make ``request`` the current one of this greenlet and of those that it will spawn.

    Args:
        request: Its application is called next.
        start_response: The argument that the application gets.
    """
    greenlet: Any = getcurrent()
    greenlet.spawn_tree_locals = {REQUEST_KEY: request, _START_RESPONSE_KEY: start_response}


def clear_current() -> None:
    """Undo ``set_current``, in a thread that serves other requests afterwards."""
    greenlet: Any = getcurrent()
    greenlet.spawn_tree_locals = None


def _leave_request() -> None:
    """Take the request away from this greenlet, in a process that the application has forked."""
    try:
        request = current_request()
    except SystemError:
        return
    if request.websocket is not None:
        request.websocket.forsake()
    clear_current()


in_copies(_leave_request)


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
    """Return the ``start_response`` of the current request's application. Raises as ``current_request``."""
    current_request()
    return getcurrent().spawn_tree_locals[_START_RESPONSE_KEY]  # type: ignore[attr-defined, no-any-return]
