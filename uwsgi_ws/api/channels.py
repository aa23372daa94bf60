"""The channel functions of the ``uwsgi`` module: those of 1.5-dev, which no release of uWSGI has had.

Unlike there, names need no ``--channel``, ``channel_leave`` leaves, and a client gets the messages of what it has
joined whether or not the application is inside ``websocket_recv``.

Source: uWSGI 1.5-dev (2013-01-31), plugins/python/uwsgi_pymodule.c and core/channels.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uwsgi_ws.channels.bus import current_bus
from uwsgi_ws.channels.records import plain_name
from uwsgi_ws.channels.subscription import MAX_WAITING, Subscription
from uwsgi_ws.errors import ChannelError, Error
from uwsgi_ws.protocol.plain import is_text, plain_bytes
from uwsgi_ws.protocol.websocket.frames import BINARY, TEXT
from uwsgi_ws.websocket.connection import Connection
from uwsgi_ws.wsgi.current import current_request

__all__ = ["FUNCTIONS"]

_NO_WEBSOCKET = "unable to join websocket channel: there has been no handshake"
_SEND_FAILED = "unable to send channel message"
_RECV_FAILED = "unable to receive channel message"


def _name(name: str | bytes) -> str:
    return bytes.decode(name, "utf-8", "surrogateescape") if isinstance(name, bytes) else plain_name(name)


def _websocket() -> Connection:
    websocket = current_request().websocket
    if websocket is None:
        raise ChannelError(_NO_WEBSOCKET)
    return websocket


def websocket_channel_join(name: str | bytes, /) -> None:
    """Have a channel's messages sent to this request's client from now on.

    Raises:
        OSError: the request is no WebSocket, or it has ended.
    """
    _websocket().join(_name(name))


def websocket_channel_leave(name: str | bytes, /) -> None:
    """Undo ``websocket_channel_join``.

    Raises:
        OSError: the request is no WebSocket.
    """
    _websocket().leave(_name(name))


def channel_join(name: str | bytes, /) -> None:
    """Have a channel's messages kept for ``channel_recv`` until the request ends.

    Messages that nobody takes in time are dropped, as uWSGI does.
    """
    request = current_request()
    if request.subscriptions is None:
        request.subscriptions = {}
    channel = _name(name)
    if channel not in request.subscriptions:
        subscription = Subscription(current_bus(), MAX_WAITING)  # what uWSGI's datagram sockets hold is less
        subscription.join(channel, "drop")
        request.subscriptions[channel] = subscription


def channel_leave(name: str | bytes, /) -> None:
    """Undo ``channel_join``; what has not been received is lost."""
    subscription = (current_request().subscriptions or {}).pop(_name(name), None)
    if subscription is not None:
        subscription.close()


def channel_send(name: str | bytes, message: str | bytes, /) -> None:
    """Send a message to all who have joined a channel; the sender need not have.

    It is text, as in uWSGI; bytes that are no UTF-8 go as binary, since a browser ends the connection over such text.

    Raises:
        OSError: the message is too large.
    """
    if isinstance(message, str):
        opcode, payload = TEXT, str.encode(message)
    elif isinstance(message, bytes):
        payload = plain_bytes(message)
        opcode = TEXT if is_text(payload) else BINARY
    else:
        raise TypeError(f"argument 2 must be str or read-only bytes-like object, not {type(message).__name__}")
    try:
        current_bus().publish(_name(name), opcode, payload)
    except Error as exc:
        raise ChannelError(_SEND_FAILED) from exc


def channel_recv(name: str | bytes, timeout: float = -1, /) -> bytes | None:
    """Return the next message of a channel joined by ``channel_join``, as bytes.

    Args:
        name: The channel's.
        timeout: Seconds to wait; a negative number waits for ever, 0 only looks.

    Returns:
        None when no message has come in time.

    Raises:
        OSError: the channel has not been joined.
    """
    subscription = (current_request().subscriptions or {}).get(_name(name))
    if subscription is None:
        raise ChannelError(_RECV_FAILED)
    try:
        message = subscription.recv_message(None if timeout < 0 else timeout)
    except ChannelError as exc:
        raise ChannelError(_RECV_FAILED) from exc
    return None if message is None else message[1]


FUNCTIONS: tuple[Callable[..., Any], ...] = (
    websocket_channel_join,
    websocket_channel_leave,
    channel_join,
    channel_leave,
    channel_send,
    channel_recv,
)
