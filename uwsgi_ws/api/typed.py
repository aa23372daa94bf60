"""The package's own API for applications; ``uwsgi_ws`` itself shows it under its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, overload

from uwsgi_ws.channels.bus import current_bus
from uwsgi_ws.channels.events import Event, Gap, MemberJoined, MemberLeft, Published
from uwsgi_ws.channels.overflow import Slow
from uwsgi_ws.channels.roster import Member
from uwsgi_ws.channels.subscription import MAX_WAITING, Subscription
from uwsgi_ws.errors import HandshakeError, InvalidState
from uwsgi_ws.hub.hub_calls import in_hub
from uwsgi_ws.protocol.http.grammar import check_head
from uwsgi_ws.protocol.websocket import handshake
from uwsgi_ws.protocol.websocket.messages import Sendable, as_message
from uwsgi_ws.request.base import Request
from uwsgi_ws.server.clients import is_serving
from uwsgi_ws.websocket.connection import Connection
from uwsgi_ws.wsgi.current import current_request

__all__ = ["accept", "count", "presence", "publish", "served_request", "subscribe"]


def served_request() -> Request:
    """Return the current request.

    Raises:
        InvalidState: another server has called the application.
        SystemError: no request is being handled in this greenlet.
    """
    if not is_serving():
        raise InvalidState("not served by uwsgi_ws: start the application by `python -m uwsgi_ws`")
    return current_request()


def accept(
    environ: dict[str, Any],
    *,
    subprotocols: Sequence[str] = (),
    origins: Iterable[str] | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> Connection:
    """Complete the opening handshake of the current request.

    Args:
        environ: What the application was called with.
        subprotocols: Those it speaks, the best first; the first that the client offers is agreed on, if any.
        origins: Only pages of these may connect, such as ``https://example.org``, or ``same`` for the server's own;
            None leaves it to ``--websockets-origin``. Clients that are not browsers send no Origin and pass.
        headers: Further response headers, such as a cookie.

    Returns:
        The open connection. It is closed when the application returns, at the latest.

    Raises:
        HandshakeError: the request does not ask for a WebSocket (426), or its Origin may not (403). Left alone, it
            becomes the response.
        InvalidState: the request has been answered already, or another server has called the application.
        SystemError: no request is being handled in this greenlet.
    """
    request = served_request()
    if origins is not None and not handshake.is_origin_allowed(environ, environ["wsgi.url_scheme"], tuple(origins)):
        raise HandshakeError(403, "this Origin may not connect here")
    subprotocol = handshake.choose_subprotocol(environ, subprotocols)
    answer = [*check_head("101", list(headers))[1]]
    if subprotocol is not None:
        answer.append(("Sec-WebSocket-Protocol", subprotocol))
    return request.accept(answer, subprotocol)


def publish(
    channel: str,
    message: Sendable,
    *,
    exclude: Connection | None = None,
    history: int | None = None,
    compress: bool = True,
) -> None:
    """Send a message to everyone who is subscribed to a channel, in all workers, and return at once.

    From a request, a WebSocket, any greenlet or thread of a worker. Delivery is at most once, in order for each
    publisher and channel; publishers that have joined get their own messages.

    Args:
        channel: Any name.
        message: ``str`` as text, anything bytes-like as binary.
        exclude: A connection of this worker that does not get it, such as the sender's.
        history: Keep this message, and so many of the channel in all, for those that come back (see ``since`` of
            ``Connection.join``); 0 keeps none. None leaves it to ``--channel-history``.
        compress: Whether WebSockets that take compressed messages get it so; False for what has secrets in it, or is
            compressed already.

    Raises:
        ChannelError: the message is longer than ``--websockets-max-size``.
        InvalidState: this process is no worker; see ``publish_to``.
        TypeError: the message is neither.
    """
    opcode, payload = as_message(message)
    current_bus().publish(channel, opcode, payload, exclude, history, compress)


@overload
def subscribe(
    *channels: str,
    slow: Slow = "close",
    max_bytes: int = MAX_WAITING,
    gaps: Literal[False] = False,
    since: str | Mapping[str, str | None] | None = None,
    positions: Literal[False] = False,
) -> Subscription: ...
@overload
def subscribe(
    *channels: str,
    slow: Slow = "close",
    max_bytes: int = MAX_WAITING,
    gaps: Literal[True],
    since: str | Mapping[str, str | None] | None = None,
    positions: Literal[False] = False,
) -> Subscription[str | bytes | Gap]: ...
@overload
def subscribe(
    *channels: str,
    slow: Slow = "close",
    max_bytes: int = MAX_WAITING,
    gaps: Literal[False] = False,
    since: str | Mapping[str, str | None] | None = None,
    positions: Literal[True],
) -> Subscription[Published]: ...
@overload
def subscribe(
    *channels: str,
    slow: Slow = "close",
    max_bytes: int = MAX_WAITING,
    gaps: Literal[True],
    since: str | Mapping[str, str | None] | None = None,
    positions: Literal[True],
) -> Subscription[Published | Gap]: ...
@overload
def subscribe(
    *channels: str,
    slow: Slow = "close",
    max_bytes: int = MAX_WAITING,
    gaps: Literal[False] = False,
    since: str | Mapping[str, str | None] | None = None,
    positions: Literal[False] = False,
    presence: Literal[True],
) -> Subscription[str | bytes | MemberJoined | MemberLeft]: ...
@overload
def subscribe(
    *channels: str,
    slow: Slow = "close",
    max_bytes: int = MAX_WAITING,
    gaps: bool = False,
    since: str | Mapping[str, str | None] | None = None,
    positions: bool = False,
    presence: Literal[True],
) -> Subscription[str | bytes | Event]: ...
def subscribe(
    *channels: str,
    slow: Slow = "close",
    max_bytes: int = MAX_WAITING,
    gaps: bool = False,
    since: str | Mapping[str, str | None] | None = None,
    positions: bool = False,
    presence: bool = False,
) -> Subscription[Any]:
    """Receive the messages of channels in this greenlet rather than have them sent to a client.

        with uwsgi_ws.subscribe("prices") as messages:
            for message in messages: ...

    Args:
        channels: Any names.
        slow: What is given up when ``max_bytes`` wait: ``close`` the subscription, and ``recv`` raises ChannelError;
            ``drop`` the new message; or ``conflate``: drop those that wait, so that the new one takes their place.
        max_bytes: Bytes that may wait, 136 counted for each message beside its payload.
        gaps: Have ``recv`` return a ``Gap`` where messages may be missing: what they told must be looked up elsewhere.
        since: First receive what came after this position, or after that of each channel; as in ``Connection.join``.
            ``recovered(channel)`` then says whether that is all.
        positions: Have ``recv`` return ``Published`` rather than str and bytes.
        presence: Have ``recv`` return a ``MemberJoined`` or ``MemberLeft`` where a member joins or leaves.

    Raises:
        InvalidState: this process is no worker.
        ValueError: no such ``slow``, or a name that is too long.
    """
    subscription: Subscription[Any] = Subscription(
        current_bus(), max_bytes, gaps=gaps, positions=positions, presence=presence
    )
    try:
        for channel in channels:
            subscription.join(channel, slow, since if since is None or isinstance(since, str) else since.get(channel))
    except BaseException:
        subscription.close()
        raise
    return subscription


def presence(channel: str) -> list[Member]:
    """Return the members of a channel, of all workers and instances, as ``Connection.join`` has made them; do not wait.

    It agrees with the events of ``subscribe(…, presence=True)`` and ``encode``. A worker that has neither a member of
    the channel nor such a listener only begins to ask, and knows all a moment later; it goes on to know them until it
    was not asked for a minute.

    Raises:
        InvalidState: this process is no worker.
        ValueError: the name is longer than 65,535 bytes.
    """
    return in_hub(current_bus().members, channel)


def count(channel: str) -> int:
    """Return how many WebSockets and subscriptions are on a channel now, in all workers of this instance.

    Raises:
        InvalidState: this process is no worker.
    """
    return current_bus().count(channel)
