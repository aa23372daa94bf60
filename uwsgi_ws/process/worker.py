"""A worker's life: it serves until it is told to leave, and then lets everybody finish who can.

Signals only set what is wanted and wake the main greenlet; all work is done there. A worker with a master leaves when
that says so (see ``signals``). One without is the whole instance, and takes the signals that users send.
"""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import gc
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import gevent
from gevent import monkey
from gevent.event import AsyncResult

from uwsgi_ws import __version__, _build
from uwsgi_ws.api import uwsgi as api
from uwsgi_ws.api.instance import Instance
from uwsgi_ws.channels.bus import use_bus
from uwsgi_ws.channels.channel_socket import ChannelSocket
from uwsgi_ws.channels.inboxes import Inboxes
from uwsgi_ws.errors import BootError
from uwsgi_ws.hub import own
from uwsgi_ws.hub.own import keep_signal
from uwsgi_ws.hub.shield import shield
from uwsgi_ws.log import hand_on_log, log_descriptor, say
from uwsgi_ws.options import Options
from uwsgi_ws.process import hooks
from uwsgi_ws.process import systemd as notify
from uwsgi_ws.process.assembly import (
    Equipment,
    import_for_requests,
    install_api,
    load_applications,
    make_bus,
    make_equipment,
    make_server,
)
from uwsgi_ws.process.attend_log import attend_log
from uwsgi_ws.process.boot import become_user, end, go_back, prepare, say_concurrency, tell_notes
from uwsgi_ws.process.common import Common, NoticeKind, Order
from uwsgi_ws.process.harakiri import Harakiri
from uwsgi_ws.process.heartbeat import Heartbeat
from uwsgi_ws.process.keys import hand_on_files, hand_on_keys, read_keys
from uwsgi_ws.process.limits import reason_to_go
from uwsgi_ws.process.naming import name_process
from uwsgi_ws.process.pidfile import PidFile
from uwsgi_ws.process.signals import CEASE, HURRY, LEAVE, PAUSE, REPORT, RESUME, STOP, ignore_terminal
from uwsgi_ws.process.sockets import Sockets
from uwsgi_ws.process.watch import FileWatch, module_files
from uwsgi_ws.shared.status import WorkerStatus
from uwsgi_ws.shared.websockets import OpenWebSockets
from uwsgi_ws.stats import Stats
from uwsgi_ws.wsgi.applications import Applications

__all__ = ["serve_alone", "serve_for_master"]

_log = logging.getLogger("uwsgi_ws.worker")

# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

#: Seconds for what the application wants done at its end.
_LAST_WORDS = 3.0
#: A patched one would be a greenlet, and wait as the others do.
_start_thread: Callable[..., int] = monkey.get_original("_thread", "start_new_thread")
_allocate_lock: Callable[[], Any] = monkey.get_original("_thread", "allocate_lock")
#: What asks a process to stop, and may come while it becomes another program.
_STOPPING = (signal.SIGINT, signal.SIGTERM)

_STOP, _RELOAD, _HURRY = "stop", "reload", "hurry"


