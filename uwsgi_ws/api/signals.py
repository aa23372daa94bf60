"""``uwsgi.register_signal`` and what raises signals: timers, crons, watched files, and ``uwsgi.signal``.

Handlers are this process's, and of those forked from it. Whom a signal is for, what raises it and what waits for a
worker is in a table that all of them share (``shared.signals``). The process that has the clock, which is the master or
the one worker there is, raises signals there and wakes the workers; each takes what it has a handler for.

In a worker one handler of a signal runs at a time, beside those of other signals and beside requests: in a greenlet, in
a thread of its own under ``--threads``, and in its turn among the requests where they run one at a time. Its errors are
logged and end nothing else.

``signal_wait`` is not here: it would keep a worker from serving, and uWSGI's own does nothing under gevent.

Source: uWSGI 2.0.31, core/signal.c and plugins/python/uwsgi_pymodule.c. Unlike there no master is needed, and what
several workers register alike is one.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from operator import index
from typing import Any

import gevent

from uwsgi_ws.api.arguments import c_int, c_str
from uwsgi_ws.errors import RequestTimeout
from uwsgi_ws.hub import own
from uwsgi_ws.hub.hub_calls import in_hub, post
from uwsgi_ws.log import say
from uwsgi_ws.shared.locks import SharedLock, SharedLocks
from uwsgi_ws.shared.signals import ALL, ANY, MOST_WAITING, Kind, SignalTable, Source

__all__ = ["Signals"]

_log = logging.getLogger("uwsgi_ws.signals")

_TARGETS = {"": ANY, "worker": ANY, "worker0": ANY, "workers": ALL, "active-workers": ALL}
_NO_MULE = "there are no mules here, start the program as a service of its own, or by --attach-daemon"
_NO_SPOOLER = "there is no spooler here, use a task queue such as Celery, RQ or Huey"
_REFUSED = (("mule", _NO_MULE), ("farm", _NO_MULE), ("spooler", _NO_SPOOLER))
_LONGEST_PATH = 1_022

Handler = Callable[[int], object]


class Signals:
    """The signals of the application that this process has loaded, and of the processes forked from it.

    Args:
        worker_id: Tells which worker this is; 0 for none.
        table: The master's; None where each worker has a clock of its own.
        lock: Held by those who change the table.
        tell: Asks the master to raise a signal; False when it cannot be told.

    Attributes:
        tell: Asks who has the clock, the same.
    """

    def __init__(
        self,
        worker_id: Callable[[], int],
        table: SignalTable | None = None,
        lock: SharedLock | None = None,
        tell: Callable[[int], bool] | None = None,
    ) -> None:
        self._worker_id = worker_id
        self.has_clock = table is None
        self.table = table or SignalTable(memoryview(bytearray(SignalTable.size(1))), 1)
        self._lock = lock or SharedLocks().lock()
        self.tell: Callable[[int], bool] = tell or self._tell_later
        self._early: list[int] = []
        self._handlers: dict[int, Handler] = {}
        self._running: set[int] = set()  # signals whose handler runs here, or is about to
        self._run: Callable[[Callable[[], None]], None] | None = None
        self._hub: Any = None
        self._harakiri = 0.0

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """Those that the ``uwsgi`` module offers, by name."""
        functions: tuple[Callable[..., Any], ...] = (
            self.register_signal,
            self.signal_registered,
            self.add_timer,
            self.add_rb_timer,
            self.add_cron,
            self.add_file_monitor,
        )
        return {"signal": self.raise_signal, **{function.__name__: function for function in functions}}

    def _tell_later(self, number: int) -> bool:
        """Keep a signal for ``take_early``."""
        self._early.append(number)
        return len(self._early) <= MOST_WAITING

    def take_early(self) -> list[int]:
        """Return the signals that were raised before there was a clock."""
        early, self._early = self._early[:MOST_WAITING], []
        return early

    # What applications call

    def register_signal(self, number: int, target: str, handler: Callable[[int], object], /) -> None:
        """Have a function called with its number for each signal of a number.

        ``""`` and ``worker`` mean any one worker, ``workers`` and ``active-workers`` all, ``worker2`` the second.

        Raises:
            ValueError: it is registered, and this is no worker; or there is no such target.
        """
        number = _signal_number(number)
        target = c_str(target, "register_signal", 2)
        if not callable(handler):
            raise TypeError(f"register_signal() argument 3 must be callable, not {type(handler).__name__}")
        self._refuse_copies("register signal")
        whom = _parse_target(target)
        if number in self._handlers and not self._worker_id():
            say(f"[uwsgi-signal] signal {number} is registered already")
            raise ValueError("unable to register signal")
        with self._lock:
            self.table.register(number, whom)
        self._handlers[number] = handler
        whose = target or "default, any worker"
        say(f"[uwsgi-signal] signum {number} registered (wid: {self._worker_id()} target: {whose})")
        if self._hub is not None:
            post(self._hub, self.look)

    def signal_registered(self, number: int, /) -> bool | None:
        """Return True if this process has a handler for a signal, else None."""
        return _signal_number(number) in self._handlers or None

    def raise_signal(self, number: int, node: str = "", /) -> None:
        """Raise a signal: it waits for its workers, and nothing waits for them.

        Raises:
            OSError: it is for another server, or this process was forked by the application.
        """
        number = _signal_number(number)
        node = c_str(node, "signal", 2)
        if node:
            raise OSError(f"unable to deliver signal {number} to node {node}: signals stay in this instance")
        own.refuse_copies()
        if not self.tell(number):
            say(f"*** SIGNAL QUEUE IS FULL: signal {number} is dropped ***")

    def add_timer(self, number: int, seconds: int, /) -> None:
        """Raise a signal each time that so many seconds have passed; never for 0."""
        self._add_timer("timer", number, seconds, 0)

    def add_rb_timer(self, number: int, seconds: int, times: int = 0, /) -> None:
        """Raise a signal each time that so many seconds have passed, so often; 0 is for ever."""
        self._add_timer("rb_timer", number, seconds, times)

    def _add_timer(self, what: str, number: int, seconds: int, times: int) -> None:
        number, seconds, times = _signal_number(number), c_int(seconds), c_int(times)
        if seconds <= 0:
            say(f"*** the timer of signal {number} never ends: it has {seconds} seconds ***")
        self._add(what, Source(Kind.TIMER, number, (seconds, max(times, 0), 0, 0, 0)))

    def add_cron(self, number: int, minute: int, hour: int, day: int, month: int, week: int, /) -> bool:
        """Raise a signal at times of the day; -1 is always, -5 each fifth. Return True."""
        number = _signal_number(number)
        self._add("cron", Source(Kind.CRON, number, tuple(c_int(each) for each in (minute, hour, day, month, week))))
        return True

    def add_file_monitor(self, number: int, path: str, /) -> None:
        """Raise a signal when a file changes, or a directory's files do; within a second."""
        number = _signal_number(number)
        encoded = os.fsencode(os.path.abspath(c_str(path, "add_file_monitor", 2)))
        if len(encoded) > _LONGEST_PATH:
            raise ValueError("unable to add file monitor")
        self._add("file monitor", Source(Kind.FILE, number, path=encoded))

    def _add(self, what: str, source: Source) -> None:
        self._refuse_copies(f"add {what}")
        with self._lock:
            is_added = self.table.add(source)
        if not is_added:
            say(f"*** no more timers, crons and file monitors can be added, signal {source.number} gets none ***")
            raise ValueError(f"unable to add {what}")

    @staticmethod
    def _refuse_copies(what: str) -> None:
        if own.is_copy:
            raise ValueError(f"unable to {what}: the application has forked this process, which handles no signals")

    # In a worker

    def serve(self, hub: Any, run: Callable[[Callable[[], None]], None], harakiri: float = 0.0) -> None:
        """Begin to call handlers; in the hub's thread.

        Args:
            hub: This thread's.
            run: Calls a function of the application's that belongs to no request, while the calling greenlet waits.
            harakiri: Seconds that a handler may take; 0 is no limit.
        """
        self._hub, self._run, self._harakiri = hub, run, harakiri
        self.look()

    def stop(self) -> None:
        """Call no further handlers; those that run go on."""
        self._run = None

    @property
    def is_busy(self) -> bool:
        """Whether a handler runs."""
        return bool(self._running)

    def look(self) -> None:
        """Call the handlers of signals that wait; in the hub's thread, without waiting."""
        for number in tuple(self._handlers) if self._run is not None else ():
            if number not in self._running and self._waits(number):
                self._running.add(number)
                gevent.spawn(self._handle, number)

    @property
    def _row(self) -> int:
        return 1 if self.has_clock else self._worker_id()

    def _waits(self, number: int) -> bool:
        return self.table.waits(self._row, number)

    def _handle(self, number: int) -> None:
        """Call a signal's handler as long as it waits; a greenlet's life."""
        try:
            while (run := self._run) is not None and self._waits(number):
                run(partial(self._take, number, gevent.getcurrent()))
        except BaseException:
            _log.exception("signal %d", number)
        finally:
            self._running.discard(number)

    def _take(self, number: int, greenlet: Any) -> None:
        """Take a signal, if it waits still, and call its handler; where handlers run, while a greenlet waits."""
        with self._lock:
            is_ours = self._run is not None and self.table.take(self._row, number)
        if not is_ours:
            return
        limit = in_hub(self._limit, greenlet) if self._harakiri else None
        try:
            self._handlers[number](number)
        except BaseException as exc:
            if own.is_copy:
                own.end_copy(exc)
            _log.exception("the handler of signal %d", number)
        if own.is_copy:
            own.end_copy()
        if limit is not None:
            in_hub(limit.close)

    def _limit(self, greenlet: Any) -> Any:
        """Begin the time that a handler may take."""
        timer = self._hub.loop.timer(self._harakiri, ref=False)
        timer.start(greenlet.throw, RequestTimeout(f"longer than {self._harakiri:g} seconds (--harakiri)"))
        return timer


def _signal_number(value: Any) -> int:
    """Return a signal's number as C's ``unsigned char`` has it: uWSGI looks at the last eight bits only."""
    return int(index(value)) & 0xFF


def _parse_target(target: str) -> int:
    """Return whom a target means.

    Raises:
        ValueError: there is nobody of that name here.
    """
    if target in _TARGETS:
        return _TARGETS[target]
    found = re.fullmatch(r"worker([1-9][0-9]{0,3})", target)
    if found:
        return int(found[1])
    for name, problem in _REFUSED:
        if target.startswith(name):
            raise ValueError(f"unable to register signal: {target!r}: {problem}")
    raise ValueError(f"unable to register signal: {target!r} is none of worker, workers, active-workers and worker1")
