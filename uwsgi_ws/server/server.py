"""One worker's server: the frame around each request, with the parts that accept clients and drain them.

What answers a request, and in which order, is decided by the steps that the server is given.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uwsgi_ws.errors import RequestError
from uwsgi_ws.hub.dismissed import Dismissed
from uwsgi_ws.net.binding import Endpoint
from uwsgi_ws.net.listeners import Listener
from uwsgi_ws.request.access_log import AccessLog
from uwsgi_ws.request.answers import fail, respond_error
from uwsgi_ws.request.base import Front, Request
from uwsgi_ws.request.event_stream import EventStream
from uwsgi_ws.request.steps import Handler, Step, chain
from uwsgi_ws.server.accepting import Accepting, FrontSettings
from uwsgi_ws.server.clients import ClientPool
from uwsgi_ws.server.concurrency import Concurrency
from uwsgi_ws.server.drain import Drain
from uwsgi_ws.server.kept import KeptWebSockets
from uwsgi_ws.server.loop import EventLoop
from uwsgi_ws.server.overload import Overload, refuse
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.connection import Connection
from uwsgi_ws.websocket.tunnel import Tunnel

__all__ = ["Answering", "Server"]


@dataclass(frozen=True, slots=True)
class Answering:
    """How requests are answered.

    Args:
        steps: In their order.
        run: Answers the requests that all steps let pass.
        redirect_steps: Returns those of a ``redirect`` endpoint, by its port for https.
        tunnels: The WebSockets that a step passes on to another server now, by the front's request.
        access_log: None writes no access lines.
    """

    steps: Sequence[Step]
    run: Handler
    redirect_steps: Callable[[str], Sequence[Step]]
    tunnels: Mapping[Request, Tunnel]
    access_log: AccessLog | None


class Server:
    """Serves clients on any number of listening sockets, ``slots`` of them at once.

    Args:
        slots: Clients served at once; each has a greenlet and a core number.
        concurrency: How applications run beside one another.
        answering: How requests are answered.
        fronts: Settings of the fronts.
        stats: What it counts in.
        max_memory: Bytes of resident memory near which new clients are refused; 0 is no bound.
    """

    def __init__(
        self,
        loop: EventLoop,
        slots: int,
        *,
        concurrency: Concurrency,
        answering: Answering,
        fronts: FrontSettings,
        stats: Stats,
        max_memory: int = 0,
    ) -> None:
        self.hub = loop.hub
        self.poller = loop.poller
        self.stats = stats
        loop.timers.lags = stats.measures.lags
        self.pool = ClientPool(slots)
        self.kept = KeptWebSockets(loop.hub, self.pool, concurrency.call_beside, stats)
        self._concurrency = concurrency
        self._answering = answering
        #: Answers a request of any front. Never raises.
        self.handle: Handler = self._framed(answering.steps)
        self._accepting = Accepting(
            loop,
            self.pool,
            slots,
            fronts,
            self.handle,
            self._framed([refuse]),
            max_memory,
            lambda request: self.websocket_of(request) is not None,
            has_threads=concurrency.has_threads,
            one_at_a_time=concurrency.is_serial,
        )
        self._drain = Drain(self.pool, self.kept, self.websocket_of)
        #: Whether the instance has been told to stop, and serves on for a while.
        self.will_stop = False

    def _framed(self, steps: Sequence[Step]) -> Handler:
        """Return what takes a request through ``steps``: counted, its errors answered, and logged. It never raises.

        It is a closure and no method, as it runs for every request, and stays on the stack while the request waits.
        """
        stats, acceptor, access_log = self.stats, self._concurrency.acceptor, self._answering.access_log
        kept = self.kept
        answer = chain(steps, self._answering.run)

        def handle(request: Request) -> None:
            request.request_id = stats.begin()
            request.acceptor = acceptor
            try:
                answer(request)
            except RequestError as error:
                respond_error(request, error)
            except Dismissed:
                stats.end(request.began_at, request.bytes_sent, request.websocket)
                raise  # the server stops
            except BaseException:  # outside the application, such as where a route waits for its backend
                fail(request)
            websocket = request.websocket
            if websocket is not None and websocket.detached is not None:
                kept.keep(request, websocket.detached)
            else:
                stats.end(request.began_at, request.bytes_sent, websocket)
            if access_log is not None and request.log_this:
                access_log.write(request)
            request.end()

        return handle

    # Accepting

    def listen(self, sock: socket.socket, endpoint: Endpoint, *, is_shared: bool = False) -> None:
        """Begin to accept clients that speak the endpoint's dialect.

        Args:
            sock: The listening socket; it stays the caller's to close.
            endpoint: Its address and dialect.
            is_shared: Whether other workers accept from it too.
        """
        handle = self.handle
        if endpoint.dialect == "redirect":
            handle = self._framed(self._answering.redirect_steps(endpoint.https_port))
        self._accepting.listen(sock, endpoint, handle, is_shared=is_shared)

    @property
    def listeners(self) -> list[Listener]:
        """The listeners that accept clients."""
        return self._accepting.listeners

    @property
    def is_draining(self) -> bool:
        """Whether no client is accepted any more, or none before ``accept_again``."""
        return self._accepting.is_stopped or self._accepting.is_resting

    @property
    def takes_clients(self) -> bool:
        """Whether clients should be sent here; once it ``will_stop`` they should not, though they are served."""
        return not self.will_stop and not self.is_draining

    @property
    def overload(self) -> Overload:
        """Whether new clients are refused; its ``look`` is to be called about once a second."""
        return self._accepting.overload

    def clients(self) -> Iterator[tuple[Any, Front]]:
        """Yield the greenlets that serve a client, each with its front."""
        return self.pool.serving()

    def is_waiting(self, request: Request) -> bool:
        """Return whether a request waits for those before it to be answered."""
        return self._concurrency.is_waiting(request)

    @property
    def serial_seconds(self) -> float:
        """For how long, all in all, a request has kept others from running; 0 where none does."""
        return self._concurrency.serial_seconds

    def websocket_of(self, request: Request) -> Connection | Tunnel | EventStream | None:
        """Return the WebSocket that a request has become, an application's or one passed on by a route; else None.

        An event stream is as good as one.
        """
        return request.websocket or request.event_stream or self._answering.tunnels.get(request)

    # Stopping

    def rest(self) -> None:
        """Accept no client until ``accept_again``, and close idle connections. Requests and WebSockets go on."""
        self._accepting.rest()

    def accept_again(self) -> None:
        """Undo ``rest``."""
        self._accepting.accept_again()

    def stop_accepting(self) -> None:
        """Stop accepting, and close idle connections. Requests and WebSockets go on."""
        self._accepting.stop()

    def shorten_drain(self, timeout: float) -> None:
        """Have a ``drain``, also one in progress, end within ``timeout`` seconds from now; never later than planned."""
        self._drain.shorten(timeout)

    def wait_for(self, is_busy: Callable[[], bool]) -> None:
        """Have ``drain`` wait, beside the clients, for something else."""
        self._drain.is_busy = is_busy

    @property
    def call_function(self) -> Callable[[Callable[[], None]], None]:
        """Calls a function of the application's that belongs to no request. See Concurrency."""
        return self._concurrency.call_function

    def drain(self, code: int, timeout: float, rate: float) -> None:
        """Stop accepting, close WebSockets with ``code``, at ``rate`` a second, and wait for the rest. See Drain."""
        self.stop_accepting()
        self._drain.run(code, timeout, rate)

    def close(self) -> None:
        """Let go of what it holds, after ``drain``, where the process goes on without it."""
        self._concurrency.close()
        self.poller.close()
