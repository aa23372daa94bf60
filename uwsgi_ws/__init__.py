"""uWSGI's WebSocket API for plain synchronous loops, on a gevent server.

Importing this package starts and patches nothing; names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uwsgi_ws.api.event_streams import event_stream
    from uwsgi_ws.api.typed import accept, count, presence, publish, subscribe
    from uwsgi_ws.channels.client import publish_to
    from uwsgi_ws.channels.events import Gap, MemberJoined, MemberLeft, Membership, Published
    from uwsgi_ws.channels.roster import Member
    from uwsgi_ws.channels.subscription import Subscription
    from uwsgi_ws.errors import ChannelError, ConnectionClosed, Error, HandshakeError, InvalidState
    from uwsgi_ws.request.event_stream import EventStream
    from uwsgi_ws.websocket.broadcast import broadcast
    from uwsgi_ws.websocket.connection import Connection

from uwsgi_ws import _build

__version__ = "0.1.0"

__all__ = [
    "ChannelError",
    "Connection",
    "ConnectionClosed",
    "Error",
    "EventStream",
    "Gap",
    "HandshakeError",
    "InvalidState",
    "Member",
    "MemberJoined",
    "MemberLeft",
    "Membership",
    "Published",
    "Subscription",
    "accept",
    "broadcast",
    "count",
    "event_stream",
    "presence",
    "publish",
    "publish_to",
    "subscribe",
]

_HOMES = {
    "ChannelError": "uwsgi_ws.errors",
    "Connection": "uwsgi_ws.websocket.connection",
    "ConnectionClosed": "uwsgi_ws.errors",
    "Error": "uwsgi_ws.errors",
    "EventStream": "uwsgi_ws.request.event_stream",
    "Gap": "uwsgi_ws.channels.events",
    "HandshakeError": "uwsgi_ws.errors",
    "InvalidState": "uwsgi_ws.errors",
    "Member": "uwsgi_ws.channels.roster",
    "MemberJoined": "uwsgi_ws.channels.events",
    "MemberLeft": "uwsgi_ws.channels.events",
    "Membership": "uwsgi_ws.channels.events",
    "Published": "uwsgi_ws.channels.events",
    "Subscription": "uwsgi_ws.channels.subscription",
    "accept": "uwsgi_ws.api.typed",
    "broadcast": "uwsgi_ws.websocket.broadcast",
    "count": "uwsgi_ws.api.typed",
    "event_stream": "uwsgi_ws.api.event_streams",
    "presence": "uwsgi_ws.api.typed",
    "publish": "uwsgi_ws.api.typed",
    "publish_to": "uwsgi_ws.channels.client",
    "subscribe": "uwsgi_ws.api.typed",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Have ``dir`` and ``help`` know the public names, which only ``help`` then loads."""
    return sorted({*globals(), *__all__})


_build.choose()
