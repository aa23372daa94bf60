"""The instance's clock for uWSGI's signals: timers, crons and files that are watched.

The master has it, or the worker that is the whole instance. Timers go by a clock that is never set; of periods that
were missed, because the process was held up, one counts. Crons go by the clock on the wall (see ``crontab``).

What has been registered is read from a ``SignalTable``. After a reload that is another one; what is the same there goes
on in its step.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from time import monotonic, time

from uwsgi_ws.crontab import LEAST_PAUSE, CronTime, Minutes
from uwsgi_ws.log import say
from uwsgi_ws.options import Options
from uwsgi_ws.process.watch import FileWatch, TreeWatch
from uwsgi_ws.shared.signals import Kind, SignalTable, Source

__all__ = ["Clock"]

_INTERVAL = 1.0  # seconds between two looks at files


@dataclass(slots=True, eq=False)
class _Ticker:
    """What is known of a source.

    Attributes:
        serial: In the table; 0 for one that an option names.
        next_at: Of a timer: when it is due. Of a cron: not before.
        left: How often a timer is still due; 0 for ever.
        watch: Of a file.
    """

    source: Source
    serial: int
    next_at: float = 0.0
    left: int = 0
    watch: TreeWatch | None = None
    is_new: bool = True


class Clock:
    """Tells which signals are due.

    Args:
        options: They name some.
    """

    def __init__(self, options: Options) -> None:
        self._table: SignalTable | None = None
        self._version = -1
        self._minutes = Minutes()
        self._tickers: dict[Source, _Ticker] = {}
        self._given = [
            Source(Kind.TIMER, given.number, (given.seconds, 0, 0, 0, 0))
            for given in (*options.timer, *options.rbtimer)
        ]
        self._given += [Source(Kind.FILE, given.number, path=os.fsencode(given.path)) for given in options.fs_signal]
        self._touched = [(FileWatch([given.path]), given.number) for given in options.touch_signal]
        self._next_look_at = 0.0
        self._said: set[tuple[SignalTable, int, str]] = set()

    def follow(self, table: SignalTable) -> None:
        """Go by another table from now on."""
        self._table, self._version = table, -1
        self._said = {said for said in self._said if said[0] is table}
        self._read()

    @property
    def due(self) -> float:
        """When a timer is due (monotonic); infinite for never. All else is looked at once a second."""
        return min(
            (ticker.next_at for ticker in self._tickers.values() if ticker.source.kind == Kind.TIMER), default=math.inf
        )

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to look for."""
        return not self._tickers and not self._touched

    def raise_signal(self, number: int, table: SignalTable | None = None, *, is_tick: bool = False) -> None:
        """Have a signal wait for its workers; say it if that cannot be, once for each reason.

        Args:
            number: The signal's.
            table: That of a generation that does not serve yet; None for the one that is followed.
            is_tick: Whether it is dropped while one of it waits.
        """
        table = table or self._table
        assert table is not None, "it follows one"
        if table.raise_signal(number, is_tick=is_tick):
            return
        target = table.target(number)
        if not target:
            problem = "nobody has registered it"
        elif 0 < target <= 0x7FFF and target > table.workers:
            problem = f"it is for worker {target}, and there are only {table.workers}"
        else:
            problem = "its handlers are too slow, too many of it wait already"
        if (table, number, problem) not in self._said:
            self._said.add((table, number, problem))
            say(f"*** signal {number} is dropped: {problem}; not said again ***")

    def tick(self) -> bool:
        """Raise what is due; return whether there was anything."""
        table = self._table
        if table is None:
            return False
        self._read()
        now = monotonic()
        due = self._due_timers(now)
        if now >= self._next_look_at:
            self._next_look_at = now + _INTERVAL
            due += self._due_crons(now)
            due += [number for watch, number in self._touched if watch.changed() is not None]
            due += [
                ticker.source.number
                for ticker in self._tickers.values()
                if ticker.watch is not None and ticker.watch.changed() is not None
            ]
        for number in due:
            self.raise_signal(number, is_tick=True)
        return bool(due)

    def _read(self) -> None:
        """Take note of what has been registered since."""
        table = self._table
        if table is None or table.version == self._version:
            return
        self._version = table.version
        found = {source: 0 for source in self._given} | {source: serial for serial, source in table.sources()}
        before, self._tickers = self._tickers, {}
        for source, serial in found.items():
            ticker = before.get(source)
            is_counted = source.kind == Kind.TIMER and source.numbers[1] > 0
            if ticker is None or (is_counted and ticker.serial != serial):
                ticker = self._begin(source)
            ticker.serial = serial
            self._tickers[source] = ticker

    @staticmethod
    def _begin(source: Source) -> _Ticker:
        ticker = _Ticker(source, 0)
        if source.kind == Kind.TIMER:
            seconds, ticker.left, *_ = source.numbers
            ticker.next_at = monotonic() + seconds if seconds > 0 else math.inf
        elif source.kind == Kind.FILE:
            ticker.watch = TreeWatch([os.fsdecode(source.path)])
        return ticker

    def _due_timers(self, now: float) -> list[int]:
        due = []
        for ticker in list(self._tickers.values()):
            if ticker.source.kind != Kind.TIMER or ticker.next_at > now:
                continue
            due.append(ticker.source.number)
            seconds = ticker.source.numbers[0]
            # Held up for longer than a period: it begins anew, rather than making up for what it has missed.
            ticker.next_at = ticker.next_at + seconds if ticker.next_at + seconds > now else now + seconds
            if ticker.left:
                ticker.left -= 1
                if not ticker.left:
                    del self._tickers[ticker.source]
                    assert self._table is not None, "it is ticking"
                    self._table.remove(ticker.serial)
        return due

    def _due_crons(self, now: float) -> list[int]:
        due = []
        passed = self._minutes.passed(wall := time(), now)
        for ticker in self._tickers.values():
            if ticker.source.kind != Kind.CRON:
                continue
            # For one that has just come this minute counts, as in uWSGI.
            minutes = Minutes().passed(wall, now) if ticker.is_new else passed
            ticker.is_new = False
            if ticker.next_at <= now and any(CronTime(*ticker.source.numbers).matches(each) for each in minutes):
                ticker.next_at = now + LEAST_PAUSE
                due.append(ticker.source.number)
        return due
