"""Crons' times: uWSGI's notation, and each minute once whatever becomes of the clock on the wall."""

from __future__ import annotations

import time

import pytest

from uwsgi_ws.crontab import CronTime, Minutes


def at(text: str) -> time.struct_time:
    return time.strptime(text, "%Y-%m-%d %H:%M")


WEDNESDAY = at("2026-04-15 10:30")
SUNDAY = at("2026-04-05 00:00")


@pytest.mark.parametrize(
    ("cron", "moment", "is_meant"),
    [
        (CronTime(), WEDNESDAY, True),
        (CronTime(30, 10, 15, 4, 3), WEDNESDAY, True),
        (CronTime(29), WEDNESDAY, False),
        (CronTime(30, 9), WEDNESDAY, False),
        (CronTime(30, 10, 14), WEDNESDAY, False),
        (CronTime(30, 10, -1, 5), WEDNESDAY, False),
        (CronTime(30, 10, -1, -1, 4), WEDNESDAY, False),
        # A negative number is an interval.
        (CronTime(-5), WEDNESDAY, True),
        (CronTime(-7), WEDNESDAY, False),
        (CronTime(-7, -1), SUNDAY, True),
        (CronTime(-1, -5, -5, -2, -3), WEDNESDAY, True),
        (CronTime(-1, -3), WEDNESDAY, False),
        (CronTime(-1, -1, -4), WEDNESDAY, False),
        (CronTime(-1, -1, -1, -3), WEDNESDAY, False),
        (CronTime(-1, -1, -1, -1, -2), WEDNESDAY, False),
        # Sunday is 0, and 7 as for other crons.
        (CronTime(0, 0, -1, -1, 0), SUNDAY, True),
        (CronTime(0, 0, -1, -1, 7), SUNDAY, True),
        (CronTime(0, 0, -1, -1, 6), SUNDAY, False),
        # With a day of the month and of the week either will do; with an interval both must.
        (CronTime(30, 10, 15, -1, 0), WEDNESDAY, True),
        (CronTime(30, 10, 1, -1, 3), WEDNESDAY, True),
        (CronTime(30, 10, 1, -1, 0), WEDNESDAY, False),
        (CronTime(30, 10, -5, -1, 0), WEDNESDAY, False),
        (CronTime(30, 10, 15, -1, -2), WEDNESDAY, False),
        # Such a time never comes.
        (CronTime(99), WEDNESDAY, False),
    ],
)
def test_a_minute_is_meant_or_not(cron: CronTime, moment: time.struct_time, is_meant: bool) -> None:
    assert cron.matches(moment) is is_meant


BEGIN = 1_000_000_020.0  # at the beginning of a minute


def told(minutes: Minutes, wall: float, monotonic: float) -> list[float]:
    """The minutes that have passed, counted from the first."""
    return [(time.mktime(minute) - BEGIN) / 60 for minute in minutes.passed(BEGIN + wall, 500 + monotonic)]


def test_each_minute_is_told_once_and_the_present_one_at_first() -> None:
    minutes = Minutes()
    assert told(minutes, 40, 0) == [0]
    assert told(minutes, 41, 1) == []
    assert told(minutes, 59.9, 19.9) == []
    assert told(minutes, 60, 20) == [1]
    assert told(minutes, 61, 21) == []


def test_minutes_in_which_nobody_looked_are_made_up_for_but_not_without_end() -> None:
    minutes = Minutes()
    told(minutes, 0, 0)
    assert told(minutes, 190, 190) == [1, 2, 3]
    assert told(minutes, 86_400, 86_400) == list(range(1440 - 60, 1441))


def test_a_clock_that_is_set_forward_skips_minutes() -> None:
    minutes = Minutes()
    told(minutes, 0, 0)
    assert told(minutes, 7_200, 1) == [120]
    assert told(minutes, 7_259, 60) == []
    assert told(minutes, 7_260, 61) == [121]


def test_a_clock_that_is_set_back_goes_on_at_once() -> None:
    minutes = Minutes()
    told(minutes, 7_200, 0)
    assert told(minutes, 0, 1) == [0]
    assert told(minutes, 60, 61) == [1]
    assert told(minutes, 55, 62) == [0]  # by a few seconds: LEAST_PAUSE keeps tasks from running again
    assert told(minutes, 60, 67) == [1]
