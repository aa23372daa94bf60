"""Accepts clients, each with the front that its address's dialect needs, and frees slots when all are taken."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gevent import getcurrent

from uwsgi_ws.certificates import SecureAddress
from uwsgi_ws.errors import PeerError
from uwsgi_ws.fronts.bytestream import StreamFront
from uwsgi_ws.fronts.http1 import Http1Front
from uwsgi_ws.fronts.peer import Peer, StreamSettings
from uwsgi_ws.fronts.proxy import ProxyFront, proxied_peer
from uwsgi_ws.fronts.tls import TlsFront, client_variables
from uwsgi_ws.fronts.uwsgi import UwsgiFront
from uwsgi_ws.net.base import ClientStream
from uwsgi_ws.net.binding import Endpoint
from uwsgi_ws.net.contexts import Certificates
from uwsgi_ws.net.listeners import Listener
from uwsgi_ws.net.peers import peer_name
from uwsgi_ws.net.stream import SocketStream
from uwsgi_ws.net.tls import TlsStream
from uwsgi_ws.request.base import Front, Request
from uwsgi_ws.request.steps import Handler
from uwsgi_ws.server.clients import ClientPool
from uwsgi_ws.server.eviction import Evictor
from uwsgi_ws.server.loop import EventLoop
from uwsgi_ws.wsgi.current import Dismissed

if TYPE_CHECKING:
    from uwsgi_ws.fronts.http2.front import StreamWorker

__all__ = ["Accepting", "FrontSettings"]

_log = logging.getLogger("uwsgi_ws.server")

#: What serves a client, by its endpoint's dialect.
_FRONTS: dict[str, type[StreamFront]] = {"http": Http1Front, "redirect": Http1Front, "uwsgi": UwsgiFront}


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """What a worker's fronts need to know.

    Args:
        http: Settings of HTTP connections.
        certificates: Of the addresses where TLS is spoken.
        export_client_certificates: Whether applications see a TLS client's certificate, not only its name.
        keeps_alive: Whether a connection of HTTP/1.1 may have a second request.
    """

    http: StreamSettings
    certificates: Mapping[SecureAddress, Certificates]
    export_client_certificates: bool
    keeps_alive: bool


class Accepting:
    """A worker's listeners, and the clients that they accept.

    Args:
        clients: The greenlets that serve them.
        slots: How many clients there may be.
        handle: Answers each request.
        is_exempt: Returns whether a request's client may be silent, as that of a WebSocket.
        has_threads: Whether native threads may use a client's stream.
        one_at_a_time: Whether one client is accepted at a time: another worker may be free sooner for the next.

    Attributes:
        listeners: One for each listening socket.
        is_stopped: No client is accepted any more.
        is_resting: No client is accepted before ``accept_again``.
    """

    def __init__(
        self,
        loop: EventLoop,
        clients: ClientPool,
        slots: int,
        settings: FrontSettings,
        handle: Handler,
        is_exempt: Callable[[Request], bool],
        *,
        has_threads: bool,
        one_at_a_time: bool,
    ) -> None:
        self.listeners: list[Listener] = []
        self.is_stopped = self.is_resting = False
        self._is_open = True  # it is neither; asked for each response
        self._loop = loop
        self._clients = clients
        self._settings = settings
        self._handle = handle
        # One object, which every client keeps.
        self._bound_may_keep_alive: Callable[[], bool] = self._may_keep_alive if settings.keeps_alive else _never
        self._has_threads = has_threads
        self._one_at_a_time = one_at_a_time
        self._evictor = Evictor(
            loop.hub, clients.serving, clients.is_served, self._is_wanted, self._look_again, is_exempt
        )
        # uWSGI hands out the highest free core first.
        self._free_cores = list(range(slots))
        self._server_name = socket.gethostname()

    def listen(self, sock: socket.socket, endpoint: Endpoint, handle: Handler, *, is_shared: bool) -> None:
        """Begin to accept clients that speak the endpoint's dialect.

        Args:
            sock: The listening socket; it stays the caller's to close.
            endpoint: Its address and dialect.
            handle: Answers the requests that come there by HTTP/1 or a uwsgi packet.
            is_shared: Whether other workers accept from it too.
        """
        name = sock.getsockname()
        port = str(name[1]) if isinstance(name, tuple) else ""

        def serve(client: Any, address: Any) -> None:
            self._serve_client(client, address, endpoint, port, handle)

        listener = Listener(
            sock,
            serve,
            self._clients,
            is_shared=is_shared or self._one_at_a_time,
            when_full=self._evictor.press,
        )
        listener.start()
        self.listeners.append(listener)

    def stop(self) -> None:
        """Stop accepting, and close idle connections.

        Requests and WebSockets go on; the client's next request needs another connection.
        """
        self.is_stopped, self._is_open = True, False
        for listener in self.listeners:
            listener.stop()
        self._close_idle()

    def rest(self) -> None:
        """Do as ``stop`` does, until ``accept_again``."""
        self.is_resting, self._is_open = True, False
        for listener in self.listeners:
            listener.pause()
        self._close_idle()

    def accept_again(self) -> None:
        """Undo ``rest``."""
        if self.is_resting and not self.is_stopped:
            self.is_resting, self._is_open = False, True
            for listener in self.listeners:
                listener.resume()

    def _close_idle(self) -> None:
        for greenlet, front in self._clients.serving():
            front.goodbye()
            if front.request is None and front.is_idle:
                greenlet.kill(Dismissed, block=False)

    def _serve_client(self, client: Any, address: Any, endpoint: Endpoint, server_port: str, handle: Handler) -> None:
        if endpoint.admits is not None and not endpoint.admits.admits(client, address):
            name = peer_name(client, address)
            _log.warning("%s may not connect to --%s %s", name, endpoint.option, endpoint.address)
            client.close()
            return
        if isinstance(address, tuple):
            peer = Peer(address[0], str(address[1]), self._server_name, server_port)
        else:
            peer = Peer("", "", self._server_name, "80")  # a unix socket has no port, and PEP 3333 wants one
        core = self._free_cores.pop()
        try:
            stream = SocketStream(client, self._loop.poller, self._loop.timers, has_threads=self._has_threads)
            is_proxy = endpoint.proxies is not None and endpoint.proxies.admits(client, address)
            if endpoint.has_proxy_header or is_proxy:
                proxied = self._proxied(stream, peer, may_lack=not endpoint.has_proxy_header)
                if proxied is None:
                    return
                peer = proxied
            front = self._front(endpoint, stream, peer, core, handle)
            greenlet: Any = getcurrent()
            greenlet.front = front
            front.run()
        finally:
            self._free_cores.append(core)
            self._clients.give_back(getcurrent())

    def _proxied(self, stream: SocketStream, peer: Peer, *, may_lack: bool) -> Peer | None:
        """Return the client that a proxy speaks for; None, and close the connection, if it does not say.

        Args:
            stream: The proxy's.
            peer: The proxy.
            may_lack: The peer may be a client itself, and send no PROXY header.
        """
        proxied = None
        greenlet: Any = getcurrent()
        greenlet.front = front = ProxyFront(stream)
        try:
            proxied = proxied_peer(stream, peer, self._settings.http.head_timeout, may_lack=may_lack)
        except PeerError as error:
            if not front.is_evicted:  # the evictor has its own line, one for many
                _log.warning("%s: %s", peer.name, error)
        except OSError:
            pass  # the proxy is gone
        finally:
            if proxied is None:
                stream.close()
        return proxied

    def _front(self, endpoint: Endpoint, stream: SocketStream, peer: Peer, core: int, handle: Handler) -> Front:
        """Return what serves a client in the endpoint's dialect."""
        http = self._settings.http
        if endpoint.secure is not None:
            tls = TlsStream(stream, self._settings.certificates[endpoint.secure].context(), self._loop.hub)
            return TlsFront(tls, http.head_timeout, lambda: self._secure_front(tls, peer, core), peer)
        if endpoint.dialect == "http2":
            return self._http2_front(stream, peer, core, handle)
        return _FRONTS[endpoint.dialect](stream, http, peer, core, handle, self._bound_may_keep_alive)

    def _http2_front(self, stream: ClientStream, peer: Peer, core: int, handle: Handler) -> Front:
        from uwsgi_ws.fronts.http2.front import Http2Front  # h2 is optional: it is spoken only where it is installed

        hub, cork = self._loop.hub, self._loop.poller.cork
        front = Http2Front(stream, self._settings.http, peer, core, handle, self._spawn_worker, hub, cork)
        if not self._is_open:  # it was not among those that were told
            front.goodbye()
        return front

    def _secure_front(self, tls: TlsStream, peer: Peer, core: int) -> Front:
        """Return what serves a client in the protocol that it has agreed on."""
        variables = client_variables(tls, self._settings.export_client_certificates)

        def handle(request: Request) -> None:
            request.environ.update(variables)
            self._handle(request)

        peer = replace(peer, scheme="https")
        if tls.protocol == "h2":
            return self._http2_front(tls, peer, core, handle)
        return Http1Front(tls, self._settings.http, peer, core, handle, self._bound_may_keep_alive)

    def _spawn_worker(self, worker: StreamWorker) -> bool:
        """Have a worker of an HTTP/2 connection run; False when all slots are taken."""
        if self._clients.full():
            self._clients.when_free(worker.front.place_is_free)
            self._loop.hub.loop.run_callback(self._evictor.press)
            return False
        self._clients.spawn(self._run_worker, worker)
        return True

    def _run_worker(self, worker: StreamWorker) -> None:
        worker.core = self._free_cores.pop()
        greenlet: Any = getcurrent()
        greenlet.front = worker
        try:
            worker.run()
        finally:
            self._free_cores.append(worker.core)
            self._clients.give_back(greenlet)

    def _is_wanted(self) -> bool:
        """Return whether a client waits for a slot, and none is free."""
        if self.is_stopped or not self._clients.full():
            return False
        return self._clients.has_waiting or any(listener.has_waiting for listener in self.listeners)

    def _look_again(self) -> None:
        for listener in self.listeners:
            listener.look_again()

    def _may_keep_alive(self) -> bool:
        """An idle connection may keep its slot only while others are free."""
        return self._is_open and not self._clients.full()


def _never() -> bool:
    """Return False: no connection is kept alive."""
    return False
