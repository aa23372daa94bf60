"""What every worker does, with a master or without: it serves until it is told to leave, and then lets clients finish.

Signals only set what is wanted and wake the main greenlet; all work is done there. ``mastered`` and ``alone`` are its
two lives.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import gevent
from gevent import monkey
from gevent.event import AsyncResult, Event

from uwsgi_ws.api import uwsgi as api
from uwsgi_ws.api.instance import Instance
from uwsgi_ws.channels.bus import use_bus
from uwsgi_ws.channels.channel_socket import ChannelSocket
from uwsgi_ws.channels.message_log import LogMemory
from uwsgi_ws.errors import BootError
from uwsgi_ws.hub import own
from uwsgi_ws.hub.own import keep_signal
from uwsgi_ws.hub.shield import shield
from uwsgi_ws.log import say
from uwsgi_ws.options import Options
from uwsgi_ws.process import hooks
from uwsgi_ws.process.assembly import Equipment, make_bus, make_server
from uwsgi_ws.process.attend_log import attend_log
from uwsgi_ws.process.boot import starting
from uwsgi_ws.process.heartbeat import Heartbeat
from uwsgi_ws.process.own_clock import OwnClock
from uwsgi_ws.process.signals import ignore_terminal
from uwsgi_ws.process.sockets import Sockets
from uwsgi_ws.protocol.websocket.frames import CloseCode
from uwsgi_ws.shared.status import WorkerStatus
from uwsgi_ws.shared.websockets import OpenWebSockets
from uwsgi_ws.stats import Stats
from uwsgi_ws.wsgi.applications import Applications

if TYPE_CHECKING:
    from uwsgi_ws.channels.inboxes import Inboxes

__all__ = ["HURRY", "RELOAD", "STOP", "Post", "Worker"]

_log = logging.getLogger("uwsgi_ws.worker")

# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

#: Seconds for what the application has registered for the exit.
_EXIT_TIMEOUT = 3.0
#: Nanoseconds after which a worker that has not told how it stands is taken for stuck.
_FRESH = 3 * 10**9
#: A patched one would be a greenlet, and wait as the others do.
_start_thread: Callable[..., int] = monkey.get_original("_thread", "start_new_thread")
_allocate_lock: Callable[[], Any] = monkey.get_original("_thread", "allocate_lock")

#: Orders to a worker: end, as the instance does; end, as a successor comes; end at once.
STOP, RELOAD, HURRY = "stop", "reload", "hurry"


class Post(NamedTuple):
    """A worker's position in the instance, and what it has there together with the others.

    Args:
        worker_id: 1 to N.
        spawns: How many processes this worker has been.
        seat: Its row in what the workers share; no living process has the same.
        inboxes: What channels go through to other workers; None where there are none.
        open_websockets: What limits on WebSockets count by; None where no other worker counts.
        others: Yields how the other workers stand.
        message_log: What the instance's channels keep; None where this worker is the instance.
    """

    worker_id: int = 1
    spawns: int = 1
    seat: int = 0
    inboxes: Inboxes | None = None
    open_websockets: OpenWebSockets | None = None
    others: Callable[[], Iterator[WorkerStatus]] = lambda: iter(())
    message_log: LogMemory | None = None


class Worker:
    """What all workers are, with a master or without: a server with its bus, its heartbeat, and its end.

    It is driven by its subclasses, or by another program whose child it is: ``serve`` until an order comes, ``leave``,
    ``finish``, and end the process. ``heartbeat.on_beat`` tells such a parent that it lives.

    Args:
        options: Checked already.
        sockets: Where it serves: opened here, or listening already when it is made.
        equipment: Made of the options, for these sockets.
        applications: Loaded already, by any means.
        instance: The process's; ``import uwsgi`` is already installed with it.
        post: Its position among the instance's workers; by default it is the only one.
    """

    def __init__(
        self,
        options: Options,
        sockets: Sockets,
        equipment: Equipment,
        applications: Applications,
        instance: Instance,
        post: Post | None = None,
    ) -> None:
        self._options = options
        self._sockets = sockets
        self._instance = instance
        self._post = post = post or Post()
        self._order: AsyncResult[str] = AsyncResult()
        #: Set by an order to stop that comes after another.
        self.hurry = Event()
        _keep_freed_memory()
        self._server = make_server(
            options, equipment, applications, post.worker_id, Stats(), post.open_websockets, post.seat
        )
        self._bus = make_bus(options, equipment.engine, self._server, post.inboxes, post.seat, post.message_log)
        use_bus(self._bus)
        self._channel_sockets: list[ChannelSocket] = []
        self.heartbeat = Heartbeat(self._server, post.worker_id, post.spawns)
        self._server.overload.look_for_helpers = self._others_have_room
        self.heartbeat.on_beat(lambda status: self._server.overload.look(status.rss))
        if options.harakiri or (equipment.router is not None and equipment.router.may_set_harakiri):
            from uwsgi_ws.process.harakiri import Harakiri

            harakiri = Harakiri(self._server, post.worker_id, options.harakiri, websockets=options.websockets_harakiri)
            self.heartbeat.on_beat(lambda status: harakiri.sweep())

        instance.serve(self._server, self._statuses)

    def _statuses(self) -> Iterator[WorkerStatus]:
        """Yield how all workers stand, this one as of now."""
        yield self.heartbeat.status()
        yield from self._post.others()

    def _others_have_room(self) -> bool:
        alive_after = time.monotonic_ns() - _FRESH
        return any(
            not other.overloaded and other.beat >= alive_after and other.clients < self._options.places
            for other in self._post.others()
        )

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
            gevent.signal_handler(number, self.order, order)
            keep_signal(number)
        # What is loaded stays: the collector need not look at it again, and its pauses get shorter.
        gc.collect()
        gc.freeze()
        shield(self._server.hub)
        attend_log(self._server.hub)
        for endpoint, sock, is_shared in self._sockets.of(self._post.worker_id):
            with starting():
                if endpoint.dialect == "channels":
                    channel_socket = ChannelSocket(sock, self._bus, self._options.max_message_size)
                    channel_socket.start()
                    self._channel_sockets.append(channel_socket)
                else:
                    self._server.listen(sock, endpoint, is_shared=is_shared)
        self.heartbeat.start()
        for step in ("accepting", *(["accepting1"] if self._post.worker_id == 1 else [])):
            hooks.run(self._options, step)
            if self._post.spawns == 1:
                hooks.run(self._options, f"{step}-once")
        ready()
        self._handle_signals()
        return self._order.get() or STOP

    def _handle_signals(self) -> None:
        """Call the application's handlers of uWSGI's signals from now on."""
        signals = self._instance.signals
        if signals.has_clock:
            self._clock = OwnClock(self._options, signals, self._server.hub)
        self._server.wait_for(lambda: signals.is_busy)
        signals.serve(self._server.hub, self._server.call_function, self._options.harakiri)

    def announce_stop(self) -> None:
        """Tell those who ask for this worker's health that clients should go elsewhere; serve on."""
        self._server.will_stop = True

    def stop_accepting(self) -> None:
        """Accept no client any more, and close idle connections."""
        self._server.stop_accepting()
        for channel_socket in self._channel_sockets:
            channel_socket.stop()

    def leave(self, order: str, *, keep_sockets: bool = False) -> None:
        """Stop accepting, and let clients finish, as long as the order allows.

        Args:
            order: Why.
            keep_sockets: Leave the listening sockets open: clients that connect meanwhile wait in the kernel.
        """
        self.stop_accepting()
        self._instance.signals.stop()
        if not keep_sockets:
            self._sockets.close()
        rate = self._options.websockets_drain_rate / self._options.processes
        if order == STOP:
            self._server.drain(CloseCode.GOING_AWAY, self._options.reload_mercy, rate)
        else:
            options = self._options
            timeout = options.worker_reload_mercy if options.has_master else options.reload_mercy
            self._server.drain(CloseCode.SERVICE_RESTART, timeout, rate)

    @property
    def has_changed_its_mind(self) -> bool:
        """Whether an order to stop came while it was leaving for a reload."""
        return self._order.get() == STOP

    def finish(self, end: Callable[[], object]) -> None:
        """Run what the application has registered for the exit, for a bounded time.

        ``multiprocessing`` waits there for every child that is no daemon, and a library may wait for a server that is
        gone.

        Args:
            end: Ends this program; called in another thread, when that takes too long.
        """
        is_done = _allocate_lock()
        is_done.acquire()

        def watch() -> None:
            if not is_done.acquire(timeout=_EXIT_TIMEOUT):
                say(f"*** the application takes longer than {_EXIT_TIMEOUT:g} seconds for its end, it is left ***")
                end()

        try:
            _start_thread(watch, ())
        except RuntimeError as exc:
            say(f"*** nothing watches how long the application takes for its end: {exc} ***")
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
        """Order it to leave, as signals do; a second order to stop ends the wait for clients.

        Args:
            order: ``STOP``, ``RELOAD`` or ``HURRY``.
        """
        is_leaving = self._order.ready()
        if order == HURRY or (order == STOP and is_leaving and self._order.get() == STOP):
            self.hurry.set()
            self._server.shorten_drain(0.0)
            order = STOP
        elif order == STOP and is_leaving:
            self._server.shorten_drain(self._options.reload_mercy)
        if order == STOP or not is_leaving:
            self._order.set(order)


def _keep_freed_memory() -> None:
    """Have glibc keep the blocks of large messages for the next one.

    By default it gives them back at once, and each message of 1 MiB faults some 800 pages in again: a third of its
    CPU time. Kept are at most 32 MiB. Other C libraries, and thresholds that users have set, are left alone.
    """
    if "MALLOC_TRIM_THRESHOLD_" in os.environ or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, 32 << 20)
        mallopt(_M_MMAP_THRESHOLD, 8 << 20)
