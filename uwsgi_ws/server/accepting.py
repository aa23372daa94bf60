"""Accepts clients, each with the front that its address's dialect needs, and frees slots when all are taken."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
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
from uwsgi_ws.hub.dismissed import Dismissed
from uwsgi_ws.log.rationed import Rationed
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
from uwsgi_ws.server.overload import HEAD_TIMEOUT, Overload

if TYPE_CHECKING:
    from uwsgi_ws.fronts.http2.front import StreamWorker

__all__ = ["Accepting", "FrontSettings"]

_log = Rationed(logging.getLogger("uwsgi_ws.server"))

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
        refuse: Answers each request of a client that comes while the worker is overloaded.
        max_memory: Bytes of resident memory near which it is so; 0 is no bound.
        is_exempt: Returns whether a request's client may be silent, as that of a WebSocket.
        has_threads: Whether native threads may use a client's stream.
        one_at_a_time: Whether one client is accepted at a time: another worker may be free sooner for the next.

    Attributes:
        listeners: One for each listening socket.
        is_stopped: No client is accepted any more.
        is_resting: No client is accepted before ``accept_again``.
        overload: Whether new clients are refused.
    """

    def __init__(
        self,
        loop: EventLoop,
        clients: ClientPool,
        slots: int,
        settings: FrontSettings,
        handle: Handler,
        refuse: Handler,
        max_memory: int,
        is_exempt: Callable[[Request], bool],
        *,
        has_threads: bool,
        one_at_a_time: bool,
    ) -> None:
        self.listeners: list[Listener] = []
        self.is_stopped = self.is_resting = False
        self._is_open = True  # it is neither, nor overloaded; asked for each response
        self._loop = loop
        self._clients = clients
        self._settings = settings
        self._handle = handle
        self._refuse = refuse
        self.overload = Overload(clients, max_memory, self._load_has_changed)
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
            try:
                self._serve_client(client, address, endpoint, port, handle)
            finally:
                self._clients.give_back(getcurrent())

        listener = Listener(
            sock,
            serve,
            self._clients,
            is_shared=is_shared,
            one_at_a_time=self._one_at_a_time,
            when_full=self._evictor.press,
            when_failed=self._accept_failed,
        )
        listener.start()
        self.listeners.append(listener)

    def stop(self) -> None:
        """Stop accepting, and close idle connections.

        Requests and WebSockets go on; the client's next request needs another connection.
        """
        self.is_stopped = True
        self._settle()
        for listener in self.listeners:
            listener.stop()
        self._close_idle()

    def rest(self) -> None:
        """Do as ``stop`` does, until ``accept_again``."""
        self.is_resting = True
        self._settle()
        for listener in self.listeners:
            listener.pause()
        self._close_idle()

    def accept_again(self) -> None:
        """Undo ``rest``."""
        if self.is_resting and not self.is_stopped:
            self.is_resting = False
            self._settle()
            for listener in self.listeners:
                listener.resume()

    def _settle(self) -> None:
        self._is_open = not (self.is_stopped or self.is_resting or self.overload.is_on)

    def _load_has_changed(self) -> None:
        was_open = self._is_open
        self._settle()
        self._hold()
        if was_open and self.overload.is_on:
            self._close_idle(is_leaving=False)

    def _hold(self) -> None:
        """Let further clients wait while too many are being refused, or others have room for them."""
        overload = self.overload
        for listener in self.listeners:
            is_for_others = overload.has_helpers and listener.is_shared
            listener.hold(overload.is_on and (is_for_others or overload.is_crowded))

    def _accept_failed(self, error: OSError) -> None:
        self.overload.fail(f"no client can be accepted ({error.strerror})")
        self._hold()

    def _close_idle(self, *, is_leaving: bool = True) -> None:
        for greenlet, front in self._clients.serving():
            if is_leaving:
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
        settings, overload = self._settings.http, self.overload
        is_refused = client.fileno() >= overload.first_refused
        if is_refused:
            overload.refusing += 1
            overload.begin()
            overload.refused += 1
            self._hold()
            handle, settings = self._refuse, self._refused_settings
        try:
            stream = SocketStream(client, self._loop.poller, self._loop.timers, has_threads=self._has_threads)
            is_proxy = endpoint.proxies is not None and endpoint.proxies.admits(client, address)
            if endpoint.has_proxy_header or is_proxy:
                timeout = settings.head_timeout
                proxied = self._proxied(stream, peer, timeout, may_lack=not endpoint.has_proxy_header)
                if proxied is None:
                    return
                peer = proxied
            front = self._front(endpoint, stream, peer, core, handle, settings)
            greenlet: Any = getcurrent()
            greenlet.front = front
            front.run()
        finally:
            self._free_cores.append(core)
            if is_refused:
                overload.refusing -= 1
                self._hold()

    def _proxied(self, stream: SocketStream, peer: Peer, timeout: float, *, may_lack: bool) -> Peer | None:
        """Return the client that a proxy speaks for; None, and close the connection, if it does not say.

        Args:
            stream: The proxy's.
            peer: The proxy.
            timeout: Seconds for its header.
            may_lack: The peer may be a client itself, and send no PROXY header.
        """
        proxied = None
        greenlet: Any = getcurrent()
        greenlet.front = front = ProxyFront(stream)
        try:
            proxied = proxied_peer(stream, peer, timeout, may_lack=may_lack)
        except PeerError as error:
            if not front.is_evicted:  # the evictor has its own line, one for many
                _log.warning("%s: %s", peer.name, error)
        except OSError:
            pass  # the proxy is gone
        finally:
            if proxied is None:
                stream.close()
        return proxied

    def _front(
        self,
        endpoint: Endpoint,
        stream: SocketStream,
        peer: Peer,
        core: int,
        handle: Handler,
        settings: StreamSettings,
    ) -> Front:
        """Return what serves a client in the endpoint's dialect."""
        if endpoint.secure is not None:
            tls = TlsStream(stream, self._settings.certificates[endpoint.secure].context(), self._loop.hub)
            make = partial(self._secure_front, tls, peer, core, handle, settings)
            return TlsFront(tls, settings.head_timeout, make, peer)
        if endpoint.dialect == "http2":
            return self._http2_front(stream, peer, core, handle, settings)
        return _FRONTS[endpoint.dialect](stream, settings, peer, core, handle, self._keeps_alive(settings))

    @cached_property
    def _refused_settings(self) -> StreamSettings:
        """Those of connections whose client is refused. It has less time, as clients that are in go before it."""
        http = self._settings.http
        return replace(http, head_timeout=min(http.head_timeout, HEAD_TIMEOUT), idle_timeout=HEAD_TIMEOUT)

    def _keeps_alive(self, settings: StreamSettings) -> Callable[[], bool]:
        """Return what says whether a connection may have a further request; that of a refused client never has."""
        return _never if settings is self._refused_settings else self._bound_may_keep_alive

    def _http2_front(
        self, stream: ClientStream, peer: Peer, core: int, handle: Handler, settings: StreamSettings
    ) -> Front:
        from uwsgi_ws.fronts.http2.front import Http2Front  # h2 is optional: it is spoken only where it is installed

        hub, cork = self._loop.hub, self._loop.poller.cork
        front = Http2Front(stream, settings, peer, core, handle, self._spawn_worker, hub, cork)
        # It was not among those that were told.
        if self.is_stopped or self.is_resting or settings is self._refused_settings:
            front.goodbye()
        return front

    def _secure_front(self, tls: TlsStream, peer: Peer, core: int, answer: Handler, settings: StreamSettings) -> Front:
        """Return what serves a client in the protocol that it has agreed on."""
        variables = client_variables(tls, self._settings.export_client_certificates)

        def handle(request: Request) -> None:
            request.environ.update(variables)
            answer(request)

        peer = peer._replace(scheme="https")
        if tls.protocol == "h2":
            return self._http2_front(tls, peer, core, handle, settings)
        return Http1Front(tls, settings, peer, core, handle, self._keeps_alive(settings))

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
