"""What libraries for WebSockets look for in the environ of a request that asks for one.

Each entry is small, and does nothing unless the application uses it.
"""

from __future__ import annotations

from typing import Any

from uwsgi_ws.api.client_socket import ClientSocket
from uwsgi_ws.api.gevent_websocket import WebSocket
from uwsgi_ws.request.acceptor import SOCKET_KEYS
from uwsgi_ws.request.base import Request

__all__ = ["add_for_websocket"]

_WERKZEUG, _GUNICORN = SOCKET_KEYS


def add_for_websocket(environ: dict[str, Any], request: Request, application: Any) -> None:
    """Add the entries to a request's environ.

    Args:
        environ: The request's.
        request: One that asks for a WebSocket.
        application: What answers it.
    """
    environ["wsgi.websocket"] = WebSocket(request, application)
    environ[_WERKZEUG] = sock = ClientSocket(request)
    if environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/"):
        environ[_GUNICORN] = sock
