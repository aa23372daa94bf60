"""The fork server: a process that loads the application once, and forks workers when the master orders them.

There is one for each generation of workers, that is for each time the application is loaded. So the master itself
never runs a line of the application's. A reload is a new fork server beside the old one: when the new code cannot be
loaded, the old generation has lost nothing, not even the means to replace a worker that dies.

Threads and greenlets that the application starts while it is loaded go on here and nowhere else, as in uWSGI they go on
in the process that has loaded it. A fork copies no threads; greenlets are left behind by ``own.fork``.

A worker is forked by way of a process in between that ends at once. The kernel then makes it a child of the master,
which has declared itself for that (a "subreaper"), and which so learns of its end whatever becomes of the fork server.
"""

from __future__ import annotations

import _socket
import gc
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from uwsgi_ws.collector import at_rest
from uwsgi_ws.hub import own
from uwsgi_ws.log import say
from uwsgi_ws.log.output import flush_streams
from uwsgi_ws.process.boot import end, go_back, prepare, starting, status_of, tell_notes
from uwsgi_ws.process.common import Common, NoticeKind, Order
from uwsgi_ws.process.naming import name_process
from uwsgi_ws.process.sockets import Sockets

if TYPE_CHECKING:
    from uwsgi_ws.api.instance import Instance
    from uwsgi_ws.net.pem import Contents
    from uwsgi_ws.options import CompanionSpec, Options
    from uwsgi_ws.shared.signals import SignalTable
    from uwsgi_ws.wsgi.applications import Applications

__all__ = ["LOADED", "run"]

#: What a fork server says when it can take orders.
LOADED = b"loaded"


def run(
    common: Common,
    sockets: Sockets,
    keys: Contents,
    control: socket.socket,
    read_options: Callable[[bool], Options],
    started_in: str,
    signals: SignalTable,
    companions: Mapping[CompanionSpec, str],
    *,
    is_a_reload: bool,
) -> NoReturn:
    """Be a fork server; the process has just been forked for it, and ends with it.

    Args:
        common: From the master.
        sockets: From the master.
        keys: From the master, which may have read files that this process may not.
        control: Where orders come from, and ``LOADED`` goes to; its end is the fork server's.
        read_options: Reads them again: they may have changed since the master did. Told ``is_a_reload``.
        started_in: The directory that relative paths start in.
        signals: Where the application's signals of uWSGI's are registered.
        companions: The sockets of the applications in other languages.
        is_a_reload: Whether there have been workers before.
    """

    def life() -> int:
        with starting():
            own.arm()
            own.keep_socket(control)
            common.leave_master()
            go_back(started_in)
            # Addresses and the number of workers are the master's; it goes on with those it has.
            options = replace(read_options(is_a_reload), processes=common.processes)
            server = _ForkServer(common, sockets, keys, control, options, started_in, signals, companions, is_a_reload)
            control.send(LOADED)
        server.take_orders()
        return 0

    end(status_of(life))


