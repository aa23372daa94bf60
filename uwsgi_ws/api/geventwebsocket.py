"""What applications import as ``geventwebsocket`` where gevent-websocket is not installed.

The errors, and the package's own way to write applications: ``Resource`` maps paths to classes. Its servers are here by
name, as programs import them that start one only when they are run by themselves.

Source: gevent-websocket 0.10.1, geventwebsocket/resource.py and protocols/base.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from uwsgi_ws.api import gevent_websocket
from uwsgi_ws.api.gevent_websocket import Client, FrameTooLargeException, ProtocolError, WebSocket, WebSocketError
from uwsgi_ws.api.offered import offer

__all__ = ["offer_geventwebsocket"]

VERSION = (0, 10, 1, "final", 0)


def get_version(version: tuple[Any, ...] | None = None) -> str:
    """Return the version of the package whose interface this is."""
    return ".".join(str(part) for part in (version or VERSION)[:3])


class BaseProtocol:
    """Passes on what happens to a WebSocket to the application's class."""

    PROTOCOL_NAME = ""

    def __init__(self, app: WebSocketApplication) -> None:
        self._app = app

    def on_open(self) -> None:
        """The WebSocket is there."""
        self.app.on_open()

    def on_message(self, message: Any) -> None:
        """A message has come; None at the end."""
        self.app.on_message(message)

    def on_close(self, reason: Any = None) -> None:
        """The WebSocket has ended."""
        self.app.on_close(reason)

    @property
    def app(self) -> WebSocketApplication:
        """The application."""
        if not self._app:
            raise Exception("No application coupled")
        return self._app

    @property
    def server(self) -> Any:
        """See Handler."""
        return self.handler and self.handler.server

    @property
    def handler(self) -> Any:
        """See WebSocket."""
        return self.app.ws.handler if hasattr(self.app, "ws") else None


class WebSocketApplication:
    """Answers one WebSocket; applications extend it.

    Args:
        ws: The WebSocket.
    """

    protocol_class = BaseProtocol

    def __init__(self, ws: Any) -> None:
        self.protocol = self.protocol_class(self)
        self.ws = ws

    def handle(self) -> None:
        """Serve the WebSocket until it ends."""
        self.protocol.on_open()
        while True:
            try:
                message = self.ws.receive()
            except WebSocketError:
                self.protocol.on_close()
                break
            self.protocol.on_message(message)

    def on_open(self, *args: Any, **kwargs: Any) -> None:
        """The WebSocket is there."""

    def on_close(self, *args: Any, **kwargs: Any) -> None:
        """The WebSocket has ended."""

    def on_message(self, message: Any, *args: Any, **kwargs: Any) -> None:
        """A message has come; None at the end."""
        self.ws.send(message, **kwargs)

    @classmethod
    def protocol_name(cls) -> str:
        """Return the subprotocol that it speaks."""
        return cls.protocol_class.PROTOCOL_NAME


class Resource:
    """A WSGI application made of others, and of classes that answer WebSockets.

    Args:
        apps: Pairs, or a mapping, of regular expressions for the path and what answers there.
    """

    def __init__(self, apps: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        self.apps: Any = apps.items() if isinstance(apps, Mapping) else apps or []

    def _is_websocket_app(self, app: Any) -> bool:
        return isinstance(app, type) and issubclass(app, WebSocketApplication)

    def _app_by_path(self, environ_path: str, is_websocket_request: bool) -> Any:
        for path, app in self.apps:
            if re.match(path, environ_path) and is_websocket_request == self._is_websocket_app(app):
                return app
        return None

    def app_protocol(self, path: str) -> str:
        """Return the subprotocol that is spoken at a path."""
        app = self._app_by_path(path, True)
        return app.protocol_name() if hasattr(app, "protocol_name") else ""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        ws = environ.get("wsgi.websocket")
        app = self._app_by_path(environ["PATH_INFO"], ws is not None)
        if app is None:
            raise Exception("No apps defined")
        if ws is None:
            answer: Iterable[bytes] = app(environ, start_response)
            return answer
        current = app(ws)
        current.ws = ws  # a class of the application's may not have called ours
        current.handle()
        return []


class _Refused:
    """A server, which is there already."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"{type(self).__name__}: gevent-websocket is not installed, and uwsgi_ws serves the application here; "
            "to start it without: pip install gevent-websocket"
        )


class WebSocketHandler(_Refused):
    """For ``gevent.pywsgi.WSGIServer(..., handler_class=WebSocketHandler)``."""


class WebSocketServer(_Refused):
    """A server of its own."""


_ERRORS = {each.__name__: each for each in (FrameTooLargeException, ProtocolError, WebSocketError)}
_RESOURCE = {"Resource": Resource, "WebSocketApplication": WebSocketApplication}
_MODULES: dict[str, dict[str, Any]] = {
    "": {
        **_RESOURCE,
        "VERSION": VERSION,
        "WebSocketError": WebSocketError,
        "WebSocketServer": WebSocketServer,
        "get_version": get_version,
    },
    ".exceptions": _ERRORS,
    ".handler": {"Client": Client, "WebSocketHandler": WebSocketHandler},
    ".protocols": {},
    ".protocols.base": {"BaseProtocol": BaseProtocol},
    ".resource": {**_RESOURCE, "BaseProtocol": BaseProtocol, "WebSocketError": WebSocketError},
    ".server": {"WebSocketServer": WebSocketServer},
    ".websocket": {
        **_ERRORS,
        "WebSocket": WebSocket,
        **{name: getattr(gevent_websocket, name) for name in gevent_websocket.__all__ if name.startswith("MSG_")},
    },
}


def offer_geventwebsocket() -> None:
    """Have ``import geventwebsocket`` find this where it finds no other."""
    for name, content in _MODULES.items():
        offer(f"geventwebsocket{name}", partial(_fill, content))


def _fill(content: dict[str, Any], module: ModuleType) -> None:
    module.__doc__ = __doc__
    module.__dict__.update(content)
