"""The page on which the processes of an instance read of one another."""

from __future__ import annotations

import os

import pytest
from support.child import in_child

from uwsgi_ws.shared.scoreboard import Scoreboard
from uwsgi_ws.shared.status import WorkerStatus


def test_nobody_is_there_at_first() -> None:
    scoreboard = Scoreboard(4)
    assert list(scoreboard) == []
    assert scoreboard.read(3) == WorkerStatus()


def test_each_seat_has_a_row_of_its_own() -> None:
    scoreboard = Scoreboard(3)
    rows = [WorkerStatus(*range(seat, seat + len(WorkerStatus._fields))) for seat in (1, 2, 3)]
    for seat in (2, 0, 1):
        scoreboard.write(seat, rows[seat])
    assert list(scoreboard) == rows
    assert list(scoreboard.others(1)) == [rows[0], rows[2]]
    scoreboard.clear(1)
    assert list(scoreboard) == [rows[0], rows[2]]
    assert scoreboard.read(1) == WorkerStatus()


@pytest.mark.parametrize(("number", "kept"), [(-1, 0), (2**64 - 1, 2**64 - 1), (2**64, 2**64 - 1), (2**200, 2**64 - 1)])
def test_a_number_that_does_not_fit_is_the_nearest_that_does(number: int, kept: int) -> None:
    scoreboard = Scoreboard(1)
    scoreboard.write(0, WorkerStatus(worker_id=1, requests=number, vsz=7))
    assert scoreboard.read(0) == WorkerStatus(worker_id=1, requests=kept, vsz=7)


def test_a_process_that_is_forked_later_writes_to_the_same_page() -> None:
    scoreboard = Scoreboard(2)
    pid = in_child(lambda: scoreboard.write(1, WorkerStatus(worker_id=1, pid=os.getpid())) or os.getpid())
    assert scoreboard.read(1).pid == int(pid)


def test_workers_that_have_been_put_away_have_a_row_behind_the_seats() -> None:
    scoreboard = Scoreboard(4, 2)
    scoreboard.show_cheap({2})
    scoreboard.write(0, WorkerStatus(worker_id=1, pid=7))
    assert list(scoreboard) == [WorkerStatus(worker_id=1, pid=7), WorkerStatus(worker_id=2)]
    scoreboard.show_cheap(set())
    assert list(scoreboard) == [WorkerStatus(worker_id=1, pid=7)]
