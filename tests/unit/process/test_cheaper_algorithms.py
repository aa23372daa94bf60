"""How many workers there should be, decided by numbers alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from uwsgi_ws.options import Options
from uwsgi_ws.options.values import ALGORITHMS
from uwsgi_ws.process.cheaper import _ALGORITHMS, Cheaper, Idleness, View
from uwsgi_ws.shared.status import WorkerStatus


class Site:
    """A site whose workers stand as a test says; a second passes before each look."""

    def __init__(self, algorithm: str = "spare", workers: int = 1, **options: Any) -> None:
        settings = {"processes": 4, "cheaper": 1, "cheaper_algo": algorithm, **options}
        self.cheaper = Cheaper(Options(**settings))
        self.workers = workers
        self.now = 1_000.0
        self.said: list[str] = []

    def look(self, busyness: int | Iterable[int] = 0, **more: Any) -> int:
        """Return what is decided; the next look finds it done."""
        self.now += 1
        each = [busyness] * self.workers if isinstance(busyness, int) else list(busyness)
        rss = more.pop("rss", 0)
        stuck = more.pop("stuck", 0)
        serving = [
            WorkerStatus(worker_id=n, beat=int((self.now - stuck) * 1e9), busyness=number, rss=rss)
            for n, number in enumerate(each, start=1)
        ]
        resting = [WorkerStatus(beat=int(self.now * 1e9), busyness=number) for number in more.pop("resting", ())]
        change, why = self.cheaper.look(View(self.now, serving, resting, wanted=self.workers, **more))
        self.workers += change
        if why:
            self.said.append(why)
        return change

    def looks(self, count: int, busyness: int | Iterable[int] = 0, **more: Any) -> list[int]:
        return [self.look(busyness, **more) for _ in range(count)]


def test_each_algorithm_that_may_be_asked_for_is_there() -> None:
    assert tuple(_ALGORITHMS) == ALGORITHMS


# spare, and the bounds of all


def test_a_worker_comes_once_all_have_been_busy_for_longer_than_the_overload() -> None:
    assert Site().looks(8, 80) == [0, 0, 0, 1, 0, 0, 0, 1]
    assert Site(cheaper_overload=1, cheaper_step=2).looks(2, 80) == [0, 2]
    assert Site(workers=2).looks(20, (80, 50)) == [0] * 20, "one has room"


def test_a_moment_without_load_takes_one_look_back() -> None:
    site = Site()
    assert [site.look(busyness) for busyness in (80, 80, 10, 80, 80, 80)] == [0, 0, 0, 0, 0, 1]


def test_there_are_never_more_workers_than_processes() -> None:
    site = Site(cheaper_step=9, cheaper_overload=1)
    assert site.looks(2, 80) == [0, 3]
    assert site.looks(10, 100) == [0] * 10
    assert site.said == ["all workers are busy"]


def test_workers_go_one_by_one_down_to_the_least_number() -> None:
    assert Site(workers=4, cheaper=2).looks(20) == [0, 0, 0, -1, 0, 0, 0, -1, *[0] * 12]


def test_none_goes_whom_the_others_would_miss() -> None:
    # The other one would have 38 %, more than half-way between the bounds of 25 and 50.
    assert Site(workers=2).looks(20, 19) == [0] * 20
    assert -1 in Site(workers=2).looks(20, 18)
    assert Site(workers=2).looks(20, 10, resting=[30]) == [0] * 20, "who rests has clients that come back"


def test_a_worker_whose_loop_does_not_run_is_busy() -> None:
    assert Site().looks(4, 0, stuck=3) == [0, 0, 0, 1]
    assert Site().looks(4, 0, stuck=2) == [0, 0, 0, 0]


def test_while_a_worker_comes_it_is_waited_for() -> None:
    assert Site().looks(20, 90, coming=1) == [0] * 20
    assert Site(workers=0).looks(20) == [0] * 20


def test_a_worker_that_does_not_stay_alive_counts() -> None:
    site = Site(workers=2)
    assert [site.look((90,)) for _ in range(4)] == [0, 0, 0, 1]
    assert Site(workers=3).looks(20, (0,)) == [0] * 20, "one serves, the two others would be none"


def test_load_that_swings_around_a_bound_changes_nothing() -> None:
    site = Site(workers=2)
    assert [site.look(40 + 20 * (n % 2)) for n in range(40)] == [0] * 40


# spare2


def test_spare2_keeps_so_many_idle_ones() -> None:
    site = Site("spare2", workers=2, cheaper=2, processes=8, cheaper_step=3)
    assert site.look((80, 80)) == 2
    assert site.look((80, 80, 0, 80)) == 1
    assert site.looks(8, (80, 80, 0, 0, 80)) == [0] * 8
    assert site.looks(4, 0) == [0, 0, 0, -1]
    assert site.looks(40, 0).count(-1) == 2, "down to the least number"


# backlog


def test_backlog_counts_who_waits() -> None:
    site = Site("backlog", cheaper_overload=5, cheaper_step=2)
    assert site.look(0, backlog=5) == 0
    assert site.look(0, backlog=6) == 2
    assert site.looks(11) == [*[0] * 10, -1]
    assert site.said[0] == "6 clients wait to be accepted"


# busyness


def test_busyness_is_the_mean_of_a_window() -> None:
    site = Site("busyness")
    assert [site.look(busyness) for busyness in (90, 90, 40, 0, 90, 90, 0)] == [0, 0, 0, 1, 0, 0, 1]
    assert site.said == ["the workers' mean busyness is 55 %", "the workers' mean busyness is 60 %"]


def test_it_goes_after_as_many_idle_windows_as_the_multiplier_says() -> None:
    site = Site("busyness", workers=2, cheaper_overload=1, cheaper_busyness_multiplier=3)
    assert site.looks(8) == [0, 0, 0, -1, 0, 0, 0, 0]


def test_one_that_has_to_come_back_soon_makes_the_next_stay_longer_away_from_going() -> None:
    site = Site("busyness", workers=2, cheaper_overload=1, cheaper_busyness_multiplier=3)
    site.looks(4)
    assert site.look(90) == 1
    assert site.looks(5) == [0, 0, 0, 0, -1], "3 and the penalty of 2"
    assert site.looks(6) == [0] * 6  # it has stayed away for long enough
    assert site.look(90) == 1
    assert site.looks(3) == [0, 0, -1]


def test_clients_that_wait_bring_workers_at_once_that_go_when_none_waits() -> None:
    options = {"cheaper_busyness_backlog_alert": 10, "cheaper_busyness_backlog_step": 2, "cheaper_busyness_min": 5}
    site = Site("busyness", **options)
    assert site.look(30, backlog=11) == 2
    assert site.looks(30, 10, backlog=1) == [0] * 30
    changes = site.looks(30, 10)
    assert [look for look, change in enumerate(changes) if change] == [8, 17], "three windows each"
    assert site.looks(60, 10) == [0] * 60, "10 % is not idle"


def test_a_client_that_waits_for_long_brings_one_too() -> None:
    site = Site("busyness", cheaper_busyness_backlog_nonzero=5)
    assert site.looks(6, 30, backlog=1) == [0, 0, 0, 0, 0, 1]
    site.look(30)
    assert site.looks(5, 30, backlog=1) == [0] * 5
    site.workers = 4
    assert site.looks(30, 30, backlog=99) == [0] * 30


def test_each_window_can_be_logged() -> None:
    site = Site("busyness", cheaper_busyness_verbose=True, cheaper_overload=1)
    site.looks(3, 30)
    assert site.said == ["the workers' mean busyness is 30 %"] * 2


# Memory and orders


def test_workers_that_hold_too_much_memory_get_no_help_or_go() -> None:
    limits = {"cheaper_rss_limit_soft": 300, "cheaper_rss_limit_hard": 900}
    assert Site(workers=3, **limits).looks(20, 90, rss=100) == [0] * 20
    assert 1 in Site(workers=3, **limits).looks(20, 90, rss=99)
    site = Site(workers=4, cheaper=2, **limits)
    assert site.look(90, rss=300) == -1
    assert site.look(90, rss=300, resting=[0]) == 0, "one after the other: its memory is not free yet"
    assert site.looks(5, 90, rss=900) == [-1, 0, 0, 0, 0], "the least number stays"


def test_orders_count_more_than_algorithms_and_less_than_bounds() -> None:
    site = Site("manual", workers=2)
    assert site.looks(20, 100) == site.looks(20, 0) == [0] * 20
    site.cheaper.ask(1)
    site.cheaper.ask(1)
    assert site.looks(2, 0) == [2, 0]
    site.cheaper.ask(1)
    assert site.look() == 0
    for _ in range(9):
        site.cheaper.ask(-1)
    assert site.looks(2, 100) == [-3, 0]
    site.cheaper.ask(-1)
    assert site.look() == 0


# Idleness


def standing(requests: int, clients: int = 0) -> list[WorkerStatus]:
    return [WorkerStatus(worker_id=1, requests=requests, clients=clients), WorkerStatus(worker_id=2)]


@pytest.mark.parametrize("timeout", [0.0, 5.0])
def test_nobody_for_the_timeout_is_idle(timeout: float) -> None:
    idleness = Idleness(timeout)
    assert not idleness.look(100, standing(3), 0)
    assert not idleness.look(104.9, standing(3), 0)
    assert idleness.look(105, standing(3), 0) is (timeout > 0)


@pytest.mark.parametrize(
    ("statuses", "coming"),
    [
        pytest.param(standing(4), 0, id="a request"),
        pytest.param(standing(3, 1), 0, id="a client that is there"),
        pytest.param(standing(3), 1, id="a worker that is about to serve"),
        pytest.param([], 0, id="no worker at all"),
    ],
)
def test_what_begins_the_timeout_again(statuses: list[WorkerStatus], coming: int) -> None:
    idleness = Idleness(5)
    idleness.look(100, standing(3), 0)
    assert not idleness.look(105, statuses, coming)
    assert not idleness.look(109.9, statuses, 0) or statuses == []