class _Worker:
    """What is alike in both lives.

    Args:
        options: Checked already.
        sockets: Where it serves.
        equipment: Made already.
        applications: Loaded already.
        place: The process's.
        worker_id: 1 to N.
        births: How many processes this worker has been.
        inboxes: What channels go through to other workers; None where there are none.
        attendance: What limits on WebSockets count by, together with other workers; None where there are none.
        seat: Which of both is this worker's.
        others: Yields how the other workers stand.
    """

    def __init__(
        self,
        options: Options,
        sockets: Sockets,
        equipment: Equipment,
        applications: Applications,
        place: Instance,
        *,
        worker_id: int = 1,
        births: int = 1,
        inboxes: Inboxes | None = None,
        attendance: OpenWebSockets | None = None,
        seat: int = 0,
        others: Callable[[], Iterator[WorkerStatus]] = lambda: iter(()),
    ) -> None:
        self._options = options
        self._sockets = sockets
        self._worker_id = worker_id
        self._births = births
        self._order: AsyncResult[str] = AsyncResult()
        _keep_freed_memory()
        self._server = make_server(options, equipment, applications, worker_id, Stats(), attendance, seat)
        self._bus = make_bus(options, self._server, inboxes, seat)
        use_bus(self._bus)
        self._entrances: list[ChannelSocket] = []
        self.heartbeat = Heartbeat(self._server, worker_id, births)
        if options.harakiri:
            harakiri = Harakiri(self._server, worker_id, options.harakiri, websockets=options.websockets_harakiri)
            self.heartbeat.on_beat(lambda standing: harakiri.sweep())

        def standings() -> Iterator[WorkerStatus]:
            yield self.heartbeat.standing()
            yield from others()

        place.serve(self._server, standings)

    def serve(self, orders: Mapping[int, str], ready: Callable[[], None]) -> str:
        """Serve until a signal orders to leave; return the order.

        Args:
            orders: What each signal means.
            ready: Called when clients are accepted.

        Raises:
            BootError: the application's own ``post_fork_hook`` failed.
        """
        try:
            api.call_hook("post_fork_hook")
        except BaseException as exc:  # sys.exit() as well: its status would say that all is well
            traceback.print_exc()
            raise BootError("uwsgi.post_fork_hook failed") from exc
        hooks.run(self._options, "post-fork")
        ignore_terminal()
        for number, order in orders.items():
            gevent.signal_handler(number, self._take, order)
            keep_signal(number)
        # What is loaded stays: the collector need not look at it again, and its pauses get shorter.
        gc.collect()
        gc.freeze()
        shield(self._server.hub)
        attend_log(self._server.hub)
        for door, sock, is_shared in self._sockets.of(self._worker_id):
            if door.dialect == "channels":
                entrance = ChannelSocket(sock, self._bus, self._options.max_message_size)
                entrance.start()
                self._entrances.append(entrance)
            else:
                self._server.listen(sock, door, is_shared=is_shared)
        self.heartbeat.start()
        for step in ("accepting", *(["accepting1"] if self._worker_id == 1 else [])):
            hooks.run(self._options, step)
            if self._births == 1:
                hooks.run(self._options, f"{step}-once")
        ready()
        return self._order.get() or _STOP

    def cease(self) -> None:
        """Accept nobody any more, and let go of those who ask for nothing."""
        self._server.stop_accepting()
        for entrance in self._entrances:
            entrance.stop()

    def leave(self, order: str, *, keep_sockets: bool = False) -> None:
        """Cease, and let clients finish, as long as the order allows.

        Args:
            order: Why.
            keep_sockets: Leave the listening sockets open; who comes meanwhile waits in the kernel.
        """
        self.cease()
        if not keep_sockets:
            self._sockets.close()
        rate = self._options.websockets_drain_rate / self._options.processes
        if order == _STOP:
            self._server.drain(1001, self._options.reload_mercy, rate)
        else:
            mercy = self._options.worker_reload_mercy if self._options.has_master else self._options.reload_mercy
            self._server.drain(1012, mercy, rate)

    @property
    def has_changed_its_mind(self) -> bool:
        """Whether a stop came while it was leaving for a reload."""
        return self._order.get() == _STOP

    def finish(self, end: Callable[[], object]) -> None:
        """Run what the application wants run at the very end; it may not go on for ever.

        ``multiprocessing`` waits there for every child that is no daemon, and a library perhaps for a server that is
        gone.

        Args:
            end: Ends this program; called in another thread, when that takes too long.
        """
        is_done = _allocate_lock()
        is_done.acquire()

        def watch() -> None:
            if not is_done.acquire(timeout=_LAST_WORDS):
                say(f"*** the application takes longer than {_LAST_WORDS:g} seconds for its end, it is left ***")
                end()

        _start_thread(watch, ())
        try:
            api.call_hook("atexit")
        except BaseException:
            _log.exception("uwsgi.atexit")
        # A forked process ends without the interpreter's own doing; there is no public way.
        atexit._run_exitfuncs()
        if own.is_copy:
            own.end_copy()
        is_done.release()
        self._bus.close()

    def order(self, order: str) -> None:
        """Leave, as if a signal had come."""
        self._take(order)

    def _take(self, order: str) -> None:
        """Take an order; whoever asks twice to stop does not want to wait."""
        is_leaving = self._order.ready()
        if order == _HURRY or (order == _STOP and is_leaving and self._order.get() == _STOP):
            self._server.shorten_drain(0.0)
            order = _STOP
        elif order == _STOP and is_leaving:
            self._server.shorten_drain(self._options.reload_mercy)
        if order == _STOP or not is_leaving:
            self._order.set(order)


