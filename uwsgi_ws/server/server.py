"""One worker's server: accept, front, admission, route, application.

It knows every room and decides nothing of theirs; what it owns is the order.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import gevent
from gevent import get_hub, getcurrent

from uwsgi_ws.certificates import SecureAddress
from uwsgi_ws.errors import PeerError, RequestError
from uwsgi_ws.fronts.bytestream import StreamFront
from uwsgi_ws.fronts.http1 import Http1Front
from uwsgi_ws.fronts.peer import Peer, StreamSettings
from uwsgi_ws.fronts.proxy import ProxyFront, proxied_peer
from uwsgi_ws.fronts.tls import TlsFront, client_variables
from uwsgi_ws.fronts.uwsgi import UwsgiFront
from uwsgi_ws.hub.hub_calls import HubCalls, use_hub_calls
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.net.base import ClientStream
from uwsgi_ws.net.binding import Endpoint
from uwsgi_ws.net.contexts import Certificates
from uwsgi_ws.net.listeners import Listener
from uwsgi_ws.net.peers import peer_name
from uwsgi_ws.net.stream import SocketStream
from uwsgi_ws.net.tls import TlsStream
from uwsgi_ws.protocol.http.forwarded import Proxies
from uwsgi_ws.protocol.http.redirect import https_url
from uwsgi_ws.protocol.websocket.frames import CloseCode
from uwsgi_ws.request.acceptor import Acceptor
from uwsgi_ws.request.access_log import AccessLog
from uwsgi_ws.request.admission import Admission, ConnectionLimiter
from uwsgi_ws.request.answers import fail, respond, respond_error
from uwsgi_ws.request.base import Front, Request
from uwsgi_ws.request.static import StaticFiles
from uwsgi_ws.routing.router import Router
from uwsgi_ws.routing.tunnel import Tunnel
from uwsgi_ws.server.clients import ClientPool
from uwsgi_ws.server.eviction import Evictor
from uwsgi_ws.stats import Stats
from uwsgi_ws.threads.connection import ThreadAcceptor
from uwsgi_ws.threads.pool import ThreadPool
from uwsgi_ws.websocket.connection import Connection
from uwsgi_ws.websocket.live import ConnectionSettings
from uwsgi_ws.wsgi.applications import Applications
from uwsgi_ws.wsgi.current import Dismissed
from uwsgi_ws.wsgi.environ import EnvironBase
from uwsgi_ws.wsgi.runner import Application, run
from uwsgi_ws.wsgi.serial import SerialRunner

if TYPE_CHECKING:
    from uwsgi_ws.fronts.http2.front import StreamWorker

__all__ = ["Server"]

_log = logging.getLogger("uwsgi_ws.server")

#: What serves a client, by its door's dialect.
_FRONTS: dict[str, type[StreamFront]] = {"http": Http1Front, "redirect": Http1Front, "uwsgi": UwsgiFront}

_REASONS: dict[int, str] = {CloseCode.GOING_AWAY: "server stops", CloseCode.SERVICE_RESTART: "server restarts"}
#: Seconds between two batches of a drain, and between two looks at what is left.
_STEP = 0.05
#: Seconds kept back for the closing handshakes of the last batch; half of the mercy where that is less.
_CLOSING = 6.0
#: Seconds that a client whom we accepted just before has left to send its first request.
_FIRST_REQUEST = 3.0


class Server:
    """Serves applications on any number of listening sockets, ``places`` clients at once.

    Args:
        places: Clients served at once; each has a greenlet and a core number.
        threads: Whether each has a native thread too, for applications to run in; else they run in the greenlets.
        serial: Whether one request runs at a time, in its greenlet; then the threads are the WebSockets'.
        applications: Where requests go.
        http: Settings of HTTP connections.
        websocket: Settings of WebSocket connections.
        environ: The shared part of every environ.
        admission: Who may come in.
        crowd: How many may; None for no limits but the places.
        static: Files served before the application is asked; None for none.
        router: The routes that requests take before anything else; None for none.
        access_log: None writes no access lines.
        stats: The worker's counters.
        certificates: Of the addresses where TLS is spoken.
        export_client_certificates: Whether applications see a TLS client's certificate, not only its name.
        keeps_alive: Whether a connection of HTTP/1.1 may have a second request.
        proxies: Those that are believed about the client; None leaves requests as they come.
    """

    def __init__(
        self,
        places: int,
        *,
        applications: Applications,
        http: StreamSettings,
        websocket: ConnectionSettings,
        environ: EnvironBase,
        admission: Admission,
        crowd: ConnectionLimiter | None,
        static: StaticFiles | None,
        router: Router | None,
        access_log: AccessLog | None,
        stats: Stats,
        certificates: Mapping[SecureAddress, Certificates] = MappingProxyType({}),
        export_client_certificates: bool = False,
        threads: bool = False,
        serial: bool = False,
        keeps_alive: bool = True,
        proxies: Proxies | None = None,
    ) -> None:
        self.applications = applications
        self.stats = stats
        self.hub = get_hub()
        self.clock = Timers(self.hub)
        self.poller = Poller(self.hub)
        self.pool = ClientPool(places)
        self._evictor = Evictor(
            self.hub,
            self.clients,
            self.pool.is_served,
            self._is_wanted,
            self._look_again,
            lambda request: self.websocket_of(request) is not None,
        )
        self.listeners: list[Listener] = []
        self.is_draining = False
        self._http = http
        self._environ = environ
        self._admission = admission
        self._static = static
        #: What answers a request that may come in: decided here, so that nobody pays for what he does not use.
        self._answer: Callable[[Request], None] = self._run_application if static is None else self._serve_or_run
        self._tunnels: Mapping[Request, Tunnel] = MappingProxyType({})
        if router is not None:
            router.start(self.poller, self.clock)
            self._tunnels = router.tunnels
            self._answer = partial(router.answer, otherwise=self._answer)
        if crowd is not None:
            self._answer = partial(crowd.answer, otherwise=self._answer)
        # Two objects, which every client keeps.
        self._bound_handle: Callable[[Request], None] = self.handle
        self._bound_may_keep_alive: Callable[[], bool] = self._may_keep_alive if keeps_alive else _never
        self._access_log = access_log
        self._proxies = proxies
        self._certificates = certificates
        self._export_client_certificates = export_client_certificates
        # uWSGI hands out the highest free core first.
        self._free_cores = list(range(places))
        self._server_name = socket.gethostname()
        self._drained_by = math.inf
        self._call: Callable[[Application, Request], bool] = run
        self._has_threads = threads
        if threads:
            crossing = HubCalls(self.hub)
            use_hub_calls(crossing)
            self._call = ThreadPool(places, crossing).run
            self._acceptor: Acceptor = ThreadAcceptor(websocket, self.poller, self.clock, stats, crossing)
        else:
            self._acceptor = Acceptor(websocket, self.poller, self.clock, stats)
        self._serial = SerialRunner(self._call) if serial else None
        if self._serial is not None:
            self._call = self._serial.run
            self._acceptor.on_accept = self._serial.pass_on

    # Accepting

    def listen(self, sock: socket.socket, door: Endpoint, *, is_shared: bool = False) -> None:
        """Begin to accept from a listening socket those who speak the door's dialect.

        Args:
            sock: It stays the caller's.
            door: Its.
            is_shared: Whether other workers accept from it too.
        """
        name = sock.getsockname()
        port = str(name[1]) if isinstance(name, tuple) else ""

        def handle(client: Any, address: Any) -> None:
            self._serve_client(client, address, door, port)

        listener = Listener(
            sock,
            handle,
            self.pool,
            # One that runs one request at a time takes one client at a time: others may be free sooner.
            is_shared=is_shared or self._serial is not None,
            when_full=self._evictor.press,
        )
        listener.start()
        self.listeners.append(listener)

    def _serve_client(self, client: Any, address: Any, door: Endpoint, server_port: str) -> None:
        if door.admits is not None and not door.admits.admits(client, address):
            _log.warning("%s may not connect to --%s %s", peer_name(client, address), door.option, door.address)
            client.close()
            return
        if isinstance(address, tuple):
            peer = Peer(address[0], str(address[1]), self._server_name, server_port)
        else:
            peer = Peer("", "", self._server_name, "80")  # a unix socket has no port, and PEP 3333 wants one
        core = self._free_cores.pop()
        try:
            stream = SocketStream(client, self.poller, self.clock, has_threads=self._has_threads)
            is_proxy = door.proxies is not None and door.proxies.admits(client, address)
            if door.has_proxy_header or is_proxy:
                proxied = self._proxied(stream, peer, may_lack=not door.has_proxy_header)
                if proxied is None:
                    return
                peer = proxied
            front = self._front(door, stream, peer, core)
            greenlet: Any = getcurrent()
            greenlet.front = front
            front.run()
        finally:
            self._free_cores.append(core)
            self.pool.give_back(getcurrent())

    def _proxied(self, stream: SocketStream, peer: Peer, *, may_lack: bool) -> Peer | None:
        """Return the client that a proxy speaks for; None, and the connection is closed, if it does not say.

        Args:
            stream: The proxy's.
            peer: The proxy.
            may_lack: It may be a client itself, and say nothing.
        """
        proxied = None
        greenlet: Any = getcurrent()
        greenlet.front = front = ProxyFront(stream)
        try:
            proxied = proxied_peer(stream, peer, self._http.head_timeout, may_lack=may_lack)
        except PeerError as error:
            if not front.is_evicted:  # who ends many says it once
                _log.warning("%s: %s", peer.remote_address or "unix", error)
        except OSError:
            pass  # the proxy is gone
        finally:
            if proxied is None:
                stream.close()
        return proxied

    def _spawn_lane(self, lane: StreamWorker) -> bool:
        """Have a lane of an HTTP/2 connection run; False when the worker is full."""
        if self.pool.full():
            self.pool.when_free(lane.front.place_is_free)
            self.hub.loop.run_callback(self._evictor.press)
            return False
        self.pool.spawn(self._run_lane, lane)
        return True

    def _run_lane(self, lane: StreamWorker) -> None:
        lane.core = self._free_cores.pop()
        greenlet: Any = getcurrent()
        greenlet.front = lane
        try:
            lane.run()
        finally:
            self._free_cores.append(lane.core)
            self.pool.give_back(greenlet)

    def _is_wanted(self) -> bool:
        """Return whether somebody waits for a place, and there is none."""
        if self.is_draining or not self.pool.full():
            return False
        return self.pool.has_waiting or any(listener.has_waiting for listener in self.listeners)

    def _look_again(self) -> None:
        for listener in self.listeners:
            listener.look_again()

    def _front(self, door: Endpoint, stream: SocketStream, peer: Peer, core: int) -> Front:
        """Return what serves a client in the door's dialect."""
        if door.secure is not None:
            tls = TlsStream(stream, self._certificates[door.secure].context(), self.hub)
            return TlsFront(tls, self._http.head_timeout, lambda: self._secure_front(tls, peer, core), peer)
        if door.dialect == "http2":
            return self._http2_front(stream, peer, core, self.handle)
        handle = self._bound_handle
        if door.dialect == "redirect":
            handle = partial(self._redirect, door.https_port)
        return _FRONTS[door.dialect](stream, self._http, peer, core, handle, self._bound_may_keep_alive)

    def _http2_front(self, stream: ClientStream, peer: Peer, core: int, handle: Callable[[Request], None]) -> Front:
        from uwsgi_ws.fronts.http2.front import Http2Front  # h2 is optional: it is spoken only where it is installed

        turn = self.poller.turn
        front = Http2Front(stream, self._http, peer, core, handle, self._spawn_lane, self.hub, turn)
        if self.is_draining:  # it has not been among those who were told
            front.goodbye()
        return front

    def _secure_front(self, tls: TlsStream, peer: Peer, core: int) -> Front:
        """Return what serves a client in the protocol that it has agreed on."""
        variables = client_variables(tls, self._export_client_certificates)

        def handle(request: Request) -> None:
            request.environ.update(variables)
            self.handle(request)

        peer = replace(peer, scheme="https")
        if tls.protocol == "h2":
            return self._http2_front(tls, peer, core, handle)
        return Http1Front(tls, self._http, peer, core, handle, self._bound_may_keep_alive)

    def _may_keep_alive(self) -> bool:
        """An idle connection may keep its place only while others are free."""
        return not self.is_draining and not self.pool.full()

    def clients(self) -> Iterator[tuple[Any, Front]]:
        """Return the greenlets that serve a client now, each with its front."""
        return self.pool.serving()

    def is_waiting(self, request: Request) -> bool:
        """Return whether a request waits for those before it to be answered."""
        return self._serial is not None and self._serial.is_waiting(request)

    def websocket_of(self, request: Request) -> Connection | Tunnel | None:
        """Return the WebSocket that a request has become: an application's, or one that a route passes on."""
        return request.websocket or self._tunnels.get(request)

    # Answering

    def handle(self, request: Request) -> None:
        """Answer a request of any front. Never raises."""
        if self._proxies is not None:
            self._proxies.settle(request.environ)
        self._handle(request)

    def _handle(self, request: Request) -> None:
        stats = self.stats
        request.request_id = stats.begin()
        request.acceptor = self._acceptor
        try:
            self._admission.judge(request)
            self._answer(request)
        except RequestError as error:
            respond_error(request, error)
        except Dismissed:
            raise  # the server stops
        except BaseException:  # outside the application, such as where a route waits for its backend
            fail(request)
        stats.end(request.began_at, request.bytes_sent)
        if self._access_log is not None and request.log_this:
            self._access_log.write(request)
        request.end()

    def _redirect(self, port: str, request: Request) -> None:
        """Answer a request of a ``--http-to-https`` address. Never raises."""
        if self._proxies is not None and self._proxies.settle(request.environ) and request.scheme == "https":
            self._handle(request)  # it has come by https: to be sent on would bring it here again and again
            return
        request.request_id = self.stats.begin()
        location = https_url(request.environ, port)
        if location is None:
            respond_error(request, RequestError(400, "without a Host header nobody knows where to go on"))
        else:
            respond(request, "301 Moved Permanently", [("Location", location)], b"")
        if self._access_log is not None:
            self._access_log.write(request)
        request.end()

    def _serve_or_run(self, request: Request) -> None:
        assert self._static is not None, "chosen when there is one"
        if not self._static.serve(request):
            self._run_application(request)

    def _run_application(self, request: Request) -> None:
        application = self.applications.find(request.environ)
        if application is None:
            # uWSGI's words for it.
            respond(
                request,
                "500 Internal Server Error",
                [("Content-Type", "text/plain")],
                b"Internal Server Error",
            )
            return
        self._environ.complete(request)
        if not self._call(application, request):
            self.stats.exceptions += 1

    # Leaving

    def cease(self) -> None:
        """Have nobody begin anything here: accept no client any more, and let go of those who ask for nothing now.

        Requests and WebSockets go on; the client's next request needs another connection.
        """
        self.is_draining = True
        for listener in self.listeners:
            listener.stop()
        for greenlet, front in self.clients():
            front.goodbye()
            if front.request is None and front.is_idle:
                greenlet.kill(Dismissed, block=False)

    def shorten_drain(self, mercy: float) -> None:
        """Have a ``drain``, also one in progress, end within ``mercy`` seconds from now; never later than planned."""
        self._drained_by = min(self._drained_by, monotonic() + mercy)

    def drain(self, code: int, mercy: float, rate: float) -> None:
        """``cease``, close WebSockets with ``code``, and wait for the rest.

        WebSockets are closed in batches, as their clients may all come back at once. Those not closed yet go on.

        Args:
            code: 1001 when the server stops, 1012 when it comes back at once.
            mercy: Seconds until what is left is dropped.
            rate: WebSockets to close in a second; more where the mercy is too short for it.
        """
        self.cease()
        self.shorten_drain(mercy)
        first_request_by = monotonic() + min(_FIRST_REQUEST, mercy / 2)
        closing: list[Connection | Tunnel] = []
        while (now := monotonic()) < self._drained_by:
            still_open: list[Connection | Tunnel] = []
            for greenlet, front in self.clients():
                request = front.request
                if request is None:
                    if front.is_idle or (now >= first_request_by and not front.has_streams):
                        greenlet.kill(Dismissed, block=False)
                elif (websocket := self.websocket_of(request)) is not None and websocket.is_open:
                    still_open.append(websocket)
            left = self._drained_by - now
            steps = max(1.0, (left - min(_CLOSING, left / 2)) / _STEP)
            batch = still_open[: math.ceil(max(rate * _STEP, len(still_open) / steps))]
            for websocket in batch:
                websocket.close(code, _REASONS.get(code, ""))
            # An application that returns at once leaves its connection in the closing handshake.
            closing = [websocket for websocket in closing + batch if not websocket.is_ended]
            if not self.pool and not closing:
                return
            gevent.sleep(_STEP)
        # Whoever is left is dropped; but nobody without being told.
        for _, front in self.clients():
            if front.request is not None and (websocket := self.websocket_of(front.request)) is not None:
                websocket.close(code, _REASONS.get(code, ""))
        self.pool.kill(Dismissed, timeout=1)


def _never() -> bool:
    """Return False: no connection is kept alive."""
    return False
