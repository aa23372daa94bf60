"""The WebSockets of a worker as those who operate it see them: one dict each, of what JSON can say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import monotonic
from typing import Any

from uwsgi_ws.log.records import text_of
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.identity import KEY
from uwsgi_ws.server.kept import KeptRequest
from uwsgi_ws.server.server import Server

#: Characters of a path that are shown; a client may send as many as a head may have.
_LONGEST_PATH = 1_000

__all__ = ["connection_id", "describe", "find", "requests_with_websockets"]


def connection_id(request: Request | KeptRequest) -> str:
    """Return what a WebSocket is called: its process, and which of its requests it was."""
    return f"{os.getpid()}-{request.request_id}"


def requests_with_websockets(server: Server) -> Iterator[tuple[Request | KeptRequest, Any]]:
    """Yield each request that has become a WebSocket, or what is left of it, with the WebSocket."""
    for _, front in server.clients():
        request = front.request
        if request is not None and (websocket := server.websocket_of(request)) is not None:
            yield request, websocket
    yield from server.kept.requests()


def find(server: Server, name: str) -> Any:
    """Return the WebSocket of that name; None where there is none."""
    for request, websocket in requests_with_websockets(server):
        if connection_id(request) == name:
            return websocket
    return None


def describe(request: Request | KeptRequest, websocket: Any, worker_id: int) -> dict[str, Any]:
    """Return what there is to say of a WebSocket; None where only the application or a backend knows it.

    Times are seconds: ``age`` since its request came, ``idle`` since the peer was heard, ``ping`` until its last pong.
    ``queue`` is bytes that wait for a slow peer.
    """
    environ, now = request.environ, monotonic()
    heard_at = getattr(websocket, "_heard_at", None)
    latency = getattr(websocket, "latency", None)
    outbox = getattr(websocket, "_outbox", None)
    label = getattr(websocket, "label", None) or ("", "")
    return {
        "id": connection_id(request),
        "worker": worker_id,
        "peer": f"{environ.get('REMOTE_ADDR', '')}:{environ.get('REMOTE_PORT', '')}",
        "path": (text_of(environ.get("SCRIPT_NAME")) + text_of(environ.get("PATH_INFO")))[:_LONGEST_PATH],
        "carrier": label[0],
        "route": label[1],
        "state": "open" if websocket.is_open else "closing",
        "age": round(now - request.began_at, 3),
        "idle": None if heard_at is None else round(now - heard_at, 3),
        "ping": None if latency is None else round(latency, 6),
        "queue": 0 if outbox is None else outbox.queued,
        "request": environ.get(KEY, ""),
        **{
            name: value if isinstance(value := getattr(websocket, name, None), int) else None
            for name in ("messages_received", "messages_sent", "bytes_received", "bytes_sent")
        },
    }