def serve_for_master(
    options: Options,
    sockets: Sockets,
    equipment: Equipment,
    applications: Applications,
    place: Instance,
    common: Common,
    order: Order,
) -> None:
    """Be a worker that a master looks after, from fork to end."""
    name_process(options, f"worker {order.worker_id}")
    pid = os.getpid()
    scoreboard = common.scoreboard
    worker = _Worker(
        options,
        sockets,
        equipment,
        applications,
        place,
        worker_id=order.worker_id,
        births=order.births,
        inboxes=common.inboxes,
        attendance=common.attendance,
        seat=order.seat,
        others=lambda: (standing for standing in scoreboard if standing.pid != pid),
    )

    begun = time.monotonic()
    is_spent = False

    def judge(standing: WorkerStatus) -> None:
        nonlocal is_spent
        reason = None if is_spent else reason_to_go(options, standing, time.monotonic() - begun)
        if reason is not None:
            is_spent = True
            say(f"worker {order.worker_id} (pid: {pid}) asks to be replaced: {reason}")
            common.notify(NoticeKind.SPENT, order.seat, pid)

    worker.heartbeat.on_beat(lambda standing: scoreboard.write(order.seat, standing))
    worker.heartbeat.on_beat(judge)
    if options.py_autoreload and order.worker_id == 1:
        worker.heartbeat.on_beat(_autoreload(options, place))
    # For the master to ask what an event loop that does not run is doing.
    faulthandler.register(REPORT, file=log_descriptor(), all_threads=True)
    keep_signal(REPORT)

    def cease() -> None:
        worker.cease()
        gevent.sleep(0)  # those who are let go of are gone then
        common.notify(NoticeKind.CEASED, order.seat, pid)

    def ready() -> None:
        gevent.signal_handler(CEASE, cease)
        gevent.signal_handler(PAUSE, place.accepting, 0)
        gevent.signal_handler(RESUME, place.accepting, 1)
        for number in (CEASE, PAUSE, RESUME):
            keep_signal(number)
        if order.is_paused:
            place.accepting(0)
        say(f"spawned uwsgi_ws worker {order.worker_id} (pid: {pid}, cores: {options.places})")
        common.notify(NoticeKind.READY, order.seat, pid)

    if options.no_orphans:
        loop: Any = gevent.get_hub().loop
        orphaned = loop.io(common.lifeline, 1, ref=False)

        def stop() -> None:
            orphaned.stop()
            say(f"worker {order.worker_id} (pid: {pid}): the master is gone, and nobody shall outlive it")
            worker.order(_STOP)

        orphaned.start(stop)
    what = worker.serve({LEAVE: _RELOAD, STOP: _STOP, HURRY: _HURRY}, ready)
    worker.leave(what)
    worker.finish(lambda: end(0))


