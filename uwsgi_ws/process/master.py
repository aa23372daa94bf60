"""The master: forks, watches over the workers, replaces them; never in the way of a client's bytes.

It binds the sockets and keeps them open, so that clients are never refused while workers come and go. It loads neither
the application nor gevent. A fork server for each generation of workers does (see ``forkserver``), and forks when the
master orders it.

One rule leads to all else: each worker, 1 to N, has one process of the current generation that serves. Whenever
anything has changed, the master looks for workers that have none and orders one for each (``_fill``). A generation
becomes current when all of its workers accept clients; only then are those of the one before told to leave. So a crash,
a worker that wants to be replaced, and a reload that fails half-way are no special cases. A worker that exits before it
serves fails its generation: the next would exit, too. One that somebody has killed is replaced, some times.

The workers of the generation before leave in two steps: first all of them cease to accept, then each closes the
connections of its clients. Else a client that comes back at once could be accepted by another worker that leaves.

With ``--cheaper`` it is not each of 1 to N that has a process, but those that are wanted at the moment (``_wanted``);
``cheaper`` decides how many. One that is not wanted any more rests first: it accepts no client, and when its own have
left, or have had their time, it is told to leave. With none wanted (``--cheap``, ``--idle``), the first client that
waits at a socket wakes all.

Signals and notices only wake the loop; it alone acts, one thing after the other. All that it acts on is in one
class, as each decision rests on all of it.
"""

from __future__ import annotations

import ctypes
import math
import os
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any

from uwsgi_ws import __version__, _build
from uwsgi_ws.errors import BootError, OptionError
from uwsgi_ws.log import outputs, reopen, rotate, rotate_full, say
from uwsgi_ws.options import Hook, Options
from uwsgi_ws.process import forkserver, hooks, systemd
from uwsgi_ws.process.boot import become_user, complain, prepare, say_concurrency, starting, tell_notes
from uwsgi_ws.process.cheaper import Cheaper, Idleness, View
from uwsgi_ws.process.children import ChildKind, cause, exit_status, is_killed, reap, send
from uwsgi_ws.process.clock import Clock
from uwsgi_ws.process.common import Common, Notice, NoticeKind, Order
from uwsgi_ws.process.companions import Companions
from uwsgi_ws.process.control import Control
from uwsgi_ws.process.crons import Crons
from uwsgi_ws.process.daemons import Daemons
from uwsgi_ws.process.fifo import Fifo
from uwsgi_ws.process.generations import CEASING, GRACE, MIN_UPTIME, ORDERED, Generation, Life, WorkerProcess
from uwsgi_ws.process.keys import read_keys
from uwsgi_ws.process.metrics import Health, MetricsServer
from uwsgi_ws.process.naming import name_process
from uwsgi_ws.process.operations import Operations, Target
from uwsgi_ws.process.orders import Orders
from uwsgi_ws.process.pidfile import PidFile
from uwsgi_ws.process.responder import Responder
from uwsgi_ws.process.signals import ANNOUNCE, CEASE, HURRY, LEAVE, PAUSE, REOPEN, REST, RESUME, STOP, SignalQueue
from uwsgi_ws.process.sockets import Sockets
from uwsgi_ws.process.stats_server import StatsServer
from uwsgi_ws.process.watch import FileWatch, TreeWatch
from uwsgi_ws.process.watchdog import Watchdog
from uwsgi_ws.shared.status import WorkerStatus, described, in_words, newest
from uwsgi_ws.users import owners

__all__ = ["Master"]

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
#: Seconds between two looks at what the master is not told.
_INTERVAL = 1.0
#: Replacements in a row that may fail while no other worker serves; then the instance ends.
_ATTEMPTS = 5
#: Those of a worker of a generation that does not serve yet; then the start, or the reload, has failed.
_FIRST_ATTEMPTS = 2


