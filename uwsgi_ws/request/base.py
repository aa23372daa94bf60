"""What every front yields: a request that carries its own answer.

A front subclasses ``Request`` with the ways to read a body, to write a response and to switch protocols over its
carrier. What handles requests (routing, WSGI, the ``uwsgi`` module) knows only this interface.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import socket

    from uwsgi_ws.channels.bus import Bus
    from uwsgi_ws.channels.subscription import Subscription
    from uwsgi_ws.net.base import Stream
    from uwsgi_ws.request.event_stream import EventStream
    from uwsgi_ws.websocket.connection import Connection

__all__ = ["Front", "Headers", "Request", "client_address", "client_scheme", "pass_attributes_on", "says_on"]

Headers = Sequence[tuple[str, str]]


class Front(Protocol):
    """Serves one client in the dialect of the address that it came to."""

    @property
    def request(self) -> Request | None:
        """A request being answered; None while the client owes us one."""

    @property
    def is_idle(self) -> bool:
        """Whether it is between two requests, so that the client expects its connection may be closed."""

    @property
    def has_streams(self) -> bool:
        """Whether it is needed for requests that other greenlets answer."""

    @property
    def owes_since(self) -> float:
        """When we began to wait for the client's next request, whole (monotonic); infinite while we do not."""

    @property
    def has_moments(self) -> bool:
        """Whether many share it, so that it is idle for a moment now and then without meaning anything by it."""

    def progress(self) -> int | None:
        """Return how many bytes the client has sent and taken so far; None while its request does not wait for it.

        Only the difference of two of them means something.
        """

    def run(self) -> None:
        """Serve the client until its connection ends or is handed over."""

    def evict(self) -> None:
        """Its place is needed: end its wait for the client, as if time were up; the hub calls it."""

    def goodbye(self) -> None:
        """The server stops: tell the client, where the dialect has a way to."""


class Accepts(Protocol):
    """Makes WebSockets of requests."""

    def accept(self, request: Request, headers: Headers, subprotocol: str | None, reason: str) -> Connection:
        """See ``Request.accept``."""

    def hand_over(self, request: Request, headers: Headers, reason: str) -> socket.socket:
        """Answer the opening handshake, and return a socket for the application to speak WebSocket by itself.

        Raises: as ``Request.accept``; OSError also when no descriptors are left.
        """

    def stream_events(self, request: Request, bus: Bus) -> EventStream:
        """Return an event stream for the request's response, which is also its ``event_stream``.

        Raises:
            HandshakeError: there are too many, WebSockets included.
            InvalidState: it has one already.
        """


