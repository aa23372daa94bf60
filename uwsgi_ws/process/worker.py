"""One worker process: binds, loads the applications, serves, and leaves when it is told to.

Signals only set what is wanted and wake the main greenlet; all work is done there.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult

from uwsgi_ws import __version__, _build, api
from uwsgi_ws.addresses import Address
from uwsgi_ws.admission import Admission
from uwsgi_ws.errors import BootError
from uwsgi_ws.fronts.http1 import Http1Settings
from uwsgi_ws.log import AccessLog, say
from uwsgi_ws.net.listeners import Door, bind
from uwsgi_ws.options import Options, opt_dict
from uwsgi_ws.protocol import http1
from uwsgi_ws.protocol.keepalive import KeepalivePolicy
from uwsgi_ws.server import Server
from uwsgi_ws.static import StaticFiles
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.connection import ConnectionSettings
from uwsgi_ws.wsgi import loader
from uwsgi_ws.wsgi.applications import Applications
from uwsgi_ws.wsgi.environ import EnvironBase

__all__ = ["Worker"]

#: Seconds that a stopping worker gives its requests.
_MERCY = 10.0

# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

_STOP, _RELOAD = "stop", "reload"


class Worker:
    """The process from start to end.

    Args:
        options: Checked already.
        started_in: The directory that the command line's relative paths start in; a reload goes back there.
    """

    def __init__(self, options: Options, started_in: str) -> None:
        self._options = options
        self._started_in = started_in
        self._order: AsyncResult[str] = AsyncResult()
        stats = Stats()
        self.server = _server(options, stats)
        self._sockets: list[tuple[Door, Any]] = []

    def run(self) -> int:
        """Serve until a signal ends it; return the exit status.

        Raises:
            BootError: it cannot start.
            OptionError: an option turns out to be unusable, such as a port that is taken.
        """
        options = self._options
        say(f"*** Starting uwsgi_ws {__version__} on [{time.ctime()}] ***")
        say(f"protocol core: {_build.name()}")
        self._name_process()
        _keep_freed_memory()
        self._bind()
        api.install(
            self.server,
            opt_dict(options),
            [sock.fileno() for _, sock in self._sockets],
            worker_id=1,
            cores=options.gevent,
            buffer_size=options.buffer_size,
        )
        self._load()
        if options.chdir2 is not None:
            os.chdir(options.chdir2)
        self._write_pidfile()
        for number in (signal.SIGINT, signal.SIGQUIT):
            gevent.signal_handler(number, self._order_to, _STOP)
        gevent.signal_handler(signal.SIGHUP, self._order_to, _RELOAD)
        gevent.signal_handler(signal.SIGTERM, self._order_to, _STOP if options.die_on_term else _RELOAD)
        # What is loaded stays: the collector need not look at it again, and its pauses get shorter.
        gc.collect()
        gc.freeze()
        for door, sock in self._sockets:
            self.server.listen(sock, door)
        say(f"spawned uwsgi_ws worker 1 (and the only) (pid: {os.getpid()}, cores: {options.gevent})")
        order = self._order.get()
        return self._leave(order or _STOP)

    def _order_to(self, order: str) -> None:
        """Take a signal; whoever asks twice to stop does not want to wait."""
        if order == _STOP and self._order.ready() and self._order.get() == _STOP:
            self.server.hurry()
        self._order.set(order)

    def _name_process(self) -> None:
        options = self._options
        name = options.procname or ("uwsgi_ws worker" if options.auto_procname else "")
        if name or options.procname_prefix:
            api.setprocname((options.procname_prefix or "") + (name or "uwsgi_ws"))

    def _bind(self) -> None:
        options = self._options
        for door in _doors(options):
            try:
                sock = bind(door.address, options.listen)
            except OSError as exc:
                raise options.error(door.option, f"cannot listen on {door.address}: {exc.strerror}") from exc
            self._sockets.append((door, sock))
            say(f"{door.option} bound on {_bound_name(door.address, sock)} fd {sock.fileno()}")
        if not self._sockets:
            raise BootError("nothing to listen on: give --http ADDRESS, such as --http :8080")

    def _load(self) -> None:
        options = self._options
        loader.add_paths(options.pythonpath)
        if options.virtualenv is not None:
            loader.use_virtualenv(options.virtualenv)
        if options.chdir is not None:
            say(f"current working directory: {os.getcwd()}")
        sys.argv = ["uwsgi", *(options.pyargv or "").split()]
        targets = [("mount", mount.path, mount.target) for mount in options.mount]
        if options.wsgi_file is not None:
            targets.append(("wsgi-file", "", options.wsgi_file))
        if options.module is not None:
            targets.append(("module", "", options.module))
        for number, (option, mount, target) in enumerate(targets):
            begun = time.monotonic()
            try:
                application = loader.load(target, options.callable)
            except BootError as exc:
                raise options.error(option, str(exc)) from exc
            self.server.applications.add(mount, application)
            took = time.monotonic() - begun
            say(f"WSGI app {number} (mountpoint='{mount}') {target} ready in {took:.3f} seconds (pid: {os.getpid()})")
        if not targets:
            if options.need_app:
                raise BootError("no application: give --wsgi-file FILE or --module MODULE (--need-app)", 22)
            say("*** no app loaded. every request is answered with 500 ***")

    def _write_pidfile(self) -> None:
        if self._options.pidfile is not None:
            try:
                Path(self._options.pidfile).write_text(f"{os.getpid()}\n")
            except OSError as exc:
                raise self._options.error("pidfile", f"cannot write {self._options.pidfile!r}: {exc.strerror}") from exc

    def _leave(self, order: str) -> int:
        if order == _RELOAD:
            say("Gracefully killing worker 1, then starting again...")
            self.server.drain(1012, _MERCY)
            if self._order.get() == _RELOAD:  # and nobody has changed his mind since
                os.chdir(self._started_in)
                os.execv(sys.executable, sys.orig_argv)
        say("SIGINT/SIGTERM/SIGQUIT received...stopping worker 1")
        self.server.drain(1001, _MERCY)
        for door, _ in self._sockets:
            if door.address.family == "unix" and not door.address.is_abstract:
                Path(door.address.path).unlink(missing_ok=True)
        if self._options.pidfile is not None:
            Path(self._options.pidfile).unlink(missing_ok=True)
        say("goodbye to uwsgi_ws.")
        return 0


def _keep_freed_memory() -> None:
    """Have glibc keep the blocks of large messages for the next one.

    By default it gives them back at once, and each message of 1 MiB faults some 800 pages in again: a third of its
    CPU time. Kept are at most 32 MiB. Other C libraries, and whoever set the thresholds himself, are left alone.
    """
    if "MALLOC_TRIM_THRESHOLD_" in os.environ or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, 32 << 20)
        mallopt(_M_MMAP_THRESHOLD, 8 << 20)


def _doors(options: Options) -> list[Door]:
    """Return what the options want listened on, in the order in which it is bound."""
    rows = (("http", options.http), ("http-socket", options.http_socket))
    return [Door(name, address) for name, addresses in rows for address in addresses]


def _bound_name(address: Address, sock: Any) -> str:
    """Return the address as bound: a port of 0 has become a number."""
    if address.family == "unix":
        return str(address)
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _server(options: Options, stats: Stats) -> Server:
    static = None
    if options.static_map or options.check_static:
        static = StaticFiles(options.static_map, options.check_static, options.static_index)
    return Server(
        options.gevent,
        applications=Applications(manage_script_name=options.manage_script_name),
        http=Http1Settings(
            limits=http1.Limits(
                head_size=options.buffer_size,
                target_size=options.buffer_size,
                body_size=options.limit_post or None,
            ),
            head_timeout=options.socket_timeout,
            idle_timeout=options.http_timeout,
            io_timeout=options.socket_timeout,
        ),
        websocket=ConnectionSettings(
            max_message_size=options.max_message_size,
            keepalive=KeepalivePolicy(options.websockets_ping_freq, options.websockets_pong_tolerance),
            send_timeout=options.socket_timeout,
            max_outbox=options.websockets_max_outbox * 1024,
        ),
        environ=EnvironBase(api.VERSION, options.gevent),
        admission=Admission(options.websockets_origin),
        static=static,
        access_log=None if options.disable_logging else AccessLog(options.log_format, 1, stats),
        stats=stats,
    )
