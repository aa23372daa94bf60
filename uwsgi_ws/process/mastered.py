"""A worker that a master looks after, from the fork to its end. It leaves when the master says so (``signals``)."""

from __future__ import annotations

import faulthandler
import os
import time
from functools import partial
from typing import Any

import gevent

from uwsgi_ws.api.instance import Instance
from uwsgi_ws.hub.own import keep_signal
from uwsgi_ws.log import log_descriptor, say
from uwsgi_ws.options import Options
from uwsgi_ws.process import signals
from uwsgi_ws.process.assembly import Equipment
from uwsgi_ws.process.boot import end
from uwsgi_ws.process.common import Common, NoticeKind, Order
from uwsgi_ws.process.control_end import ControlEnd
from uwsgi_ws.process.limits import reason_to_go
from uwsgi_ws.process.naming import name_process
from uwsgi_ws.process.sockets import Sockets
from uwsgi_ws.process.watch import FileWatch, module_files
from uwsgi_ws.process.worker import HURRY, RELOAD, STOP, Post, Worker
from uwsgi_ws.shared.measures import snapshot_of
from uwsgi_ws.shared.status import WorkerStatus
from uwsgi_ws.wsgi.applications import Applications

__all__ = ["MasteredWorker"]


class MasteredWorker(Worker):
    """Tells its master how it stands, and what it has done of what the master ordered.

    Args:
        options: Checked already.
        sockets: Opened by the master.
        equipment: Made of the options by the fork server.
        applications: Loaded already, by the fork server or in this process.
        instance: The fork server's until now.
        common: What it shares with its master and the other workers.
        order: What the master wants it to be.
    """

    def __init__(
        self,
        options: Options,
        sockets: Sockets,
        equipment: Equipment,
        applications: Applications,
        instance: Instance,
        common: Common,
        order: Order,
    ) -> None:
        self._common = common
        self._begins_paused = order.is_paused
        self._is_spent = False
        others = partial(common.scoreboard.others, order.seat)
        post = Post(
            order.worker_id,
            order.spawns,
            order.seat,
            common.inboxes,
            common.open_websockets,
            others,
            message_log=common.message_log,
        )
        super().__init__(options, sockets, equipment, applications, instance, post)

    def __str__(self) -> str:
        return f"worker {self._post.worker_id} (pid: {os.getpid()})"

    def live(self) -> None:
        """Serve from now until the master wants no more, and let clients finish."""
        name_process(self._options, f"worker {self._post.worker_id}")
        self._begun_at = time.monotonic()
        self.heartbeat.on_beat(self._tell_status)
        self.heartbeat.on_beat(self._judge)
        if self._options.py_autoreload and self._post.worker_id == 1:
            self.heartbeat.on_beat(_Autoreload(self._options, self._instance).look)
        # For the master to ask what an event loop that does not run is doing.
        faulthandler.register(signals.REPORT, file=log_descriptor(), all_threads=True)
        keep_signal(signals.REPORT)
        if self._options.no_orphans:
            self._leave_with_the_master()
        loop: Any = gevent.get_hub().loop
        self._woken = loop.io(self._common.wakes_of(self._post.seat), 1, ref=False)
        self._woken.start(self._look_for_signals)
        if self._common.control.workers:
            ControlEnd(self._common.control.workers[self._post.seat], self._server, self._post.worker_id).start()
        orders: dict[int, str] = {signals.LEAVE: RELOAD, signals.STOP: STOP, signals.HURRY: HURRY}
        self.leave(self.serve(orders, self._be_ready))
        self._tell_status(self.heartbeat.status())  # the last clients' counts are not lost
        self.finish(lambda: end(0))

    def _tell_status(self, status: WorkerStatus) -> None:
        self._common.scoreboard.write(self._post.seat, status)
        self._common.measures.write(self._post.seat, snapshot_of(self._server.stats.measures))

    def _tell(self, kind: NoticeKind) -> None:
        self._common.notify(kind, self._post.seat, os.getpid())

    def _be_ready(self) -> None:
        """Clients are accepted: from now on the master's orders make sense."""
        gevent.signal_handler(signals.ANNOUNCE, self.announce_stop)
        gevent.signal_handler(signals.CEASE, self._cease_as_told)
        gevent.signal_handler(signals.PAUSE, self._instance.accepting, 0)
        gevent.signal_handler(signals.REST, self._server.rest)
        gevent.signal_handler(signals.RESUME, self._resume)
        for number in (signals.ANNOUNCE, signals.CEASE, signals.PAUSE, signals.REST, signals.RESUME):
            keep_signal(number)
        if self._begins_paused:
            self._instance.accepting(0)
        say(f"spawned uwsgi_ws worker {self._post.worker_id} (pid: {os.getpid()}, cores: {self._options.places})")
        self._tell(NoticeKind.READY)

    def _resume(self) -> None:
        self._server.accept_again()
        self._instance.accepting(1)

    def _cease_as_told(self) -> None:
        self.stop_accepting()
        gevent.sleep(0)  # idle connections are closed then
        self._tell(NoticeKind.CEASED)

    def _judge(self, status: WorkerStatus) -> None:
        """Ask to be replaced once a limit has been reached."""
        if self._is_spent:
            return
        age = time.monotonic() - self._begun_at
        reason = reason_to_go(self._options, status, age)
        if reason is None and age >= self._options.min_worker_lifetime:
            reason = self._server.overload.is_in_vain
        if reason is not None:
            self._is_spent = True
            say(f"{self} asks to be replaced: {reason}")
            self._tell(NoticeKind.SPENT)

    def _look_for_signals(self) -> None:
        try:
            os.eventfd_read(self._common.wakes_of(self._post.seat))
        except BlockingIOError:
            pass  # the worker before had this seat, too
        self._instance.signals.look()

    def _leave_with_the_master(self) -> None:
        loop: Any = gevent.get_hub().loop
        orphaned = loop.io(self._common.lifeline, 1, ref=False)

        def stop() -> None:
            orphaned.stop()
            say(f"{self}: the master is gone, so this worker ends, too")
            self.order(STOP)

        orphaned.start(stop)


class _Autoreload:
    """Reloads the instance when a module's file has changed.

    A generation whose code does not load leaves this worker in its place, so that it sees the next change too.
    """

    def __init__(self, options: Options, instance: Instance) -> None:
        self._every, self._ignored = options.py_autoreload, options.py_auto_reload_ignore
        self._instance = instance
        self._files = FileWatch(module_files(self._ignored))
        self._next_at = 0.0

    def look(self, status: WorkerStatus) -> None:
        """Look whether something has changed, if it is time."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + self._every
        changed = self._files.changed()
        self._files.watch(module_files(self._ignored))
        if changed is not None:
            say(f"*** {changed} has changed ***")
            self._instance.reload()
