"""Passes a request on to another server, and its response back: ``uwsgi:``, ``http:`` and ``httpdumb:``.

Each request has a connection of its own to the backend, so it is always clear whose bytes come next. A request that the
backend answers with 101 becomes a tunnel. Requests and responses are parsed and written anew, so any front may carry
the client's side, and a malformed message of one side never reaches the other.

WebSocket frames go both ways. (uWSGI needs offload threads for that, and speaks HTTP/1.0, which real backends refuse.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

from uwsgi_ws.addresses import Address
from uwsgi_ws.errors import BodyError, ClientGone, RequestError
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.net.dial import dial
from uwsgi_ws.net.stream import SocketStream
from uwsgi_ws.protocol.http.grammar import SPLITTERS, check_head
from uwsgi_ws.protocol.http.hop_by_hop import HOP_BY_HOP
from uwsgi_ws.protocol.http.response import ResponseHead, ResponseParser
from uwsgi_ws.protocol.plain import wire_value
from uwsgi_ws.protocol.uwsgi import encode_packet
from uwsgi_ws.protocol.websocket.handshake import is_websocket
from uwsgi_ws.request.answers import status_line
from uwsgi_ws.request.base import Request
from uwsgi_ws.routing.request import RoutedRequest
from uwsgi_ws.websocket.tunnel import Tunnel

__all__ = ["Forwarder", "Timeouts", "http_head", "uwsgi_head"]

_log = logging.getLogger("uwsgi_ws.routing")

#: Headers that concern the client's connection only, or that this server writes itself.
_NOT_FORWARDED = frozenset(
    "HTTP_" + name.upper().replace("-", "_")
    for name in (*HOP_BY_HOP, "expect", "host", "x-forwarded-for", "x-forwarded-proto")
)
#: Characters that a request target may hold (RFC 3986); percent signs too, as it is encoded already.
_TARGET = "!#$%&'()*+,-./:;=?@[]_~"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a backend may take, in seconds.

    Args:
        connect: For the connection.
        idle: Without progress in either direction.
    """

    connect: float
    idle: float


