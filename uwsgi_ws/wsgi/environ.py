"""The environ that applications see: a request's CGI variables, what PEP 3333 demands, and what uWSGI adds."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any

from uwsgi_ws.protocol.websocket.handshake import is_websocket
from uwsgi_ws.request.base import Request, says_on
from uwsgi_ws.wsgi.input import BodyFile
from uwsgi_ws.wsgi.response import FileWrapper

__all__ = ["EnvironBase"]


class ErrorLog:
    """``wsgi.errors``: writes text to the server's log, also after that is reopened elsewhere."""

    def write(self, text: str) -> int:
        """Write text as it is."""
        return sys.stderr.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the log."""
        sys.stderr.flush()


class EnvironBase:
    """The part of the environ that all requests of a worker share; ``complete`` adds it and the request's own.

    Values and keys are the same objects in every environ: with thousands of open WebSockets each object counts.

    Args:
        version: The version of uWSGI whose API this is.
        cores: The worker's slots.
        multithread: Whether other threads of this process call the application.
        multiprocess: Whether other processes do.
        add_for_websocket: Called with environ, request and application where the request asks for a WebSocket.
    """

    __slots__ = ("_add_for_websocket", "_has_cores", "_shared")

    def __init__(
        self,
        version: bytes,
        cores: int,
        *,
        multithread: bool = False,
        multiprocess: bool = False,
        add_for_websocket: Callable[[dict[str, Any], Request, Any], None] | None = None,
    ) -> None:
        self._has_cores = cores > 1
        self._add_for_websocket = add_for_websocket
        self._shared: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.errors": ErrorLog(),
            "wsgi.multithread": multithread,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
            "uwsgi.version": version,
            "uwsgi.node": socket.gethostname().encode(),
        }

    def complete(self, request: Request, application: object) -> None:
        """Make ``request.environ`` what an application expects."""
        environ = request.environ
        environ.update(self._shared)
        environ["wsgi.url_scheme"] = scheme = request.scheme
        # These must say the same: some libraries ask them rather than PEP 3333's.
        said = environ.get("HTTPS")
        if scheme == "https":
            if not said or not says_on(said):
                environ["HTTPS"] = "on"
        elif said and says_on(said):
            del environ["HTTPS"]
        if "REQUEST_SCHEME" in environ:
            environ["REQUEST_SCHEME"] = scheme
        environ["wsgi.input"] = BodyFile(request)
        if self._has_cores:
            environ["uwsgi.core"] = request.core
        if "HTTP_UPGRADE" in environ and self._add_for_websocket is not None and is_websocket(environ):
            self._add_for_websocket(environ, request, application)