class Request:
    """One request and its response, from the first line to the access line.

    The response goes out in order: ``write_head`` once, ``write_body`` any number of times, ``finish`` once; or
    ``upgrade`` instead of all three.

    What raises NotImplementedError here is each kind's own to do. (Compiled, a class has no ABC to insist on it; a test
    does.)

    Attributes:
        environ: CGI variables; the WSGI runner completes them, and ``end`` empties them.
        acceptor: Makes a WebSocket of it; the worker's.
        websocket: The connection it became, if it did; or a HandedOver.
        event_stream: What its response shall be, if the application has made one.
        status: Status code sent; 0 before.
        header_count: Response headers sent.
        header_bytes: Bytes of the response head.
        body_bytes: Bytes of the response body, before any transfer coding.
        head_size: Bytes of the request head.
        started_at: When it came, for people: seconds since the epoch, by a clock that may be set.
        began_at: The same, to measure by (monotonic).
        core: Which of the worker's places it has, from 0.
        logvars: What the application set with ``uwsgi.set_logvar``.
        subscriptions: By channel, what it joined with ``uwsgi.channel_join``; closed when the request is over.
        is_over: ``end`` has been called.
    """

    __slots__ = (
        "acceptor",
        "began_at",
        "body_bytes",
        "core",
        "environ",
        "event_stream",
        "head_size",
        "header_bytes",
        "header_count",
        "is_over",
        "log_this",
        "logvars",
        "request_id",
        "started_at",
        "status",
        "subscriptions",
        "variable_count",
        "websocket",
    )

    #: What it came by, as ``--metrics`` calls it.
    carrier = "http1"

    def __init__(self, environ: dict[str, Any], head_size: int, core: int) -> None:
        self._set_up(environ, head_size, core)

    def _set_up(self, environ: dict[str, Any], head_size: int, core: int) -> None:
        self.environ = environ
        self.acceptor: Accepts | None = None
        self.head_size = head_size
        self.core = core
        self.started_at = time()
        self.began_at = monotonic()
        self.variable_count = len(environ)
        self.websocket: Connection | None = None
        self.event_stream: EventStream | None = None
        self.status = 0
        self.header_count = 0
        self.header_bytes = 0
        self.body_bytes = 0
        self.request_id = 0
        self.logvars: dict[str, str] | None = None
        self.log_this = True
        self.subscriptions: dict[str, Subscription] | None = None
        self.is_over = False

    def end(self) -> None:
        """The server is done with it, if not yet its front: the rest of an unread body may still come."""
        self.is_over = True
        if self.subscriptions is not None:
            for subscription in self.subscriptions.values():
                subscription.close()
        if self.event_stream is not None:
            self.event_stream.dismiss()
            self.event_stream = None
        # wsgi.input knows the request, so the two would keep each other until a collection.
        self.environ = {}

    def accept(self, headers: Headers, subprotocol: str | None, reason: str = "Switching Protocols") -> Connection:
        """Answer the opening handshake and return the open connection, which is also ``websocket``.

        Args:
            headers: Further response headers, Sec-WebSocket-Protocol among them.
            subprotocol: What ``Connection.subprotocol`` shall be.
            reason: The status line's text.

        Raises:
            HandshakeError: 426, the request did not ask for a WebSocket.
            InvalidState: it is one already, or its response has begun.
            OSError: the client is gone.
        """
        asked: Any = self  # compiled, a request that stands in front of another has empty slots of its own
        connection: Connection = asked.acceptor.accept(self, headers, subprotocol, reason)
        return connection

    @property
    def is_head_written(self) -> bool:
        """Whether the response can no longer be changed."""
        return self.status != 0

    @property
    def bytes_sent(self) -> int:
        """Bytes that went out for it: head, body, and the frames of the WebSocket that it became."""
        sent = self.header_bytes + self.body_bytes
        return sent if self.websocket is None else sent + self.websocket.bytes_sent

    @property
    def scheme(self) -> str:
        """``http`` or ``https``: how the client reached the site, be it by way of proxies."""
        return client_scheme(self.environ) or self.carrier_scheme

    @property
    def carrier_scheme(self) -> str:
        """``http`` or ``https``: how the sender of the request reached us. Only ``scheme`` asks."""
        raise NotImplementedError

    @property
    def can_sendfile(self) -> bool:
        """Whether ``write_file`` may be used for a body of known length."""
        raise NotImplementedError

    @property
    def takes_body(self) -> bool:
        """Whether what is written of a body goes anywhere: no route has answered instead."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the client's socket; -1 when there is none."""
        raise NotImplementedError

    def read_body(self) -> bytes:
        """Wait for the next piece of the request body; ``b""`` at its end.

        Raises:
            BodyError: it is malformed, too large, late, or cut short.
        """
        raise NotImplementedError

    def read_body_now(self) -> bytes | None:
        """Return what ``read_body`` would if it need not wait, else None."""
        raise NotImplementedError

    def write_head(self, status: str, headers: Headers, body_length: int | None) -> None:
        """Begin the response.

        Args:
            status: Such as ``200 OK``.
            headers: Checked already (PEP 3333, no CR or LF).
            body_length: Bytes of the body to come, None if not known.
        """
        raise NotImplementedError

    def write_body(self, data: bytes) -> None:
        """Send a piece of the body; waits while the client is slow.

        Raises:
            OSError: the client is gone, or took nothing for too long.
        """
        raise NotImplementedError

    def write_file(self, fd: int, offset: int, count: int) -> int:
        """Send part of a file as body, uncopied; return the bytes sent, fewer when the file is shorter."""
        raise NotImplementedError

    def finish(self) -> None:
        """End the response."""
        raise NotImplementedError

    def write_last(self, data: bytes) -> None:
        """``write_body`` and ``finish`` in one, for a caller that has nothing more to do in between."""
        self.write_body(data)
        self.finish()

    def hand_body_over(self, when_lost: Callable[[], object]) -> tuple[Stream, bool]:
        """Send the head, and let the caller write the body from now on; ``finish`` or ``abandon`` is next.

        Nothing more is wanted of the client.

        Args:
            when_lost: Called in the hub, perhaps more than once, when the client has left.

        Returns:
            Where to write the body, without waiting, and whether by chunks.

        Raises:
            OSError: the client is gone, or took nothing for too long.
        """
        raise NotImplementedError

    def abandon(self) -> None:
        """End a response that cannot be completed so that the client notices."""
        raise NotImplementedError

    def upgrade(self, reason: str, headers: Headers) -> tuple[Stream, bytes]:
        """Accept the opening handshake: send its answer and hand over the stream and the bytes that came early.

        Args:
            reason: The status line's text where the carrier has one.
            headers: Everything but Upgrade, Connection and Sec-WebSocket-Accept, which the carrier adds.
        """
        raise NotImplementedError

    def disconnect(self) -> None:
        """Drop the client's connection at once."""
        raise NotImplementedError


