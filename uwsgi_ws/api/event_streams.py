"""Responses of Server-Sent Events, as applications begin them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from uwsgi_ws.api.typed import served_request
from uwsgi_ws.channels.bus import current_bus
from uwsgi_ws.channels.overflow import Slow
from uwsgi_ws.hub.hub_calls import in_hub
from uwsgi_ws.protocol.http.event_stream import encode_retry
from uwsgi_ws.request.event_stream import EventStream

__all__ = ["event_stream"]

#: What keeps proxies from holding events back: no transformation, by name of nginx, and the connection's end.
_HEADERS = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-cache, no-transform"),
    ("X-Accel-Buffering", "no"),
    ("Connection", "close"),
)


def event_stream(
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    *channels: str,
    slow: Slow = "close",
    retry: float = 2.0,
    headers: Iterable[tuple[str, str]] = (),
) -> EventStream:
    """Begin a response of Server-Sent Events with all that is published on channels, and return it.

        return uwsgi_ws.event_stream(environ, start_response, "prices")

    Each message is an event; a binary one is an event of the type ``binary``, in base64. The stream goes on until the
    client leaves or the server stops or reloads; browsers come back by themselves then. The application need not stay:
    neither a greenlet of its own nor a thread is taken by a stream that it returns as it is.

    Args:
        environ: What the application was called with.
        start_response: Likewise.
        channels: Any names.
        slow: What is given up when a client does not take them in time, as in ``broadcast``.
        retry: Seconds after which a browser comes back; each client is told another time, of half as much to half as
            much again, so that they do not come all at once.
        headers: Further response headers, such as Access-Control-Allow-Origin.

    Raises:
        HandshakeError: too many are open, WebSockets included (503, 429). Left alone, it becomes the response.
        InvalidState: the request has a stream already, or another server has called the application.
        SystemError: no request is being handled in this greenlet.
        ValueError: no such ``slow``, or a name that is too long.
    """
    request: Any = served_request()
    bus = current_bus()
    start_response("200 OK", [*_HEADERS, *headers])
    stream: EventStream = in_hub(request.acceptor.stream_events, request, bus)
    in_hub(stream.open, channels, slow, encode_retry(round(retry * random.uniform(500, 1500))))
    return stream