class Forwarder:
    """Passes requests on for a worker.

    Attributes:
        tunnels: The WebSockets that go through it now, by the front's request.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self.tunnels: dict[Request, Tunnel] = {}
        self._timeouts = timeouts

    def start(self, poller: Poller, timers: Timers) -> None:
        """Begin to work for a worker, by its poller and timers; before the first request."""
        self._poller = poller
        self._timers = timers

    def forward(self, request: RoutedRequest, address: Address, make_head: Callable[[RoutedRequest], bytes]) -> None:
        """Answer a request with what a backend answers.

        Args:
            request: Its body has not been read.
            address: The backend's.
            make_head: Returns the head of the request to the backend.

        Raises:
            RequestError: 502, the backend cannot be reached or does not speak the protocol; 504, it takes too long;
                400, 413, 431, the request cannot be written in the backend's protocol.
        """
        if "REQUEST_METHOD" not in request.environ:
            raise RequestError(500, "the application has left nothing of the request")
        head = make_head(request)
        backend = self._connect(request, address)
        try:
            _Exchange(request, backend, str(address), self._timeouts.idle, self._timers, self.tunnels).run(head)
        finally:
            backend.close()

    def _connect(self, request: RoutedRequest, address: Address) -> SocketStream:
        timeout = self._timeouts.connect
        try:
            return dial(address, timeout, self._poller, self._timers)
        except TimeoutError:
            _log.error("%s: no connection to %s within %g s", request.environ.get("REQUEST_URI"), address, timeout)
            raise RequestError(504, "the backend does not answer") from None
        except OSError as exc:
            _log.error("%s: no connection to %s: %s", request.environ.get("REQUEST_URI"), address, exc.strerror or exc)
            raise RequestError(502, "the backend cannot be reached") from exc


class _Exchange:
    """One request and its response."""

    def __init__(
        self,
        request: RoutedRequest,
        backend: SocketStream,
        name: str,
        idle_timeout: float,
        timers: Timers,
        tunnels: dict[Request, Tunnel],
    ) -> None:
        self._request = request
        self._backend = backend
        self._name = name
        self._idle_timeout = idle_timeout
        self._timers = timers
        self._tunnels = tunnels
        self._parser = ResponseParser(is_head=request.environ["REQUEST_METHOD"] == "HEAD")

    def run(self, head: bytes) -> None:
        self._send_request(head)
        try:
            answer = self._read_head()
        except RequestError as error:
            _log.error("%s: %s: %s", self._request.environ.get("REQUEST_URI"), self._name, error.reason)
            raise
        if answer.code == 101:
            self._upgrade(answer)
        else:
            self._respond(answer)

    def _send_request(self, head: bytes) -> None:
        """Send the request; a backend that closes its side early may have answered already."""
        backend, timeout = self._backend, self._idle_timeout
        try:
            backend.send_all(head, timeout)
            for piece in _body(self._request):
                backend.send_all(piece, timeout)
        except (BodyError, RequestError):
            raise
        except TimeoutError:
            raise self._late() from None
        except OSError:
            pass  # the backend has closed its side: look for its answer

    def _late(self) -> RequestError:
        target = self._request.environ.get("REQUEST_URI")
        _log.error("%s: %s made no progress for %g s", target, self._name, self._idle_timeout)
        return RequestError(504, "the backend takes too long")

    def _receive(self) -> None:
        """Read once from the backend, into the parser."""
        try:
            data = self._backend.recv(self._idle_timeout)
        except TimeoutError:
            raise self._late() from None
        except OSError:
            data = b""
        self._parser.receive(data)

    def _read_head(self) -> ResponseHead:
        while self._parser.head is None:
            self._receive()
        head = self._parser.head
        try:
            check_head(_status(head), head.headers)
        except (TypeError, ValueError) as exc:
            raise RequestError(502, "the backend's response has a malformed head") from exc
        if head.code == 101 and not is_websocket(self._request.environ):
            raise RequestError(502, "the backend switches to a protocol that the client did not ask for")
        return head

    def _respond(self, head: ResponseHead) -> None:
        request, parser = self._request, self._parser
        request.write_head(_status(head), head.headers, head.content_length)
        try:
            while True:
                if body := parser.take_body():
                    request.write_body(body)
                if parser.is_complete:
                    break
                self._receive()
        except ClientGone:
            raise
        except RequestError as error:
            _log.error("%s: %s: %s", request.environ.get("REQUEST_URI"), self._name, error.reason)
            request.abandon()
            return
        request.finish()

    def _upgrade(self, head: ResponseHead) -> None:
        request = self._request
        # The front writes Sec-WebSocket-Accept itself, from the same key.
        headers = [each for each in head.headers if each[0].lower() != "sec-websocket-accept"]
        client, early = request.upgrade(head.reason or "Switching Protocols", headers)
        tunnel = Tunnel(client, self._backend, self._timers, self._idle_timeout)
        self._tunnels[request.front_request] = tunnel
        try:
            tunnel.run(early, self._parser.rest)
        finally:
            del self._tunnels[request.front_request]
            request.body_bytes = tunnel.bytes_to_client
        if tunnel.was_idle:
            _log.warning("%s: nothing came for %g s, closed", request.environ.get("REQUEST_URI"), self._idle_timeout)


def _status(head: ResponseHead) -> str:
    return f"{head.code} {head.reason}" if head.reason else status_line(head.code)


class _Framing(Enum):
    """How a request's body goes to a backend: not at all, with its length told before, or in chunks."""

    NONE = 0
    COUNTED = 1
    CHUNKED = 2


