"""The instance's clock, turned by hand."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.clocks import BEGIN, Hands, hands_of

from uwsgi_ws.options import Options, parse
from uwsgi_ws.process import clock as clock_module
from uwsgi_ws.process.clock import Clock
from uwsgi_ws.shared.signals import ANY, Kind, SignalTable, Source


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    return hands_of(clock_module, monkeypatch)


def make_table(*sources: Source) -> SignalTable:
    table = SignalTable(memoryview(bytearray(SignalTable.size(1))), 1)
    for source in sources:
        assert table.add(source)
        table.register(source.number, ANY)
    return table


def following(*sources: Source, options: Options | None = None) -> tuple[Clock, Callable[[], list[int]]]:
    """Return a clock and what ticks it and returns the signals that it has raised."""
    clock = Clock(options or parse([]))
    table = make_table(*sources)
    for number in (91, 92, 93):
        table.register(number, ANY)
    clock.follow(table)

    def raised() -> list[int]:
        clock.tick()
        return [number for number in range(256) if table.take(1, number)]

    return clock, raised


def timer(number: int, seconds: int, times: int = 0) -> Source:
    return Source(Kind.TIMER, number, (seconds, times, 0, 0, 0))


def cron(number: int, *when: int) -> Source:
    return Source(Kind.CRON, number, (*when, *(5 - len(when)) * (-1,)))


def test_a_timer_keeps_its_step(hands: Hands) -> None:
    clock, raised = following(timer(1, 5))
    assert (clock.due, raised()) == (505.0, [])
    hands.go_on(5.4)
    assert raised() == [1]
    assert (clock.due, raised()) == (510.0, [])


def test_periods_that_were_missed_count_once(hands: Hands) -> None:
    clock, raised = following(timer(1, 5))
    hands.go_on(3_600)
    assert (raised(), raised()) == ([1], [])
    assert clock.due == hands.monotonic + 5


def test_a_clock_on_the_wall_that_is_set_means_nothing_to_timers(hands: Hands) -> None:
    _, raised = following(timer(1, 5))
    hands.wall += 10**7
    assert raised() == []
    hands.wall -= 10**8
    hands.go_on(5)
    assert raised() == [1]


def test_a_timer_of_no_seconds_is_never_due(hands: Hands) -> None:
    clock, raised = following(timer(1, 0), timer(2, -1))
    hands.go_on(10)
    assert (raised(), clock.due) == ([], math.inf)


def test_a_timer_of_some_times_ends_and_may_be_added_again(hands: Hands) -> None:
    clock = Clock(parse([]))
    table = make_table(timer(1, 5, 2))
    clock.follow(table)
    for expected in (True, True, False):
        hands.go_on(5)
        assert clock.tick() is expected
        table.take(1, 1)
    assert list(table.sources()) == []
    assert table.add(timer(1, 5, 2))
    hands.go_on(1)
    assert not clock.tick()
    hands.go_on(5)
    assert clock.tick()


def test_what_comes_later_is_noticed(hands: Hands) -> None:
    clock = Clock(parse([]))
    table = make_table()
    clock.follow(table)
    assert (clock.tick(), clock.due) == (False, math.inf)
    table.add(timer(1, 5))
    clock.tick()
    assert clock.due == 505.0


def test_a_reload_leaves_the_same_timer_its_step_and_begins_others(hands: Hands) -> None:
    clock, _ = following(timer(1, 5), timer(2, 5), timer(4, 7, 3))
    hands.go_on(3)
    clock.follow(make_table(timer(1, 5), timer(3, 5)))
    assert clock.due == 505.0
    hands.go_on(2)
    assert clock.tick()
    assert clock.due == 508.0


def test_a_cron_runs_once_a_minute_and_a_new_one_in_this(hands: Hands) -> None:
    _, raised = following(cron(1), cron(2, 1), cron(3, -2, 30))
    minutes = []
    for _ in range(200):
        hands.go_on(1)
        minutes += [(number, (hands.wall - BEGIN) // 60) for number in raised()]
    local = time.localtime(BEGIN)
    assert [minute for number, minute in minutes if number == 1] == [0, 1, 2, 3]
    assert (2 in dict(minutes)) is (local.tm_min in (58, 59, 0, 1))


def test_a_reload_does_not_run_a_cron_again(hands: Hands) -> None:
    clock, raised = following(cron(1))
    assert raised() == [1]
    hands.go_on(2)
    clock.follow(make_table(cron(1)))
    assert not clock.tick()
    hands.go_on(60)
    assert clock.tick()


def test_a_clock_that_is_set_back_a_little_runs_no_cron_again(hands: Hands) -> None:
    _, raised = following(cron(1))
    assert raised() == [1]
    hands.go_on(61)
    assert raised() == [1]
    hands.go_on(1)
    hands.wall -= 5
    assert raised() == []
    hands.go_on(4)
    assert raised() == []
    hands.go_on(60)
    assert raised() == [1]


def test_files_and_timers_of_options_are_looked_after_too(hands: Hands, tmp_path: Path) -> None:
    watched, touched, folder = (tmp_path / name for name in ("watched", "touched", "folder"))
    folder.mkdir()
    touched.write_text("1")
    options = parse(["--timer", "91 4", "--touch-signal", f"{touched} 92", "--fs-signal", f"{folder} 93"])
    _, raised = following(Source(Kind.FILE, 5, path=str(watched).encode()), options=options)

    def after_a_second() -> list[int]:
        hands.go_on(1.0)
        return raised()

    assert after_a_second() == []
    watched.write_text("1")
    touched.write_text("12")
    (folder / "new").write_text("")
    assert after_a_second() == [5, 92, 93]
    watched.unlink()
    assert after_a_second() == [5]
    assert after_a_second() == [91]


def test_what_cannot_be_raised_is_said_once(hands: Hands, capfd: pytest.CaptureFixture[str]) -> None:
    clock, _ = following()
    for _ in range(2):
        clock.raise_signal(7)
    assert capfd.readouterr().err.count("signal 7 is dropped: nobody has registered it") == 1


def test_nothing_is_due_before_there_is_a_table(hands: Hands) -> None:
    clock: Any = Clock(parse([]))
    assert (clock.tick(), clock.due) == (False, math.inf)


def test_what_a_generation_raises_that_does_not_serve_yet_is_said_once_too(
    hands: Hands, capfd: pytest.CaptureFixture[str]
) -> None:
    clock, _ = following()
    coming = make_table()
    clock.raise_signal(77, coming)
    clock.follow(coming)
    clock.raise_signal(77)
    assert "".join(capfd.readouterr()).count("signal 77 is dropped: nobody has registered it") == 1
