"""Times as uWSGI's crons have them: five numbers, of which a negative one is an interval. Pure: it asks no clock.

Source: uWSGI 2.0.31, core/master_utils.c (``uwsgi_cron_task_needs_execution``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["LEAST_PAUSE", "CronTime", "Minutes"]

#: Seconds that must lie between two runs of one task: a clock that is set back a little has each minute come again.
LEAST_PAUSE = 30.0
#: Minutes that count although nobody has looked at the clock while they were there: a process may be held up so long.
_MOST_MISSED = 60


class CronTime(NamedTuple):
    """When something is to be done: -1 is always, -5 is whenever the number can be divided by 5.

    Attributes:
        minute: 0 to 59.
        hour: 0 to 23.
        day: Of the month, 1 to 31.
        month: 1 to 12.
        week: Day of the week; 0 and 7 are Sunday.
    """

    minute: int = -1
    hour: int = -1
    day: int = -1
    month: int = -1
    week: int = -1

    def matches(self, moment: time.struct_time) -> bool:
        """Return whether a minute is meant. With a day of the month and a day of the week either one will do."""
        sunday_is_0 = (moment.tm_wday + 1) % 7
        if not (
            _fits(self.minute, moment.tm_min) and _fits(self.hour, moment.tm_hour) and _fits(self.month, moment.tm_mon)
        ):
            return False
        by_month = _fits(self.day, moment.tm_mday)
        by_week = _fits(0 if self.week == 7 else self.week, sunday_is_0)
        return by_month or by_week if self.day >= 0 and self.week >= 0 else by_month and by_week


def _fits(wanted: int, number: int) -> bool:
    return number % -wanted == 0 if wanted < 0 else number == wanted


class Minutes:
    """Tells each minute of the wall's clock once, whatever becomes of that clock.

    A clock that is set forward skips minutes, and those that it is set back by come again; neither makes up for what
    was skipped. Minutes that have passed while nobody looked are told later, all at once.
    """

    def __init__(self) -> None:
        self._wall = 0.0
        self._monotonic = 0.0

    def passed(self, wall: float, monotonic: float) -> Sequence[time.struct_time]:
        """Return the minutes that have begun since the last call, this one among them; the first time, this one.

        Args:
            wall: Seconds since the epoch.
            monotonic: By a clock that is never set.
        """
        before, now = self._wall // 60, wall // 60
        took = monotonic - self._monotonic
        has_jumped = not self._wall or abs(wall - self._wall - took) > LEAST_PAUSE
        self._wall, self._monotonic = wall, monotonic
        if now == before:
            return ()
        first = now if has_jumped or now < before else max(before + 1, now - _MOST_MISSED)
        return [time.localtime(minute * 60) for minute in range(int(first), int(now) + 1)]
