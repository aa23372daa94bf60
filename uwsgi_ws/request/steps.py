"""The steps by which a request is answered: one shape, put together once.

A step answers a request itself, has it answered by what comes after it, or raises RequestError. What a step may do
before and after the others is thus in its hands: it may change the request, count it, or stand in front of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from uwsgi_ws.errors import RequestError
from uwsgi_ws.protocol.http.forwarded import Proxies
from uwsgi_ws.protocol.http.redirect import https_url
from uwsgi_ws.request.answers import respond, status_line
from uwsgi_ws.request.base import Request

__all__ = ["Handler", "HttpsRedirect", "Step", "chain", "proxies_step"]

Handler = Callable[[Request], None]


class Step(Protocol):
    """Answers a request, or has ``otherwise`` answer it."""

    def __call__(self, request: Request, otherwise: Handler, /) -> None:
        """Answer the request.

        Args:
            request: Nothing of its response has been sent.
            otherwise: The next step.

        Raises:
            RequestError: The request is refused; the server answers with the error's status.
        """


def chain(steps: Iterable[Step], end: Handler) -> Handler:
    """Return what takes a request through the steps, and to ``end`` where all of them let it pass.

    Closures, not ``functools.partial``: a call from one Python function to another takes no C stack, of which each
    greenlet that waits in an application keeps a copy.
    """
    answer = end
    for step in reversed([*steps]):
        answer = _joined(step, answer)
    return answer


def _joined(step: Step, otherwise: Handler) -> Handler:
    def answer(request: Request) -> None:
        step(request, otherwise)

    return answer


def proxies_step(proxies: Proxies) -> Step:
    """Return the step that believes what proxies say of their clients."""

    def settle(request: Request, otherwise: Handler) -> None:
        proxies.settle(request.environ)
        otherwise(request)

    return settle


class HttpsRedirect:
    """The step of ``--http-to-https`` addresses: sends each client to the same URL with https.

    Args:
        port: Of the URL; empty for https's own.
        proxies: Those that are believed when they say that the client has come by https; None for none.
    """

    def __init__(self, port: str, proxies: Proxies | None) -> None:
        self._port = port
        self._proxies = proxies

    def answer(self, request: Request, otherwise: Handler) -> None:
        """Redirect the client, unless it has come by https: it would come back here again and again.

        Raises:
            RequestError: 400, the client has not said how it calls this server.
        """
        if self._proxies is not None and self._proxies.settle(request.environ) and request.scheme == "https":
            otherwise(request)
            return
        location = https_url(request.environ, self._port)
        if location is None:
            raise RequestError(400, "a redirect needs a Host header")
        respond(request, status_line(301), [("Location", location)], b"")
