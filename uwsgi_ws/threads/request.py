"""A request as an application in a native thread has it: each step of reading and answering is the hub's."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from uwsgi_ws.errors import ClientGone
from uwsgi_ws.hub.hub_calls import in_hub
from uwsgi_ws.request.base import Request, pass_attributes_on

__all__ = ["ThreadRequest"]

Method = TypeVar("Method", bound=Callable[..., Any])


def step(method: Method) -> Method:
    """Return a method that has the hub's thread do the same with the request itself."""
    name = method.__name__

    @wraps(method)
    def call(self: ThreadRequest, *args: Any) -> Any:
        return in_hub(self._step, name, *args)

    return cast("Method", call)


def passed_on(name: str) -> Any:
    """Return a property that reads the one of the request itself, from any thread."""
    return property(lambda self: getattr(self._request, name), doc=getattr(Request, name).__doc__)


class ThreadRequest(Request):
    """Stands in front of a request of any front, with the same attributes, until it is cut off.

    A thread cannot be ended. When the server has to go on without it, ``cut_off`` parts the two: for the thread it is
    then as if the client had left, and whatever it does still, the connection is not its any more.
    """

    __slots__ = ("_is_cut_off", "_request")

    def __init__(self, request: Request) -> None:
        # Without Request's: the attributes are those of the request itself.
        self._request = request
        self._is_cut_off = False

    def cut_off(self) -> None:
        """Have all further steps fail; called in the hub's thread, where the steps are made."""
        self._is_cut_off = True

    def _step(self, name: str, *args: Any) -> Any:
        """Make a step; in the hub's thread, so that it is either before or after ``cut_off``."""
        if self._is_cut_off:
            raise ClientGone("the server has gone on without this thread")
        return getattr(self._request, name)(*args)

    scheme = passed_on("scheme")
    carrier_scheme = passed_on("carrier_scheme")
    can_sendfile = passed_on("can_sendfile")
    takes_body = passed_on("takes_body")
    read_body = step(Request.read_body)
    read_body_now = step(Request.read_body_now)
    write_head = step(Request.write_head)
    write_body = step(Request.write_body)
    write_file = step(Request.write_file)
    hand_body_over = step(Request.hand_body_over)
    finish = step(Request.finish)
    write_last = step(Request.write_last)
    upgrade = step(Request.upgrade)
    disconnect = step(Request.disconnect)

    def fileno(self) -> int:
        """Return the descriptor of the client's socket; -1 once cut off."""
        return -1 if self._is_cut_off else self._request.fileno()

    def abandon(self) -> None:
        """Give the request up, as ``Request.abandon``; without effect once cut off."""
        try:
            in_hub(self._step, "abandon")
        except ClientGone:
            pass


pass_attributes_on(ThreadRequest, "_request")