def _framing(request: RoutedRequest) -> _Framing:
    """Return how a request's body goes to a backend.

    Once a response has begun, the body may have been read, so none is sent. An HTTP/2 request may have a body that no
    header announces (RFC 9113 8.1.1).
    """
    environ = request.environ
    if is_websocket(environ) or request.is_begun:
        return _Framing.NONE
    if environ.get("CONTENT_LENGTH"):
        return _Framing.COUNTED
    if environ.get("HTTP_TRANSFER_ENCODING") or request.has_body():
        return _Framing.CHUNKED
    return _Framing.NONE


def _body(request: RoutedRequest) -> Iterator[bytes]:
    """Yield the request's body as it goes to a backend."""
    match _framing(request):
        case _Framing.COUNTED:
            while piece := request.read_body():
                yield piece
        case _Framing.CHUNKED:
            while piece := request.read_body():
                yield b"%x\r\n%b\r\n" % (len(piece), piece)
            yield b"0\r\n\r\n"


def uwsgi_head(request: RoutedRequest, modifier1: int, modifier2: int, app_id: str) -> bytes:
    """Return the packet with which a request to a uwsgi server begins.

    Raises:
        RequestError: 431, its variables are more than a packet can hold.
    """
    variables = {name: wire_value(value) for name, value in request.environ.items() if isinstance(value, str)}
    if request.scheme == "https":
        variables["HTTPS"] = "on"
    if app_id:
        variables["UWSGI_APPID"] = app_id
    if request.is_begun:  # see _framing
        variables["CONTENT_LENGTH"] = ""
        variables.pop("HTTP_TRANSFER_ENCODING", None)
    elif _framing(request) is _Framing.CHUNKED:
        variables.setdefault("HTTP_TRANSFER_ENCODING", "chunked")
    try:
        return encode_packet(variables.items(), modifier1, modifier2)
    except ValueError as exc:
        raise RequestError(431, "the request's variables are too long for a uwsgi packet") from exc


def http_head(request: RoutedRequest, host: str, target: str) -> bytes:
    """Return the head with which a request to an HTTP server begins.

    Args:
        request: To be passed on.
        host: For the Host header; empty for the client's own.
        target: For the request line; empty for the client's own.

    Raises:
        RequestError: 400, there would be a line break in a header.
    """
    environ = request.environ
    target = quote(wire_value(target or environ.get("REQUEST_URI") or "/").encode("latin-1"), safe=_TARGET)
    peer = environ.get("REALIP_REMOTE_ADDR") or environ.get("REMOTE_ADDR")
    forwarded = ", ".join(filter(None, (environ.get("HTTP_X_FORWARDED_FOR"), peer)))
    headers = [("Host", host or environ.get("HTTP_HOST", ""))]
    # RFC 9110 7.6.1: headers that the client's Connection header lists are for this hop only.
    listed = environ.get("HTTP_CONNECTION", "").upper().replace("-", "_").split(",")
    dropped = _NOT_FORWARDED.union(f"HTTP_{word.strip()}" for word in listed)
    for name, value in environ.items():
        if name.startswith("HTTP_") and name not in dropped:
            headers.append((name[5:].replace("_", "-").title(), value))
    if forwarded:
        headers.append(("X-Forwarded-For", forwarded))
    if request.scheme == "https" or "HTTP_X_FORWARDED_PROTO" in environ:
        headers.append(("X-Forwarded-Proto", request.scheme))
    if environ.get("CONTENT_TYPE"):
        headers.append(("Content-Type", environ["CONTENT_TYPE"]))
    if is_websocket(environ):
        headers += [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    else:
        headers.append(("Connection", "close"))
        match _framing(request):
            case _Framing.COUNTED:
                headers.append(("Content-Length", environ["CONTENT_LENGTH"]))
            case _Framing.CHUNKED:
                headers.append(("Transfer-Encoding", "chunked"))
            case _Framing.NONE if environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING"):
                headers.append(("Content-Length", "0"))
    lines = [f"{environ['REQUEST_METHOD']} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if any(SPLITTERS.search(line) for line in lines):
        raise RequestError(400, "a header for the backend would have a line break in it")
    return wire_value("\r\n".join([*lines, "", ""])).encode("latin-1")