#: What a scheme may be called; Traefik calls a WebSocket's wss.
_SCHEMES = {"https": "https", "wss": "https", "http": "http", "ws": "http"}


def client_scheme(variables: dict[str, Any]) -> str | None:
    """Return the client's scheme as a route, a proxy or a front server has said it; None when nobody has.

    The order is uWSGI's; REQUEST_SCHEME, which nginx's uwsgi_params have, comes last. HTTP/2's ``:scheme`` is not
    asked: haproxy (2.6) says https for every client.

    Source: uWSGI's plugins/python/wsgi_subhandler.c.
    """
    said = variables.get("UWSGI_SCHEME") or variables.get("HTTP_X_FORWARDED_PROTO")
    if said:
        # Of several proxies the first is the client's own.
        known = _SCHEMES.get(said.partition(",")[0].strip(" \t").lower())
        if known is not None:
            return known
    said = variables.get("HTTPS")
    if said and says_on(said):
        return "https"
    said = variables.get("HTTP_X_FORWARDED_SSL")
    if said and says_on(said):
        return "https"
    said = variables.get("REQUEST_SCHEME")
    return _SCHEMES.get(said.lower()) if said else None


def client_address(variables: dict[str, Any]) -> tuple[str, int]:
    """Return the client's address as a socket's ``getpeername`` would."""
    port = variables.get("REMOTE_PORT", "")
    return variables.get("REMOTE_ADDR", ""), int(port) if port.isascii() and port.isdigit() else 0


def says_on(value: str) -> bool:
    """Read a switch such as HTTPS as uWSGI does."""
    return value[:2].lower() == "on" or value[:1] == "1"


def pass_attributes_on(stand_in: type[Request], inner: str) -> None:
    """Have a class that stands in front of another request read and set that one's attributes in place of its own.

    Args:
        stand_in: The class; its methods pass on what they like themselves.
        inner: Its attribute with the other request.
    """

    def passed_on(name: str) -> property:
        def get(self: Request) -> Any:
            return getattr(getattr(self, inner), name)

        def put(self: Request, value: Any) -> None:
            setattr(getattr(self, inner), name, value)

        return property(get, put)

    # The last too: compiled, it looks into its own object's slots.
    for name in (*Request.__slots__, "carrier", "is_head_written"):
        setattr(stand_in, name, passed_on(name))
