"""How a worker's applications run beside one another: in greenlets, in native threads, or one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from uwsgi_ws.hub.hub_calls import HubCalls, use_hub_calls
from uwsgi_ws.request.acceptor import Acceptor
from uwsgi_ws.request.base import Request
from uwsgi_ws.server.loop import EventLoop
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.live import ConnectionSettings
from uwsgi_ws.wsgi.runner import Call, run

if TYPE_CHECKING:
    from uwsgi_ws.wsgi.serial import SerialExecutor

__all__ = ["Concurrency"]


class Concurrency:
    """A worker's way to call applications, and the acceptor of WebSockets that suits it.

    Args:
        slots: Clients served at once, and threads at most.
        websocket: Settings of WebSocket connections.
        threads: Whether applications run in native threads, not in the greenlets that serve their clients.
        serial: Whether one request runs at a time, in its greenlet; then the threads are the WebSockets'.

    Attributes:
        call: Calls an application for a request.
        acceptor: Makes WebSockets of requests.
        has_threads: Whether threads may use connections.
        is_serial: Whether one request runs at a time.
    """

    def __init__(
        self,
        loop: EventLoop,
        slots: int,
        websocket: ConnectionSettings,
        stats: Stats,
        *,
        threads: bool = False,
        serial: bool = False,
    ) -> None:
        self.call: Call = run
        #: Calls a function of the application's that belongs to no request, and does not raise, where requests run;
        #: the greenlet that asks for it waits.
        self.call_function: Callable[[Callable[[], None]], None] = _call
        #: Lets go of the threads, where the process goes on without the server.
        self.close: Callable[[], None] = lambda: None
        self.has_threads = threads
        self.is_serial = serial
        if threads:
            from uwsgi_ws.threads.connection import ThreadAcceptor
            from uwsgi_ws.threads.pool import ThreadPool

            hub_calls = HubCalls(loop.hub)
            use_hub_calls(hub_calls)
            pool = ThreadPool(slots, hub_calls)
            self.call, self.call_function, self.close = pool.run, pool.call, pool.close
            self.acceptor: Acceptor = ThreadAcceptor(websocket, loop.poller, loop.timers, stats, hub_calls)
        else:
            self.acceptor = Acceptor(websocket, loop.poller, loop.timers, stats)
        #: The same, for functions of WebSockets: beside all requests, also where those run one at a time.
        self.call_beside = self.call_function
        self._serial: SerialExecutor | None = None
        if serial:
            from uwsgi_ws.wsgi.serial import SerialExecutor

            self._serial = SerialExecutor(self.call)
            self.call, self.call_function = self._serial.run, self._serial.call
            self.acceptor.on_accept = self._serial.pass_on

    @property
    def serial_seconds(self) -> float:
        """For how long, all in all, a request has kept others from running; 0 where none does."""
        return self._serial.seconds if self._serial is not None else 0.0

    def is_waiting(self, request: Request) -> bool:
        """Return whether a request waits for those before it to be answered."""
        return self._serial is not None and self._serial.is_waiting(request)


def _call(function: Callable[[], None]) -> None:
    function()
