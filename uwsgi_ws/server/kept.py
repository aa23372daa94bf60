"""The WebSockets whose applications have left them to the server: each keeps the slot that its client has taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from sys import intern
from typing import Any, NamedTuple

from gevent import Greenlet
from gevent.hub import Hub
from gevent.pool import Group

from uwsgi_ws.hub.dismissed import Dismissed
from uwsgi_ws.hub.hub_calls import is_hub_here, post
from uwsgi_ws.protocol.websocket.frames import CloseCode
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.identity import KEY
from uwsgi_ws.server.clients import ClientPool
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.detached import Detached

__all__ = ["KeptRequest", "KeptWebSockets"]

#: What those who operate the server may ask, beside a request's number and time.
_VARIABLES = ("REMOTE_ADDR", "REMOTE_PORT", "SCRIPT_NAME", KEY)


class KeptRequest(NamedTuple):
    """What is left of a request whose WebSocket is kept; see ``Request``."""

    request_id: int
    began_at: float
    environ: dict[str, str]
    is_over: bool


class _BorrowedGreenlet(Greenlet):  # type: ignore[type-arg]  # generic in the stubs only
    """Calls an application's functions for a while. Records no stack of its spawner."""

    spawning_stack_limit = 0


class KeptWebSockets:
    """A worker's.

    Args:
        hub: The worker's.
        clients: Where the slots are.
        call: Calls what calls the application; see ``Concurrency.call_beside``.
        stats: Counts those that end.
    """

    __slots__ = ("_all", "_clients", "_greenlets", "_hub", "_stats", "call")

    def __init__(self, hub: Hub, clients: ClientPool, call: Callable[[Callable[[], None]], None], stats: Stats) -> None:
        self._hub: Any = hub
        self._clients = clients
        self._stats = stats
        self._all: set[Detached] = set()
        self._greenlets = Group()
        self._greenlets.greenlet_class = _BorrowedGreenlet
        self.call = call

    def __iter__(self) -> Iterator[Detached]:
        return iter(list(self._all))

    def keep(self, request: Request, detached: Detached) -> None:
        """Take a request's WebSocket over; its greenlet, which asks for this, is about to end."""
        # One string of all, as each object takes some 50 bytes.
        variables = [str(request.environ.get(name, "")).replace("\0", "") for name in _VARIABLES]
        detached.origin = "\0".join([str(request.request_id), repr(request.began_at), *variables])
        connection = detached.connection
        if type(connection.path) is str:  # an application may have put something else there
            connection.path = intern(connection.path)  # it is most often that of many
        self._stats.bytes_sent += request.header_bytes
        if len(self._clients) > self._clients.size:
            # Many may come by one client of HTTP/2, whose requests share its slot.
            connection.close(CloseCode.TRY_AGAIN_LATER, "no place is free")
        self._all.add(detached)
        self._clients.hold_slot()
        detached.keep(self)

    def requests(self) -> Iterator[tuple[KeptRequest, Any]]:
        """Yield what is left of each request, with its WebSocket."""
        for detached in self:
            yield _request_of(detached), detached.connection

    def lend_greenlet(self, serve: Callable[[], None]) -> None:
        """See Keeper. The greenlet has nothing of the one that asks: that may be a request's."""
        if is_hub_here():
            self._hub.loop.run_callback(self._greenlets.spawn, serve)
        else:
            post(self._hub, self._greenlets.spawn, serve)

    def let_go(self, detached: Detached) -> None:
        """See Keeper."""
        self._all.discard(detached)
        self._stats.end(_request_of(detached).began_at, detached.connection.bytes_sent, detached.connection)
        self._clients.free_slot()

    def drop(self) -> None:
        """End what still calls the application, as the server stops."""
        self._greenlets.kill(Dismissed, timeout=1)


def _request_of(detached: Detached) -> KeptRequest:
    """Return what is left of a detached connection's request."""
    request_id, began_at, *variables = detached.origin.split("\0")
    environ = {"PATH_INFO": detached.connection.path, **dict(zip(_VARIABLES, variables, strict=True))}
    return KeptRequest(int(request_id), float(began_at), environ, detached.is_over)