def serve_alone(options: Options, started_in: str, files: Mapping[str, bytes]) -> NoReturn:
    """Be the whole instance, and end the process.

    Args:
        options: Checked already.
        started_in: The directory that the command line's relative paths start in; a reload goes back there.
        files: What configuration files hold; a reload may not be able to read them again.

    Raises:
        BootError: it cannot start.
        OptionError: an option turns out to be unusable, such as a port that is taken.
    """
    if options.stops_on_term:
        # Process 1 of a container would not hear it without a handler, and loading may take long.
        signal.signal(signal.SIGTERM, _end_before_it_is_up)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    prepare(options, started_in)
    say(f"*** Starting uwsgi_ws {__version__} on [{time.ctime()}] ***")
    say(f"protocol core: {_build.name()}")
    say_concurrency(options)
    tell_notes(options)
    name_process(options, "worker")
    hooks.run(options, "asap")
    sockets = Sockets.open(options)
    keys = read_keys(options)
    place = Instance(0, threads=not options.gevent)
    place.enter(1)
    install_api(options, sockets, place, is_a_reload=sockets.are_inherited)
    pidfile, safe_pidfile = PidFile(options, "pidfile"), PidFile(options, "safe-pidfile")
    pidfile.write(is_a_reload=sockets.are_inherited)
    safe_pidfile.reserve()
    import_for_requests(options)
    for step in ("pre-jail", "post-jail", "in-jail", "as-root"):
        hooks.run(options, step)
    become_user(options, started_in)
    hooks.run(options, "as-user")
    pidfile2 = PidFile(options, "pidfile2")
    pidfile2.write(is_a_reload=sockets.are_inherited)
    try:
        equipment = make_equipment(options, sockets, keys)
        applications = load_applications(options)
    except BaseException:
        pidfile.remove()
        raise
    worker = _Worker(options, sockets, equipment, applications, place)
    orders: dict[int, str] = {signal.SIGINT: _STOP, signal.SIGQUIT: _STOP, signal.SIGHUP: _RELOAD}
    if options.exit_on_reload:
        orders[signal.SIGHUP] = _STOP
    orders[signal.SIGTERM] = _STOP if options.stops_on_term else _RELOAD

    def ready() -> None:
        say(f"spawned uwsgi_ws worker 1 (and the only) (pid: {os.getpid()}, cores: {options.places})")
        safe_pidfile.write(is_a_reload=sockets.are_inherited)
        notify.ready("serving")

    order = worker.serve(orders, ready)
    if order == _RELOAD:
        notify.reloading()
        say("Gracefully killing worker 1, then starting again...")
        worker.leave(_RELOAD, keep_sockets=True)
        if not worker.has_changed_its_mind:

            def start_again() -> None:
                go_back(started_in)
                os.environ["UWSGI_WS_STARTED_IN"] = started_in
                sockets.hand_on()
                hand_on_keys(keys)
                hand_on_files(files)
                hand_on_log()
                # Who asks us to stop meanwhile waits until the next program can hear it.
                signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
                os.execv(sys.executable, sys.orig_argv)

            worker.finish(start_again)
            start_again()
    notify.stopping()
    say("SIGINT/SIGTERM/SIGQUIT received...stopping worker 1")
    worker.leave(_STOP)
    sockets.remove_files()
    for file in (pidfile, pidfile2, safe_pidfile):
        file.remove()

    def say_goodbye() -> NoReturn:
        hooks.run(options, "as-user-atexit", is_fatal=False)
        say("goodbye to uwsgi_ws.")
        end(0)

    worker.finish(say_goodbye)
    say_goodbye()


def _end_before_it_is_up(number: int, frame: object) -> NoReturn:
    say("SIGTERM received before it was up")
    raise SystemExit(128 + number)


def _autoreload(options: Options, place: Instance) -> Callable[[WorkerStatus], None]:
    """Return what reloads the instance when a module's file has changed.

    A generation whose code does not load leaves this worker in its place, so that it sees the next change too.
    """
    every, ignored = options.py_autoreload, options.py_auto_reload_ignore
    files = FileWatch(module_files(ignored))
    next_at = 0.0

    def look(standing: WorkerStatus) -> None:
        nonlocal next_at
        if time.monotonic() < next_at:
            return
        next_at = time.monotonic() + every
        changed = files.changed()
        files.watch(module_files(ignored))
        if changed is not None:
            say(f"*** {changed} has changed ***")
            place.reload()

    return look


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
