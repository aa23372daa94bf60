"""An application object served in this process: in a native thread, which has an event loop of its own.

The worker's parts are the real ones, put together as ``process.worker`` does it; what belongs to a process of the
server's own is left out: signals, forks, users, log files. There is one bus and one ``uwsgi`` in a process, so there is
one such server at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gevent
from gevent import monkey
from gevent.event import Event

from uwsgi_ws.channels.bus import use_bus
from uwsgi_ws.channels.message_log import LogMemory
from uwsgi_ws.errors import InvalidState, OptionError
from uwsgi_ws.hub import hub_calls as hub_calls_of
from uwsgi_ws.hub.hub_calls import HubCalls, use_hub_calls
from uwsgi_ws.hub.shield import shield
from uwsgi_ws.options import BY_NAME, Options, parse
from uwsgi_ws.process.assembly import make_bus, make_equipment, make_server
from uwsgi_ws.process.own_clock import OwnClock
from uwsgi_ws.process.sockets import Sockets
from uwsgi_ws.protocol.websocket.frames import CloseCode
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.steps import Handler
from uwsgi_ws.stats import Stats
from uwsgi_ws.testing.server import Server, ServerFailed
from uwsgi_ws.testing.uwsgi_module import instance, use_options
from uwsgi_ws.testing.words import listens, names_in
from uwsgi_ws.wsgi.applications import Applications

__all__ = ["InProcess"]

#: Seconds that requests and WebSockets may take to end; the test that has opened them has ended.
_DRAIN = 1.0
#: Seconds that the rest of the end may take.
_END = 10.0
#: Threads, or greenlets, for applications.
_PLACES = "100"

#: Options that have a process of their own do something, or the application come from elsewhere.
_GROUPS = frozenset(("Application", "Perl and Go", "Process", "Configuration", "Information"))
#: Of the logging ones, those that may be given nevertheless.
_LOGGING = {
    *("disable-logging", "health-path", "log-4xx", "log-5xx", "log-big", "log-format", "log-slow", "log-zero"),
    *("log-x-forwarded-for", "request-id"),
}

# Those of a patched standard library would be greenlets of the test's.
_start_thread: Callable[..., int] = monkey.get_original("_thread", "start_new_thread")
_allocate_lock: Callable[[], Any] = monkey.get_original("_thread", "allocate_lock")

_running: InProcess | None = None


class InProcess(Server):
    """A server in a thread.

    Args:
        application: Any WSGI application.
        words: Options.
        timeout: Seconds within which it serves.
        step: Comes before all others for each request; None for none.
    """

    def __init__(
        self,
        application: Callable[..., Any],
        words: list[str],
        timeout: float,
        step: Callable[[Request, Handler], None] | None = None,
    ) -> None:
        super().__init__(_name(application))
        global _running
        if _running is not None:
            raise InvalidState(
                f"this process serves {_running.name} already, and can serve one application object at a time: "
                "stop that one first, or serve one of them by its file or module"
            )
        self._application = application
        self._step = step
        self._options = _options(words)
        self._error: BaseException | None = None
        self._has_begun, self._has_ended = _allocate_lock(), _allocate_lock()
        self._has_begun.acquire()
        self._has_ended.acquire()
        _running = self
        try:
            _start_thread(self._live, ())
            if not self._has_begun.acquire(timeout=timeout):
                raise ServerFailed(f"{self.name}: the server does not serve in time")
            if self._error is not None:
                raise self._error
        except BaseException:
            _running = None
            raise
        self._begin()

    def _end(self) -> None:
        global _running
        self._hub_calls.post(self._stop.set)
        if not self._has_ended.acquire(timeout=_DRAIN + _END):
            # It stays the one that runs, as what it will do when it goes on is not known.
            raise ServerFailed(f"{self.name}: the application keeps the event loop, its server cannot be stopped")
        _running = None
        if self._error is not None:
            raise self._error

    # In the thread

    def _live(self) -> None:
        hub = gevent.get_hub()
        try:
            try:
                self._serve(hub)
            finally:
                use_bus(None)
                use_hub_calls(None)
                hub.destroy(destroy_loop=True)
        except BaseException as exc:
            self._error = exc
        if self._has_begun.locked():
            self._has_begun.release()
        self._has_ended.release()

    def _serve(self, hub: Any) -> None:
        options = self._options
        shield(hub)
        log = LogMemory(options.history_room)
        sockets = Sockets.open(options)
        try:
            use_options(options, sockets)
            equipment = make_equipment(options, sockets, {})
            if self._step is not None:
                equipment = replace(equipment, steps=(self._step,))
            applications = Applications(manage_script_name=False, has_default=True)
            applications.add("", self._application)
            server = make_server(options, equipment, applications, 1, Stats(), None, 0)
            self._use_hub_calls(hub)
            bus = make_bus(options, equipment.engine, server, None, 0, log)
            use_bus(bus)
            place = instance()
            place.serve(server, lambda: ())
            place.signals.serve(server.hub, server.call_function)
            if place.signals.has_clock:
                self._clock = OwnClock(options, place.signals, server.hub)
            for endpoint, sock, _ in sockets.of(1):
                server.listen(sock, endpoint)
            endpoint, sock, _ = next(sockets.of(1))
            name = sock.getsockname()
            self.host, self.port = name[:2] if isinstance(name, tuple) else (name, 0)
            self._is_secure = endpoint.secure is not None
            self._stop = Event()
            self._has_begun.release()
            self._stop.wait()
            place.signals.stop()
            server.drain(CloseCode.GOING_AWAY, _DRAIN, 0.0)
            bus.close()
            server.close()
        finally:
            os.close(log.lock)
            sockets.close()

    def _use_hub_calls(self, hub: Any) -> None:
        """Have what the test calls itself, such as ``uwsgi_ws.publish``, be done in this thread."""
        known = hub_calls_of._current
        self._hub_calls = known or HubCalls(hub)
        use_hub_calls(self._hub_calls)


def _name(application: object) -> str:
    return getattr(application, "__qualname__", None) or type(application).__qualname__


def _options(words: list[str]) -> Options:
    """Return the options of a server in this process.

    Raises:
        OptionError: One needs a process of the server's own.
    """
    for name in sorted(names_in(words)):
        row = BY_NAME.get(name)
        if row is not None and (
            row.needs_master or row.group in _GROUPS or (row.group == "Logging" and name not in _LOGGING)
        ):
            problem = "not for an application object, which is served in this process: serve its file or module"
            raise OptionError(f"--{name}", problem, "serve")
    if not listens(words):
        words = ["--http", "127.0.0.1:0", *words]
    if "log-format" not in names_in(words):
        words = ["--disable-logging", *words]  # it would write between pytest's reports; those of errors stay
    if not names_in(words) & {"gevent", "threads"}:
        # As the tests have it: greenlets where the standard library lets them run, else threads, which may wait.
        words = ["--gevent" if monkey.is_module_patched("socket") else "--threads", _PLACES, *words]
    return parse(words)