class Master:
    """The process that was started.

    Args:
        options: Checked already.
        read_options: Reads them again, for the next generation; told whether there has been one before.
        started_in: The directory that the command line's relative paths start in.
    """

    def __init__(self, options: Options, read_options: Callable[[bool], Options], started_in: str) -> None:
        self._options = options
        self._read_options = read_options
        self._started_in = started_in
        self._workers: list[WorkerProcess] = []
        self._worker_ids = frozenset(range(1, options.processes + 1))
        self._spawns_of: Counter[int] = Counter()  # processes that each worker has been
        #: The workers that shall serve.
        self._wanted = set(range(1, (0 if options.cheap else options.first_workers) + 1))
        self._cheaper = Cheaper(options) if options.cheaper else None
        self._idleness = Idleness(options.idle)
        self._generations: list[Generation] = []  # those that have a fork server
        self._current: Generation | None = None  # whose workers serve
        self._coming: Generation | None = None  # whose workers shall serve
        self._wants_reload = False
        self._is_paused = False
        self._stops_at = math.inf  # once that has been announced
        self._is_stopping = False
        self._is_hurried = False
        self._reloads = {"done": 0, "failed": 0}
        self._status = 0
        self._next_look_at = 0.0

    def run(self) -> int:
        """Live; return the exit status.

        Raises:
            OptionError: an option turns out to be unusable, such as a port that is taken.
            BootError: there is nothing to listen on, or the system refuses what is needed.
        """
        with ExitStack() as made:
            with starting():
                self._start(made)
            self._begin_generation()
            self._loop()
        hooks.run(self._options, "as-user-atexit", is_fatal=False)
        say("goodbye to uwsgi_ws.")
        return self._status

    def _start(self, made: ExitStack) -> None:
        """Make all that is there before the first worker; ``made`` gets what takes away the files of it."""
        prepare(self._options, self._started_in)
        say(f"*** Starting uwsgi_ws {__version__} on [{time.ctime()}] ***")
        say(f"protocol core: {_build.name()}")
        say_concurrency(self._options)
        tell_notes(self._options)
        name_process(self._options, "master")
        hooks.run(self._options, "asap")
        self._sockets = Sockets.open(self._options)
        made.callback(self._sockets.remove_files)
        self._keys = read_keys(self._options)
        self._common = Common(
            self._options.processes,
            self._options.history_room,
            has_control=bool(self._options.control or self._options.inspector),
        )
        self._watchdog = Watchdog(self._options, self._common.scoreboard)
        self._meanings: dict[int, Callable[[], None]] = {
            signal.SIGHUP: self._reload,
            signal.SIGINT: self._stop,
            signal.SIGQUIT: self._stop,
            signal.SIGTERM: self._stop if self._options.stops_on_term else self._reload,
            signal.SIGUSR1: self._report,
            signal.SIGCHLD: lambda: None,  # each round of the loop looks for the dead
        }
        functions = {"grace_them_all": self._reload, "reap_them_all": self._reload}
        for hook in self._options.hook_master_start:
            if hook.action == "unix_signal":
                number, _, function = hook.argument.partition(" ")
                self._meanings[int(number)] = functions.get(function, self._stop)
        self._signals = SignalQueue(self._meanings)
        fifos: list[Fifo] = []
        self._orders = Orders(
            fifos,
            {
                "q": self._stop,
                "Q": self._stop_at_once,
                "rRc": self._reload,
                "wW": self._replace_all,
                "p": self._pause_or_resume,
                "l": self._reopen_log,
                "L": self._rotate_log,
                "P": self._write_pidfiles,
                "s": self._report,
                **self._letters_of_cheaper(),
            },
        )
        made.callback(self._orders.remove)
        for path in self._options.master_fifo:
            fifos.append(self._options.checked("master-fifo", partial(Fifo, users=owners(self._options.uid)), path))
        self._companions = Companions(self._is_used, self._could_not_start)
        made.callback(self._companions.close)
        self._operations = Operations(
            self._common.control,
            self._targets,
            self._control_status,
            {"reload": lambda request: self._reload(), "drain": self._drain},
        )
        self._responders: list[Responder] = []

        def respond(responder: Responder) -> None:
            self._responders.append(responder)
            made.callback(responder.close)

        respond(StatsServer(self._options, self._common.scoreboard, self._sockets, self._companions.described))
        respond(MetricsServer(self._options, self._common, self._sockets, self._health))
        respond(Control(self._options, self._operations))
        if self._options.inspector:
            # Not before: it brings the protocol engine along, which the master has no other use for.
            from uwsgi_ws.process.inspector import Inspector

            respond(Inspector(self._options, self._common, self._operations, self._inspected))
        #: Children beside the workers; a further kind is one more here.
        self._kinds: list[ChildKind] = [Daemons(self._options), Crons(self._options), self._companions]
        self._pidfile, self._safe_pidfile = (PidFile.of(self._options, name) for name in ("pidfile", "safe-pidfile"))
        self._pidfile.write()
        made.callback(self._pidfile.remove)
        self._safe_pidfile.reserve()
        for step in ("pre-jail", "post-jail", "in-jail", "as-root"):
            hooks.run(self._options, step)
        become_user(self._options, self._started_in)
        hooks.run(self._options, "as-user")
        self._pidfile2 = PidFile.of(self._options, "pidfile2")
        self._pidfile2.write()
        made.callback(self._pidfile2.remove)
        # Not before: what is watched may be the directory that they are in.
        self._touched = FileWatch(self._options.touch_reload)
        self._fs_watch = TreeWatch(self._options.fs_reload)
        self._clock = Clock(self._options)
        self._touch_orders = self._orders_of_touches()
        # Workers are not our own children (see ``forkserver``), but shall become so.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise BootError(f"cannot become the parent of the workers (prctl): {os.strerror(ctypes.get_errno())}")
        say(f"spawned uwsgi_ws master process (pid: {os.getpid()})")
        self._logs = outputs()
        for log in self._logs:
            log.attend(lambda: None)  # each round of the loop looks whether something waits
        hooks.run(self._options, "master-start")
        made.callback(self._safe_pidfile.remove)  # not before: it may be that of an instance that serves

    # The loop

    def _loop(self) -> None:
        while self._workers or self._generations or any(kind.live for kind in self._kinds) or not self._is_stopping:
            self._wait()
            for log in self._logs:
                log.write_on()
            for number in self._signals.take():
                self._meanings[number]()
            self._orders.carry_out()
            self._hear()
            self._wake()
            self._fill()
            self._part()
            self._kill_overdue()
            for kind in self._kinds:
                kind.look()
            if not self._is_stopping and self._clock.tick():
                self._wake_workers()
            self._operations.look()
            for responder in self._responders:
                responder.serve()
            if monotonic() >= self._stops_at and not self._is_stopping:
                self._end(0)
            if monotonic() >= self._next_look_at:
                self._next_look_at = monotonic() + _INTERVAL
                self._look_around()

    def _wait(self) -> None:
        """Wait until something may have happened."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        poll.register(self._common.notices, select.POLLIN)
        self._orders.register(poll)
        for log in self._logs:
            if log.is_waiting:
                poll.register(log, select.POLLOUT)
        for generation in self._generations:
            if generation.is_loading:
                assert generation.control is not None, "it is loading"
                poll.register(generation.control, select.POLLIN)
        self._companions.register(poll)
        self._operations.register(poll)
        for responder in self._responders:
            responder.register(poll)
        for sock in self._sockets if self._is_asleep else ():
            poll.register(sock, select.POLLIN)
        due = [worker.kill_at for worker in self._workers]
        due += [worker.started_at + ORDERED for worker in self._workers if worker.life is Life.ORDERED]
        due += [moment for kind in self._kinds for moment in kind.due]
        # The last one counts: a worker that has ceased to accept leaves together with the others.
        due += [
            max((worker.awaited_until for worker in self._workers if worker.life is Life.CEASING), default=math.inf)
        ]
        due += [math.inf if self._is_stopping else min(self._clock.due, self._stops_at)]
        due += [generation.kill_at for generation in self._generations]
        for alive in filter(None, (self._current, self._coming)):
            backoffs = [alive.restarts, *alive.backoffs.values()]
            due += [backoff.next_at for backoff in backoffs if backoff.next_at > monotonic()]
        left = min([_INTERVAL, *(moment - monotonic() for moment in due)])
        poll.poll(max(0, int(left * 1000) + 1))

    def _hear(self) -> None:
        """Take note of forks, readiness and exits."""
        # The order matters: a worker's fork is told before its process can be found dead.
        dead = list(reap())
        for notice in self._common.take_notices():
            self._take_notice(notice)
        for pid, status in dead:
            self._exited(pid, status)
        for generation in self._generations:
            if generation.is_loading:
                self._ask_fork_server(generation)

    def _look_around(self) -> None:
        """Look at what the master is not told."""
        if rotate_full():
            self._reopen_log()
        self._watchdog.look(self._workers)
        self._adjust()
        systemd.watchdog()
        self._sockets.tell_full_queues()
        if (path := self._touched.changed()) is not None:
            say(f"*** {path} has been touched ***")
            self._reload()
        if (path := self._fs_watch.changed()) is not None:
            say(f"*** {path} has changed ***")
            self._reload()
        for watch, order in self._touch_orders:
            if (path := watch.changed()) is not None:
                say(f"*** {path} has been touched ***")
                order()

    def _orders_of_touches(self) -> list[tuple[FileWatch, Callable[[], None]]]:
        """Return files with what is to be done when they change."""
        options = self._options
        orders: list[tuple[FileWatch, Callable[[], None]]] = [
            (FileWatch(options.touch_workers_reload), self._replace_all),
            (FileWatch(options.touch_logreopen), self._reopen_log),
            (FileWatch(options.touch_logrotate), self._rotate_log),
        ]
        for command in options.touch_exec:
            orders.append((FileWatch([command.path]), partial(self._spawn, command.hook.argument)))
        for touched in options.hook_touch:
            orders.append((FileWatch([touched.path]), partial(self._do, touched.hook)))
        return orders

    def _spawn(self, command: str) -> None:
        """Start a command; nothing waits for its end."""
        try:
            hooks.spawn(command)
        except OSError as exc:
            say(f"*** cannot run {command!r}: {exc.strerror} ***")

    def _do(self, hook: Hook) -> None:
        if problem := hooks.run_action(hook, "touch"):
            say(f"*** {hook.action}:{hook.argument} (touch): {problem} ***")

    # Generations

    def _begin_generation(self) -> None:
        """Have the application loaded, and workers forked that have it."""
        self._coming = Generation(self._common.new_signals())
        try:
            options = self._options if self._current is None else self._read_options(True)
            options = replace(options, processes=self._options.processes)
            self._coming.companions = self._companions.begin(self._coming, options)
        except OptionError as exc:
            self._give_up(complain(str(exc), 1))
            return
        try:
            self._start_fork_server(self._coming)
        except OSError as exc:
            self._give_up(complain(f"cannot start a process that loads the application: {exc.strerror}", 1))

    def _start_fork_server(self, generation: Generation) -> None:
        """Start one.

        Raises:
            OSError: the system has no process or no descriptor left.
        """
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        is_a_reload = self._current is not None
        try:
            pid = self._signals.fork()
        except OSError:
            ours.close()
            its.close()
            raise
        if not pid:
            ours.close()
            for other in self._generations:
                if other.control is not None:
                    other.control.close()
            self._companions.leave_master(generation)
            forkserver.run(
                self._common,
                self._sockets,
                self._keys,
                its,
                self._read_options,
                self._started_in,
                generation.signals,
                generation.companions,
                is_a_reload=is_a_reload,
            )
        its.close()
        ours.setblocking(False)
        generation.pid, generation.control = pid, ours
        self._generations.append(generation)

    def _ask_fork_server(self, generation: Generation) -> None:
        assert generation.control is not None
        try:
            if generation.control.recv(64) == forkserver.LOADED:
                generation.is_loaded, generation.loaded_at = True, monotonic()
        except (BlockingIOError, ConnectionError):
            pass  # not yet; or never, and then its death tells

    def _promote(self) -> None:
        """All workers of the coming generation accept clients: those before them may leave."""
        before, self._current, self._coming = self._current, self._coming, None
        assert self._current is not None, "it has workers"
        self._clock.follow(self._current.signals)
        if before is not None:
            before.retire()
        for backoff in self._current.backoffs.values():
            backoff.succeed()
        for worker in self._workers:
            if worker.generation is not self._current and worker.life is Life.SERVING:
                worker.life, worker.awaited_until = Life.CEASING, monotonic() + CEASING
                send(worker.pid, CEASE)
            elif worker.generation is not self._current:
                self._dismiss(worker)
        if before is None:
            self._safe_pidfile.write()
            if not self._wanted:
                say("*** cheap mode: workers are started when a client comes ***")
        systemd.ready(f"{len(self._wanted)} workers serve")
        if before is not None:
            self._reloads["done"] += 1
            for number in before.signals.close():
                self._clock.raise_signal(number)
            for kind in self._kinds:
                kind.renew()
            say("*** reloaded: new workers serve, the old ones leave ***")
        self._wake_workers()
        if self._wants_reload:
            self._wants_reload = False
            self._reload()

    def _give_up(self, status: int) -> None:
        """The coming generation cannot be: go on with the current one, or end where there is none."""
        coming, self._coming = self._coming, None
        assert coming is not None
        coming.retire()
        for worker in self._workers:
            if worker.generation is coming and worker.life is not Life.ORDERED:
                worker.life, worker.kill_at = Life.LEAVING, 0.0
        if self._current is None:
            self._end(status or 1)
            return
        self._reloads["failed"] += 1
        systemd.ready("the last reload failed, the workers before it serve")
        say(f"*** reload failed (exit status {status}), its reason is above: the old workers go on ***")
        if self._wants_reload:
            self._wants_reload = False
            self._reload()

    def _is_used(self, generation: Generation) -> bool:
        """Return whether a generation has workers, or will have."""
        if any(worker.generation is generation for worker in self._workers):
            return True
        return not self._is_stopping and generation in (self._current, self._coming)

    def _could_not_start(self, generation: Generation, status: int) -> None:
        """An application in another language could not be started."""
        if generation is self._coming:
            self._give_up(status)

    # Workers

    def _fill(self) -> None:
        """See that each worker has a process, or will have."""
        if self._is_stopping:
            return
        for generation in filter(None, (self._current, self._coming)):
            if generation not in self._generations and generation.restarts.next_at <= monotonic():
                try:
                    self._start_fork_server(generation)
                except OSError as exc:
                    generation.restarts.fail()
                    say(f"*** cannot start a process that loads the application, later again: {exc.strerror} ***")
            if generation.is_loaded and self._companions.is_ready(generation):
                self._fill_generation(generation)
        if self._coming is not None:
            serving = [worker for worker in self._workers if worker.life is Life.SERVING]
            ids = {worker.order.worker_id for worker in serving if worker.generation is self._coming}
            if self._wanted <= ids and (ids or self._coming.is_loaded):
                self._promote()

    def _fill_generation(self, generation: Generation) -> None:
        taken = {worker.order.seat for worker in self._workers}
        staying = [worker for worker in self._workers if worker.generation is generation]
        staying = [worker for worker in staying if worker.life not in (Life.RESTING, Life.CEASING, Life.LEAVING)]
        spent = next((worker for worker in staying if worker.is_spent and generation is self._current), None)
        # One after the other: workers that were started together reach their limits together.
        filled = {worker.order.worker_id for worker in staying if worker is not spent}
        for worker_id in sorted(self._wanted):
            backoff = generation.backoffs[worker_id]
            seat = next((seat for seat in range(self._common.scoreboard.seats) if seat not in taken), None)
            if worker_id in filled or backoff.next_at > monotonic() or seat is None:
                continue
            taken.add(seat)
            self._spawns_of[worker_id] += 1
            order = Order(worker_id, seat, self._spawns_of[worker_id], self._is_paused)
            worker = WorkerProcess(order, generation)
            self._common.scoreboard.clear(seat)
            self._workers.append(worker)
            assert generation.control is not None, "its fork server is loaded"
            try:
                generation.control.send(order.pack())
            except OSError:
                # The fork server has just died, and the next one gets the order; or there is no memory for it now.
                self._forget(worker)

    # How many there are

    def _adjust(self) -> None:
        """Have more workers or fewer, as many as there is work for."""
        workers, scoreboard, now = self._workers, self._common.scoreboard, monotonic()
        scoreboard.show_cheap(self._worker_ids - self._wanted - {worker.order.worker_id for worker in workers})
        for worker in workers:
            is_empty = not scoreboard.read(worker.order.seat).clients
            if worker.life is Life.RESTING and (is_empty or worker.awaited_until <= now):
                self._dismiss(worker)
        if self._is_stopping or self._is_paused or self._current is None or self._coming is not None:
            return
        serving = {worker: scoreboard.read(worker.order.seat) for worker in workers if worker.life is Life.SERVING}
        resting = [scoreboard.read(worker.order.seat) for worker in workers if worker.life is Life.RESTING]
        coming = sum(worker.life in (Life.ORDERED, Life.STARTING) for worker in workers)
        if self._idleness.look(now, [*serving.values(), *resting], coming):
            self._sleep()
        elif self._cheaper is not None:
            view = View(now, [*serving.values()], resting, coming, len(self._wanted), self._sockets.waiting)
            change, why = self._cheaper.look(view)
            if why:
                say(f"cheaper: {why}; {len(self._wanted) + change} of {len(self._worker_ids)} workers are wanted")
            for _ in range(change):
                self._want_one_more()
            for _ in range(-change):
                self._want_one_less(serving)

    def _want_one_more(self) -> None:
        for worker in self._workers:
            if worker.life is Life.RESTING:
                worker.life = Life.SERVING
                self._wanted.add(worker.order.worker_id)
                send(worker.pid, RESUME)
                return
        self._wanted.add(min(self._worker_ids - self._wanted))

    def _want_one_less(self, serving: dict[WorkerProcess, WorkerStatus]) -> None:
        """Let the worker rest that has the fewest clients; never worker 1, which does some things for all."""
        workers = [worker for worker in serving if worker.life is Life.SERVING and not worker.is_spent]
        workers = [worker for worker in workers if worker.order.worker_id > 1]
        if workers:
            worker = min(workers, key=lambda worker: (serving[worker].clients, -worker.order.worker_id))
            self._wanted.discard(worker.order.worker_id)
            worker.life, worker.awaited_until = Life.RESTING, monotonic() + self._options.cheaper_mercy
            send(worker.pid, REST)

    def _letters_of_cheaper(self) -> dict[str, Callable[[], None]]:
        if self._cheaper is None:
            return {}
        return {"+": partial(self._cheaper.ask, 1), "-": partial(self._cheaper.ask, -1)}

    def _sleep(self) -> None:
        """Nobody has wanted anything for long: end all workers, or the instance."""
        say(f"*** no client for {self._options.idle:g} seconds ***")
        if self._options.die_on_idle:
            self._stop()
            return
        self._wanted.clear()
        for worker in self._workers:
            self._dismiss(worker)

    @property
    def _is_asleep(self) -> bool:
        """Whether no worker is wanted until a client comes."""
        return not self._wanted and not self._is_stopping and not self._is_paused and self._current is not None

    def _wake(self) -> None:
        if self._is_asleep and self._sockets.have_client():
            say("*** a client has come, workers are started ***")
            self._wanted.update(range(1, self._options.first_workers + 1))

    def _raise_signal(self, notice: Notice) -> None:
        """Raise a signal of uWSGI's: in the generation that serves, or that whose application is still loaded."""
        coming = self._coming
        if coming is not None and (
            self._current is None
            or coming.pid == notice.pid
            or any(worker.pid == notice.pid and worker.generation is coming for worker in self._workers)
        ):
            self._clock.raise_signal(notice.number, coming.signals)
        elif self._current is not None:
            self._clock.raise_signal(notice.number)
            self._wake_workers()

    def _wake_workers(self) -> None:
        """Have the workers that serve look for signals of uWSGI's."""
        for worker in self._workers:
            if worker.generation is self._current and worker.life is not Life.ORDERED:
                self._common.wake(worker.order.seat)

    def _take_notice(self, notice: Notice) -> None:
        if notice.kind == NoticeKind.SIGNALLED:
            self._raise_signal(notice)
            return
        for worker in self._workers:
            if worker.order.seat == notice.seat:
                break
        else:
            return
        if worker.life is Life.ORDERED and notice.kind in (NoticeKind.FORKED, NoticeKind.READY):
            # The worker itself may be heard before the process in between, which tells of the fork, has run.
            worker.pid, worker.life, worker.started_at = notice.pid, Life.STARTING, monotonic()
            if self._is_stopping or worker.generation not in (self._current, self._coming):
                self._dismiss(worker)  # it is not wanted any more
        if notice.kind == NoticeKind.FORK_FAILED:
            say(f"worker {worker.order.worker_id} could not be forked")
            self._forget(worker)
            self._put_off(worker, os.EX_OSERR)
        elif notice.kind == NoticeKind.SPENT:
            worker.is_spent = True
        elif notice.kind == NoticeKind.CEASED:
            worker.awaited_until = 0.0
        elif notice.kind == NoticeKind.READY and worker.life is Life.STARTING:
            worker.life = Life.SERVING
            if self._is_paused != worker.order.is_paused:  # that has changed since it was ordered
                send(worker.pid, PAUSE if self._is_paused else RESUME)
            if self._stops_at < math.inf:
                send(worker.pid, ANNOUNCE)
            for other in self._workers:
                if other.is_spent and other.order.worker_id == worker.order.worker_id:
                    self._dismiss(other)

    def _part(self) -> None:
        """Let those go that have ceased to accept, once all have."""
        ceasing = [worker for worker in self._workers if worker.life is Life.CEASING]
        if all(worker.awaited_until <= monotonic() for worker in ceasing):
            for worker in ceasing:
                self._dismiss(worker)

    def _dismiss(self, worker: WorkerProcess) -> None:
        """Tell a worker to leave; why, and how fast, it knows from the signal."""
        if worker.life is Life.ORDERED:
            return  # it has no process yet; it is told when it has one
        if self._is_hurried:
            number, timeout = HURRY, 0.0
        elif self._is_stopping:
            number, timeout = STOP, self._options.reload_mercy
        else:
            number, timeout = LEAVE, self._options.worker_reload_mercy
        worker.life = Life.LEAVING
        worker.kill_at = min(worker.kill_at, monotonic() + timeout + GRACE)
        send(worker.pid, number)

    def _kill_overdue(self) -> None:
        for worker in self._workers:
            if worker.kill_at <= monotonic():
                say(f"{worker} does not leave, it is killed")
                worker.kill_at = math.inf
                send(worker.pid, signal.SIGKILL)
        for generation in self._generations:
            if generation.kill_at <= monotonic():
                generation.kill_at = math.inf
                send(generation.pid, signal.SIGKILL)

        for worker in self._workers:
            if worker.life is Life.ORDERED and worker.started_at + ORDERED <= monotonic():
                worker.started_at = math.inf  # once; its death has the order given again
                say(f"worker {worker.order.worker_id} is not forked, so the fork server is killed")
                send(worker.generation.pid, signal.SIGKILL)

    def _exited(self, pid: int, status: int) -> None:
        """A process has ended: a child of ours, or one that a child has left behind."""
        if any(kind.exited(pid, status) for kind in self._kinds):
            return
        for worker in self._workers:
            if worker.pid == pid:
                self._worker_exited(worker, status)
                return
        for generation in self._generations:
            if generation.pid == pid:
                self._fork_server_exited(generation, status)
                return

    def _worker_exited(self, worker: WorkerProcess, status: int) -> None:
        self._forget(worker)
        if worker.life in (Life.CEASING, Life.LEAVING) or self._is_stopping:
            say(f"{worker} has left")
            return
        is_new = worker.generation is self._coming and worker.life is not Life.SERVING
        if is_new and not is_killed(status):
            say(f"{worker} could not start, {cause(status)}")
            self._give_up(exit_status(status))
            return
        if worker.order.worker_id not in self._wanted:
            say(f"{worker} died, {cause(status)}; there are enough others")
            return
        say(f"DAMN ! {worker} died, {cause(status)} :( trying respawn ...")
        if worker.life is Life.SERVING and monotonic() - worker.started_at >= MIN_UPTIME:
            worker.generation.backoffs[worker.order.worker_id].succeed()
        self._put_off(worker, exit_status(status))

    def _fork_server_exited(self, generation: Generation, status: int) -> None:
        self._generations.remove(generation)
        was_wanted, was_loaded = generation.control is not None, generation.is_loaded
        generation.retire()
        for worker in [worker for worker in self._workers if worker.generation is generation]:
            if worker.life is Life.ORDERED:
                self._forget(worker)
        if not was_wanted:
            return
        if generation is self._coming and not was_loaded:
            self._give_up(exit_status(status))
            return
        # The workers do not need it, but the next one that dies will.
        say(f"the fork server died, {cause(status)}: the application is loaded again")
        generation.kill_at = math.inf
        if was_loaded and monotonic() - generation.loaded_at >= MIN_UPTIME:
            generation.restarts.succeed()
        generation.restarts.fail()

    def _put_off(self, worker: WorkerProcess, status: int) -> None:
        """A worker has ended that was not told to leave: replace it, sooner or later; or end, when that is in vain."""
        backoff = worker.generation.backoffs[worker.order.worker_id]
        backoff.fail()
        none_serves = not any(other.life is Life.SERVING for other in self._workers)
        if worker.generation is self._coming:
            if backoff.failures > _FIRST_ATTEMPTS:
                self._give_up(status)
        elif backoff.failures > _ATTEMPTS and none_serves:
            say("*** no worker stays alive, giving up ***")
            self._end(status or 1)

    def _forget(self, worker: WorkerProcess) -> None:
        self._workers.remove(worker)
        self._common.vacate(worker.order.seat)

    # What signals ask for

    def _reload(self) -> None:
        """Load the application again and replace the workers; one reload at a time."""
        if self._is_stopping or self._stops_at < math.inf:
            return
        if self._options.exit_on_reload:
            self._stop()
            return
        if self._coming is not None:
            self._wants_reload = True
            return
        reopen()  # it may have been moved, and the new workers open it, too
        say("*** reloading ***")
        systemd.reloading()
        self._begin_generation()

    def _stop(self) -> None:
        """End everything, after --stop-delay; asked a second time, without waiting for clients."""
        if self._is_stopping or self._stops_at < math.inf:
            self._is_hurried = True
        elif self._options.stop_delay:
            self._announce_stop(self._options.stop_delay)
            return
        else:
            say("SIGINT/SIGTERM/SIGQUIT received...stopping all workers")
        self._end(0)

    def _announce_stop(self, delay: float) -> None:
        """Serve on, and have all who ask for the instance's health send new clients elsewhere."""
        say(f"SIGINT/SIGTERM/SIGQUIT received...stopping all workers in {delay:g} seconds")
        systemd.stopping()
        self._stops_at = monotonic() + delay
        for worker in self._workers:
            if worker.life is Life.SERVING:
                send(worker.pid, ANNOUNCE)

    def _stop_at_once(self) -> None:
        self._stop()
        self._stop()

    def _replace_all(self) -> None:
        for worker in self._workers:
            if worker.life is Life.RESTING:
                self._dismiss(worker)
            worker.is_spent = True

    def _report(self) -> None:
        """Log how the workers stand; of one that is being replaced, its successor."""
        for status in newest(self._common.scoreboard):
            say(in_words(status))

    def _health(self) -> Health:
        serving = [worker for worker in self._workers if worker.life is Life.SERVING]
        return Health(
            is_ready=(bool(serving) or self._is_asleep)
            and not self._is_stopping
            and self._stops_at == math.inf
            and not self._is_paused,
            workers={life.name.lower(): sum(worker.life is life for worker in self._workers) for life in Life},
            serving=frozenset(worker.order.seat for worker in serving),
            reloads=self._reloads,
            spawns=self._spawns_of.total(),
        )

    def _targets(self) -> list[Target]:
        workers = sorted(self._workers, key=lambda each: each.life is not Life.SERVING)  # who publishes shall stay
        return [Target(each.order.worker_id, each.order.seat, each.pid, each.life.name.lower()) for each in workers]

    def _control_status(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "pid": os.getpid(),
            "is_ready": self._health().is_ready,
            "listen_queue": self._sockets.waiting,
            "workers": [described(status) for status in newest(self._common.scoreboard)],
        }

    def _inspected(self) -> dict[str, Any]:
        """Return what is shown of the instance as a whole."""
        return {
            "version": __version__,
            "core": _build.name(),
            "pid": os.getpid(),
            "is_ready": self._health().is_ready,
            "is_stopping": self._is_stopping,
            "is_paused": self._is_paused,
            "is_reloading": self._coming is not None,
            "reloads": self._reloads,
            "listen_queue": 0 if self._is_stopping else self._sockets.waiting,
        }

    def _drain(self, request: dict[str, Any]) -> None:
        """Let clients finish, and end; or replace one worker so.

        Raises:
            ValueError: there is no such worker.
        """
        if (worker_id := request.get("worker")) is None:
            self._stop()
            return
        found = [each for each in self._workers if each.order.worker_id == worker_id and each.life is Life.SERVING]
        if not found:
            raise ValueError(f"no worker {worker_id!r} serves")
        for worker in found:
            worker.is_spent = True

    def _pause_or_resume(self) -> None:
        """Have all workers, later ones too, accept no client, or accept again; connected clients are served."""
        self._is_paused = not self._is_paused
        say(f"*** {'paused: new clients wait' if self._is_paused else 'resumed'} ***")
        for worker in self._workers:
            if worker.life is Life.SERVING:
                send(worker.pid, PAUSE if self._is_paused else RESUME)

    def _reopen_log(self) -> None:
        reopen()
        pids = [worker.pid for worker in self._workers] + [generation.pid for generation in self._generations]
        for pid in filter(None, pids):  # none is there yet of a worker that is only ordered
            send(pid, REOPEN)
        say("*** the log has been opened again ***")

    def _rotate_log(self) -> None:
        if rotate():
            self._reopen_log()
        else:
            say("*** master fifo: 'L' has no effect, there is no --logto ***")

    def _write_pidfiles(self) -> None:
        for file in (self._pidfile, self._pidfile2, self._safe_pidfile):
            try:
                file.write()
            except OptionError as exc:
                say(f"*** {exc} ***")

    def _end(self, status: int) -> None:
        systemd.stopping()
        self._is_stopping = True
        self._status = self._status or status
        # Together with those of the workers these are the last ends: clients are refused from here on.
        self._sockets.close()
        for kind in self._kinds:
            kind.stop()
        for generation in self._generations:
            generation.retire()
        for worker in self._workers:
            self._dismiss(worker)
