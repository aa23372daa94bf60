"""Responses of Server-Sent Events, as applications begin them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from uwsgi_ws.api.typed import served_request
from uwsgi_ws.channels.bus import current_bus
from uwsgi_ws.channels.events import Encode
from uwsgi_ws.channels.overflow import Slow
from uwsgi_ws.channels.positions import LATEST
from uwsgi_ws.hub.hub_calls import in_hub
from uwsgi_ws.request.event_stream import EventStream

__all__ = ["event_stream"]

#: What keeps proxies from holding events back: no transformation, by name of nginx, and the connection's end.
_HEADERS = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-cache, no-transform"),
    ("X-Accel-Buffering", "no"),
    ("Connection", "close"),
)
#: A page cannot set headers of an EventSource; JavaScript's own name for it.
_PARAMETER = "lastEventId"


def event_stream(
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    *channels: str,
    slow: Slow = "close",
    since: str = LATEST,
    encode: Encode | None = None,
    member: dict[str, Any] | None = None,
    retry: float = 2.0,
    headers: Iterable[tuple[str, str]] = (),
) -> EventStream:
    """Begin a response of Server-Sent Events with all that is published on channels, and return it.

        return uwsgi_ws.event_stream(environ, start_response, "prices")

    Each message is an event; a binary one is an event of the type ``binary``, in base64. The stream goes on until the
    client leaves or the server stops or reloads; browsers come back by themselves then. The application need not stay:
    neither a greenlet of its own nor a thread is taken by a stream that it returns as it is.

    A client that comes back, and by Last-Event-ID or the parameter ``lastEventId`` names the last event that it has
    seen, first gets what it has missed, where the channels keep that. Then an event of the type ``recovered`` says that
    this was all; or one of the type ``gap``, its data the channel, stands where messages may be missing. What is missed
    is waited for, a few seconds at most.

    Args:
        environ: What the application was called with.
        start_response: Likewise.
        channels: Any names, each once.
        slow: What is given up when a client does not take them in time, as in ``broadcast``.
        since: Where a client begins that names no event: ``latest``, or ``oldest`` for all that is kept.
        encode: Returns the data of an event for what happens on a channel, or None for no event: as in
            ``Connection.join``.
        member: What others see of the client, which is a member of the channels then: as in ``Connection.join``.
        retry: Seconds after which a browser comes back; each client is told another time, of half as much to half as
            much again, so that they do not come all at once.
        headers: Further response headers, such as Access-Control-Allow-Origin.

    Raises:
        HandshakeError: too many are open, WebSockets included (503, 429). Left alone, it becomes the response.
        InvalidState: the request has a stream already, or another server has called the application.
        SystemError: no request is being handled in this greenlet.
        TypeError: ``encode`` is not hashable, or ``member`` no dict, or no JSON.
        ValueError: no such ``slow``, a name that is too long, or one twice, or ``member`` is too large.
    """
    request: Any = served_request()
    bus = current_bus()
    if len(set(channels)) < len(channels):
        raise ValueError("a channel is named twice")
    start_response("200 OK", [*_HEADERS, *headers])
    stream: EventStream = in_hub(request.acceptor.stream_events, request, bus)
    in_hub(
        stream.open,
        channels,
        slow,
        retry=round(retry * random.uniform(500, 1500)),
        last_id=_last_id(environ),
        since=since,
        encode=encode,
        member=member,
    )
    return stream


def _last_id(environ: dict[str, Any]) -> str:
    """Return the last event that a client has seen; empty if it names none."""
    by_header: str = environ.get("HTTP_LAST_EVENT_ID", "")
    return by_header or parse_qs(environ.get("QUERY_STRING", "")).get(_PARAMETER, [""])[0]
