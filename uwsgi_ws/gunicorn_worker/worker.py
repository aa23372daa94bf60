"""A worker of gunicorn's that serves by our server: gunicorn forks it, tells it what to do, and buries it.

gunicorn's signal handlers only set ``alive``, and their number wakes the event loop by way of ``PIPE``; all work is
done there. What ``process.worker`` does is done by it, what gunicorn's base class does is left to that.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from typing import Any, ClassVar, NoReturn, cast

import gevent
from gevent import monkey
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker as BaseWorker

from uwsgi_ws import _build
from uwsgi_ws.errors import BootError, OptionError
from uwsgi_ws.gunicorn_worker.company import Company
from uwsgi_ws.gunicorn_worker.requests import RequestLog, environ_step, hooks_step, keeping_headers
from uwsgi_ws.gunicorn_worker.settings import (
    certificate_files,
    dialect,
    head_limits,
    is_default,
    make_options,
    remarks,
)
from uwsgi_ws.hub import own
from uwsgi_ws.hub.patching import patch
from uwsgi_ws.hub.shield import shield_signals
from uwsgi_ws.log import log_by
from uwsgi_ws.net.contexts import Certificates
from uwsgi_ws.options import Options
from uwsgi_ws.process.assembly import Equipment, make_equipment
from uwsgi_ws.process.limits import reason_to_go
from uwsgi_ws.process.preloading import import_for_requests
from uwsgi_ws.process.sockets import Sockets
from uwsgi_ws.process.worker import HURRY, RELOAD, STOP, Worker
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.steps import Handler, Step
from uwsgi_ws.shared.status import WorkerStatus
from uwsgi_ws.wsgi.applications import Applications

__all__ = ["GeventWorker"]

#: gunicorn's exit status of a worker that cannot start: it stops then instead of trying again and again.
_BOOT_ERROR = 3
#: Seconds that closing handshakes may take when gunicorn is told to stop at once.
_QUICK = 0.5
#: Seconds that the interpreter may take for its end, behind gunicorn's own hook.
_LAST = 3.0
#: Patched ones would need the event loop.
_sleep: Any = monkey.get_original("time", "sleep")
_start_thread: Any = monkey.get_original("_thread", "start_new_thread")
_READABLE = 1
#: gunicorn's signals to a worker.
_ORDERS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGUSR1, signal.SIGABRT)


class GeventWorker(BaseWorker):  # type: ignore[misc]  # gunicorn has no types
    """Serves HTTP and WebSockets in greenlets, with ``import uwsgi`` and ``uwsgi_ws`` for the application."""

    #: The arbiter's, which all workers inherit.
    company: ClassVar[Company | None] = None
    alive: bool

    # In the arbiter

    @classmethod
    def setup(cls) -> None:
        """Make ``import uwsgi`` work; gunicorn calls this before anything imports the application."""
        if GeventWorker.company is None:
            try:
                GeventWorker.company = Company()
            except (OptionError, BootError) as exc:
                raise RuntimeError(str(exc)) from None  # which gunicorn shows without a traceback

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Say at the start what is wrong, and what cannot be kept."""
        assert cls.company is not None, "gunicorn has called setup"
        try:
            options = make_options(cfg)
            certificate_files(cfg)
            cls.company.prepare(options.processes)
        except (OptionError, BootError) as exc:
            raise RuntimeError(str(exc)) from None
        import_for_requests(options)
        for remark in [*remarks(cfg, options), *cls.company.too_late(options)]:
            log.warning("uwsgi_ws: %s", remark)

    def __init__(self, age: int, *args: Any, **options: Any) -> None:
        super().__init__(age, *args, **options)
        assert self.company is not None, "gunicorn has called setup"
        self.place = self.company.give_place(age, self.cfg)
        if self.place.seat is None:
            self.log.error("uwsgi_ws: no channel connects one more worker with the others: start gunicorn again")
        # The one thing that gunicorn does with each worker that is dead, before its hook.
        close, take_back = self.tmp.close, self.company.take_back

        def close_and_take_back() -> None:
            close()
            take_back(age)

        self.tmp.close = close_and_take_back

    # In the worker

    def init_process(self) -> None:
        """Prepare this process for greenlets, then have gunicorn load the application and call ``run``."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _ORDERS)  # the arbiter's handlers would lose them
        own.arm()
        gevent.reinit()  # the arbiter may have a hub, if its configuration has patched it
        patch()
        shield_signals()
        log_by(self._log_line)
        self._worker: Worker | None = None
        self._ordered = ""
        self._begun_at = time.monotonic()
        company = self.company
        assert company is not None
        try:
            self._options = make_options(self.cfg)
            self._listening = self._given(secure=True)
            self._post = company.enter(self.place, self._options, self._listening)
        except (OptionError, BootError) as exc:
            self._give_up(exc)
        super().init_process()

    def _log_line(self, level: int, text: str) -> None:
        self.log.log(level, text)

    def _give_up(self, error: Exception) -> NoReturn:
        for line in str(error).splitlines():
            self.log.error("uwsgi_ws: %s", line)
        sys.exit(_BOOT_ERROR)

    def init_signals(self) -> None:
        """Take signals as gunicorn's workers do; children's stay gevent's."""
        super().init_signals()
        gevent.get_hub().loop.install_sigchld()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ORDERS)

    def run(self) -> None:
        """Serve until gunicorn wants no more, and let clients finish."""
        loop: Any = gevent.get_hub().loop
        try:
            self._worker = worker = self._make_worker()
            woken = loop.io(self.PIPE[0], _READABLE, ref=False)
            woken.start(self._wake)
            worker.leave(worker.serve({}, self._be_ready))
        except (OptionError, BootError) as exc:
            self._give_up(exc)
        worker.finish(lambda: os._exit(0))
        _start_thread(_end_in_time, (0,))

    def _make_worker(self) -> Worker:
        options, listening = self._options, self._listening
        equipment = self._equipment(options, listening)
        script_name = os.environ.get("SCRIPT_NAME", "")
        applications = Applications(manage_script_name=bool(script_name), has_default=not script_name)
        application = self.wsgi
        if not is_default(self.cfg, "post_request") or "}o" in self.cfg.access_log_format:
            application = keeping_headers(application)
        applications.add(script_name, application)
        assert self.company is not None
        worker = Worker(options, listening, equipment, applications, self.company.instance, self._post)
        worker.heartbeat.on_beat(self._beat)
        return worker

    def _given(self, *, secure: bool) -> Sockets:
        """Return the listening sockets."""
        return Sockets.given(
            [each.sock for each in self.sockets],
            self._options,
            dialect(self.cfg),
            certificate_files(self.cfg) if secure else None,
            is_shared=self.cfg.workers > 1 and not self.cfg.reuse_port,
        )

    def _equipment(self, options: Options, listening: Sockets) -> Equipment:
        cfg = self.cfg
        hook = None if is_default(cfg, "ssl_context") or not cfg.is_ssl else cfg.ssl_context
        equipment = make_equipment(options, listening if hook is None else self._given(secure=False), {})
        if hook is not None:

            def usual() -> Any:
                return next(iter(make_equipment(options, listening, {}).certificates.values())).context()

            certificates = cast(Certificates, _Hooked(hook(cfg, usual)))
            secured = [endpoint.secure for endpoint in listening.endpoints if endpoint.secure is not None]
            equipment = replace(equipment, certificates=dict.fromkeys(secured, certificates))
        steps: list[Step] = [environ_step(cfg)]
        if self.max_requests < sys.maxsize:
            steps.append(self._count)
        if not (is_default(cfg, "pre_request") and is_default(cfg, "post_request")):
            steps.append(hooks_step(self, cfg))
        return replace(
            equipment,
            steps=tuple(steps),
            head_limits=head_limits(cfg),
            access_log=RequestLog(self.log) if self._logs_requests else None,
        )

    @property
    def _logs_requests(self) -> bool:
        """Whether gunicorn's logger does anything with a request; one for statsd does without an access log, too."""
        return type(self.log).access is not Logger.access or self.log.access_log_enabled

    def _count(self, request: Request, otherwise: Handler) -> None:
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
            self._look()
        otherwise(request)

    def _be_ready(self) -> None:
        # Our worker leaves a terminal's signals to its master; gunicorn's take them.
        signal.signal(signal.SIGINT, self.handle_quit)
        signal.signal(signal.SIGQUIT, self.handle_quit)
        for number in (*_ORDERS, signal.SIGWINCH):
            own.keep_signal(number)
        self.log.info(
            "spawned uwsgi_ws worker %s (pid: %s, cores: %s, protocol core: %s)",
            self.place.worker_id,
            self.pid,
            self._options.places,
            _build.name(),
        )
        self._look()

    def _beat(self, status: WorkerStatus) -> None:
        """Tell gunicorn and the others that this worker lives; the event loop does so once a second."""
        assert self.company is not None
        try:
            self.notify()
        except ValueError:
            return  # gunicorn has closed the file: this process is about to end
        self.company.write(self.place, status)
        if self.alive:
            reason = reason_to_go(self._options, status, time.monotonic() - self._begun_at)
            if reason is not None:
                self.log.info("Autorestarting worker: %s", reason)
                self.alive = False
            elif self.ppid != os.getppid():
                self.log.info("Parent changed, shutting down: %s", self)
                self.alive = False
        self._look()

    def _wake(self) -> None:
        """A signal has come, or the reloader has seen a change."""
        try:
            os.read(self.PIPE[0], 4096)
        except BlockingIOError:
            pass
        self._look()

    def _look(self) -> None:
        """Leave if gunicorn wants no more, also if its signal has come before it could be taken."""
        assert self._worker is not None
        assert self.company is not None
        if self.company.stops:
            self.alive = False
        if not self.alive:
            has_ended = self.company.stops or self.ppid != os.getppid()
            self._order(self._worker, STOP if has_ended else RELOAD)

    def _order(self, worker: Worker, order: str) -> None:
        """Give an order once: a second one to stop would end the wait for clients."""
        if self._ordered != order:
            self._ordered = order
            worker.order(order)

    # Signals, where gunicorn's own handlers are not enough

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Stop at once; peers are told."""
        if self._worker is None:
            super().handle_quit(sig, frame)
        else:
            gevent.spawn(self._quit, self._worker)  # what a hook does may wait

    def _quit(self, worker: Worker) -> None:
        self.alive = False
        try:
            self.cfg.worker_int(self)
        finally:
            self._order(worker, STOP)
            gevent.sleep(_QUICK)
            self._order(worker, HURRY)

    def handle_usr1(self, sig: int, frame: Any) -> None:
        """Open log files again."""
        gevent.spawn(super().handle_usr1, sig, frame)

    def handle_abort(self, sig: int, frame: Any) -> None:
        """The event loop does not run (``--timeout``): end, wherever the application is just now."""
        self.alive = False
        _start_thread(_end_in_time, (1,))
        try:
            self.cfg.worker_abort(self)
        finally:
            main: Any = gevent.get_hub().parent
            if gevent.getcurrent() is main:
                sys.exit(1)
            main.throw(SystemExit(1))  # what holds up the event loop would take it for a request's


class _Hooked:
    """Has the one context that gunicorn's hook has made; stands for certificates."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def context(self) -> Any:
        return self._context


def _end_in_time(status: int) -> None:
    """End the process, should the interpreter wait for threads that nobody ends."""
    _sleep(_LAST)
    os._exit(status)