class _ForkServer:
    def __init__(
        self,
        common: Common,
        sockets: Sockets,
        keys: Contents,
        control: socket.socket,
        options: Options,
        started_in: str,
        signals: SignalTable,
        companions: Mapping[CompanionSpec, str],
        is_a_reload: bool,
    ) -> None:
        self._common = common
        self._sockets = sockets
        self._control = control
        self._options = options
        self._companions = companions
        if options.monkey_patch:
            with at_rest():
                from uwsgi_ws.hub.patching import patch

                patch()
        name_process(options, "fork server")
        prepare(options, started_in)
        if is_a_reload:  # else the master has told the same
            tell_notes(options)
        # Not before: it imports what must be patched.
        with at_rest():
            from uwsgi_ws.api.instance import Instance
            from uwsgi_ws.api.signals import Signals
            from uwsgi_ws.hub.shield import shield_signals
            from uwsgi_ws.process.assembly import install_api, load_applications, make_equipment
            from uwsgi_ws.process.preloading import import_for_requests
            from uwsgi_ws.shared.locks import SharedLock

        self._instance: Instance = Instance(common.master_pid, threads=not options.gevent)
        self._instance.signals = Signals(
            self._instance.worker_id,
            signals,
            SharedLock(common.signal_lock, 0),
            lambda number: common.notify(NoticeKind.SIGNALLED, 0, os.getpid(), number),
        )
        shield_signals()
        install_api(options, sockets, self._instance, is_a_reload=is_a_reload)
        import_for_requests(options)
        self._equipment = make_equipment(options, sockets, keys)
        before = _descriptors()
        self._applications: Applications | None = None if options.lazy_apps else load_applications(options, companions)
        if common.processes > 1:
            _warn_of_shared(_descriptors() - before, common.processes)
        # What is loaded stays. The collector need not look at it again, and so leaves the pages shared.
        gc.collect()
        own.note_greenlets()
        gc.freeze()

    def take_orders(self) -> None:
        """Fork until no more orders can come."""
        from gevent import get_hub
        from gevent.socket import wait_read

        from uwsgi_ws.hub.shield import shield
        from uwsgi_ws.process.attend_log import attend_log

        # What the application has started goes on meanwhile, and may fail.
        shield(get_hub())
        attend_log(get_hub())
        while True:
            wait_read(self._control.fileno())
            order = self._control.recv(1024)
            if not order:
                return
            self.fork(Order.unpack(order))

    def fork(self, order: Order) -> None:
        """Have a worker forked that is not our child."""
        from gevent.monkey import get_original

        # gevent's version takes its word for children that it has not forked.
        waitpid = get_original("os", "waitpid")
        flush_streams()
        try:
            between = own.fork()
        except OSError:
            self._common.notify(NoticeKind.FORK_FAILED, order.seat, 0)
            return
        if between:
            try:
                _, status = waitpid(between, 0)
            except ChildProcessError:
                status = 0  # a hook of the application's has let the event loop run, which takes all children
            if status:
                self._common.notify(NoticeKind.FORK_FAILED, order.seat, 0)
            return
        # The worker's end is for the master to hear of: an event loop, if the application lets it run here, takes
        # every child that it hears of.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        try:
            pid = own.fork()
        except OSError:
            self._common.notify(NoticeKind.FORK_FAILED, order.seat, 0)
            os._exit(0)
        if pid:
            self._common.notify(NoticeKind.FORKED, order.seat, pid)
            os._exit(0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        self._be_worker(order)

    def _be_worker(self, order: Order) -> NoReturn:
        def life() -> int:
            from uwsgi_ws.process.assembly import load_applications
            from uwsgi_ws.process.mastered import MasteredWorker

            self._control.close()
            self._instance.enter(order.worker_id)
            applications = self._applications
            if applications is None:
                applications = load_applications(self._options, self._companions)
            with starting():
                worker = MasteredWorker(
                    self._options, self._sockets, self._equipment, applications, self._instance, self._common, order
                )
            worker.live()
            return 0

        end(status_of(life))


def _descriptors() -> set[int]:
    """Return those that are open; not the one by which they are listed, whose number is free afterwards."""
    return {fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}")}


def _warn_of_shared(fds: set[int], workers: int) -> None:
    """Say which connections all workers will share, so that an answer reaches the worker that reads first."""
    peers = []
    for fd in sorted(fds):
        try:
            with closing(_socket.socket(fileno=os.dup(fd))) as sock:
                peer = sock.getpeername()
        except OSError:
            continue  # no socket, or one without a peer
        if peer:  # that of a socketpair has no name
            peers.append(":".join(map(str, peer[:2])) if isinstance(peer, tuple) else os.fsdecode(peer))
    if peers:
        say(
            f"*** WARNING: while it was loaded the application has connected to {', '.join(peers)}, and all {workers} "
            "workers share that: let it connect in uwsgi.post_fork_hook, or give --lazy-apps ***"
        )
