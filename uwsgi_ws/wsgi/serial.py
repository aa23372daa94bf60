"""What runs applications where neither ``--gevent`` nor ``--threads`` is given: one request at a time, as uWSGI does.

An application written for that may rely on it: on a standard library that nobody has changed, on one database
connection for the process, on running alone. So a request has the worker to itself from its first line to the end of
its response. A request that becomes a WebSocket lets the next one in after its handshake, or else the first WebSocket
would be the worker's last request.

A client that is slow to send holds up nobody: a request waits for its turn with its head read, and its body, too, or
the first 256 KiB of it.
"""

from __future__ import annotations

from gevent.lock import Semaphore

from uwsgi_ws.protocol.websocket.handshake import is_websocket
from uwsgi_ws.request.base import Request
from uwsgi_ws.wsgi.runner import Application, Call, run

__all__ = ["SerialExecutor"]


#: Bytes of a body that are received before the request's turn. Every place of the worker may hold so many.
_AHEAD = 262_144


class SerialExecutor:
    """Runs one request at a time, and beside it those that are WebSockets by then.

    Args:
        run_websocket: Runs the application for a request that asks for a WebSocket, which may outlast its turn.
    """

    def __init__(self, run_websocket: Call = run) -> None:
        self._run_websocket = run_websocket
        self._lock = Semaphore()
        self._holder: dict[str, object] | None = None  # the environ of the request that has the turn
        self._waiting: set[Request] = set()

    def run(self, application: Application, request: Request) -> bool:
        """Run an application as ``runner.run`` does, once it is this request's turn.

        Raises:
            BodyError: the body is malformed, too large, late or cut short.
        """
        environ = request.environ
        asks_for_websocket = is_websocket(environ)
        if not asks_for_websocket:
            environ["wsgi.input"].receive(_AHEAD)
        if not self._lock.acquire(blocking=False):
            self._waiting.add(request)
            try:
                self._lock.acquire()
            finally:
                self._waiting.discard(request)
        self._holder = environ
        try:
            return (self._run_websocket if asks_for_websocket else run)(application, request)
        finally:
            self._pass_on(environ)

    def pass_on(self, request: Request) -> None:
        """Let the next request in: this one is a WebSocket now. In the hub's thread."""
        self._pass_on(request.environ)

    def is_waiting(self, request: Request) -> bool:
        """Return whether a request has yet to get its turn."""
        return request in self._waiting

    def _pass_on(self, environ: dict[str, object]) -> None:
        if self._holder is environ:
            self._holder = None
            self._lock.release()
