"""Where applications run under ``--threads``: native threads, as many as there may be applications at once.

The greenlet that serves a client waits in the hub while a thread runs the application. A thread cannot be ended, so
an exception for that greenlet, such as ``--harakiri``'s, is raised in the thread if it waits for something of ours: in
``recv``, in a body's ``read``, in a write. A thread that computes, or waits for something else, cannot be
interrupted: the client is answered without it, and the thread is free again when it is done.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue

from gevent.event import AsyncResult
from gevent.lock import Semaphore

from uwsgi_ws.errors import RequestError
from uwsgi_ws.hub.dismissed import Dismissed
from uwsgi_ws.hub.hub_calls import HubCalls
from uwsgi_ws.request.answers import fail, respond_error
from uwsgi_ws.request.base import Request
from uwsgi_ws.threads.request import ThreadRequest
from uwsgi_ws.wsgi.current import clear_current
from uwsgi_ws.wsgi.input import BodyFile
from uwsgi_ws.wsgi.runner import Application, run

__all__ = ["ThreadPool"]

_log = logging.getLogger("uwsgi_ws.threads")

#: Seconds, for each thread at work, that the interpreter stays with the one that has it before others ask for it
#: (``sys.setswitchinterval``). Each thread that waits for it asks that often; thousands that do so every 5 ms,
#: CPython's interval, leave a processor no time for anything else.
_INTERVAL = 60e-6


class ThreadPool:
    """Native threads, started when they are first needed. Used in the hub's thread.

    Args:
        size: The most there may be; with all of them taken, requests wait for one.
    """

    def __init__(self, size: int, hub_calls: HubCalls) -> None:
        self._hub_calls = hub_calls
        self._free = Semaphore(size)
        self._idle = 0  # threads without a job
        self._started = 0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()  # never more than there are idle threads; None ends one
        self._least_interval = sys.getswitchinterval()  # an application may have set it

    def run(self, application: Application, request: Request) -> bool:
        """Run an application as ``runner.run`` does, in a thread, while this greenlet waits."""
        try:
            self._free.acquire()
        except Dismissed:
            raise  # the server stops
        except BaseException:
            fail(request)
            return False
        job = _Job(application, request)
        if self._idle:
            self._idle -= 1
        elif not self._start_thread():
            self._free.release()
            respond_error(request, RequestError(503, "there is no thread left for it"))
            return True
        self._share_interpreter()
        self._jobs.put(job)
        while True:
            try:
                return bool(job.outcome.get())
            except Dismissed as exc:  # the server stops
                job.request.cut_off()
                self._hub_calls.interrupt(job.thread, exc)
                raise
            except BaseException as exc:
                if not self._hub_calls.interrupt(job.thread, exc):
                    self._go_on_without(job)
                    return False

    def call(self, function: Callable[[], None]) -> None:
        """Call a function that does not raise, in a thread of its own, while this greenlet waits.

        Clients' requests may have all threads for long, so it takes none of theirs. An exception for this greenlet is
        raised in the thread if it waits for something of ours; this greenlet waits on.

        Raises:
            RuntimeError: there is no thread left.
        """
        done: AsyncResult[None] = AsyncResult()

        def work() -> None:
            function()
            self._hub_calls.post(done.set)

        thread = threading.Thread(target=work, name="uwsgi_ws signal", daemon=True)
        thread.start()
        while not done.ready():
            try:
                done.get()
            except BaseException as exc:
                if thread.ident is None or not self._hub_calls.interrupt(thread.ident, exc):
                    _log.error("a signal's handler cannot be ended, its thread does something else: %r", exc)

    def close(self) -> None:
        """End the threads, each once it is free; there are no further requests."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _start_thread(self) -> bool:
        # A daemon: at the end the process does not wait for one that cannot be ended.
        thread = threading.Thread(target=self._work, name=f"uwsgi_ws thread {self._started + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # a limit on processes, or on memory
            return False
        self._started += 1
        return True

    def _go_on_without(self, job: _Job) -> None:
        """Answer for a thread that cannot be reached; called while handling the exception meant for it."""
        job.request.cut_off()
        frame = sys._current_frames().get(job.thread)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        _log.error("the thread cannot be ended; this is what it does:\n%s", stack)
        del frame
        fail(job.inner)

    def _work(self) -> None:
        """A thread's life."""
        thread = threading.get_ident()
        while True:
            job = self._jobs.get()
            if job is None:
                return
            job.thread = thread
            is_fine = False
            try:
                is_fine = run(job.application, job.request)
            except Dismissed:
                pass  # the server stops, and has gone on without us
            except BaseException:
                _log.exception("an application's end went wrong")
            clear_current()
            self._hub_calls.post(self._end, job, is_fine)
            del job

    def _share_interpreter(self) -> None:
        at_work = self._started - self._idle
        sys.setswitchinterval(max(self._least_interval, at_work * _INTERVAL))

    def _end(self, job: _Job, is_fine: bool) -> None:
        self._idle += 1
        self._share_interpreter()
        self._free.release()
        job.outcome.set(is_fine)


class _Job:
    """One run of an application; ``thread`` is 0 until one has taken it."""

    __slots__ = ("application", "inner", "outcome", "request", "thread")

    def __init__(self, application: Application, request: Request) -> None:
        self.application = application
        self.inner = request
        self.request = ThreadRequest(request)
        request.environ["wsgi.input"] = BodyFile(self.request)  # not past the request that the thread has
        self.outcome: AsyncResult[bool] = AsyncResult()
        self.thread = 0
