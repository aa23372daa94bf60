"""Runs applications where neither ``--gevent`` nor ``--threads`` is given: one request at a time, as uWSGI does.

An application written for that may rely on it: on an unpatched standard library, on one database connection for the
process, on running alone. So a request has the worker to itself from its first line to the end of its response. A
request that becomes a WebSocket lets the next one in after its handshake; else the first WebSocket would be the
worker's last request.

A client that sends slowly delays no other: before a request waits for the lock, its head has been read, and its body
too, or the first 256 KiB of it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from gevent.lock import Semaphore

from uwsgi_ws.protocol.websocket.handshake import is_websocket
from uwsgi_ws.request.base import Request
from uwsgi_ws.wsgi.runner import Application, Call, run

__all__ = ["SerialExecutor"]


#: Bytes of a body that are received before the request takes the lock. Each slot of the worker may hold so many.
_AHEAD = 262_144


class SerialExecutor:
    """Runs one request at a time, beside those that have become WebSockets.

    Args:
        run_websocket: Calls the application for a request that asks for a WebSocket: it goes on after ``pass_on``.
    """

    def __init__(self, run_websocket: Call = run) -> None:
        self._run_websocket = run_websocket
        self._lock = Semaphore()
        self._holder: dict[str, object] | None = None  # the environ of the request that has the lock
        self._held_since = self._held = 0.0
        self._waiting: set[Request] = set()

    def run(self, application: Application, request: Request) -> bool:
        """Run an application as ``runner.run`` does, once this request has the lock.

        Raises:
            BodyError: The body is malformed, too large, late or cut short.
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
        self._held_since = monotonic()
        try:
            return (self._run_websocket if asks_for_websocket else run)(application, request)
        finally:
            self._pass_on(environ)

    def call(self, function: Callable[[], None]) -> None:
        """Call a function in its turn among the requests."""
        with self._lock:
            function()

    def pass_on(self, request: Request) -> None:
        """Let the next request run, as this one has become a WebSocket. Called in the hub's thread."""
        self._pass_on(request.environ)

    @property
    def seconds(self) -> float:
        """For how long, all in all, a request has had the lock."""
        return self._held + (monotonic() - self._held_since if self._holder is not None else 0.0)

    def is_waiting(self, request: Request) -> bool:
        """Return whether a request waits for the lock."""
        return request in self._waiting

    def _pass_on(self, environ: dict[str, object]) -> None:
        if self._holder is environ:
            self._holder = None
            self._held += monotonic() - self._held_since
            self._lock.release()
