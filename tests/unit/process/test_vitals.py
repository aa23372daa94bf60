"""Rates and lags of workers, from what they have told; and a worker that tells nothing any more."""

from __future__ import annotations

import time

import pytest

from uwsgi_ws.process.common import Common
from uwsgi_ws.process.operations import Target
from uwsgi_ws.process.vitals import Vitals
from uwsgi_ws.shared.measures import Snapshot
from uwsgi_ws.shared.status import WorkerStatus

TARGET = Target(1, 0, 77, "serving")


@pytest.fixture(scope="module")
def common() -> Common:
    return Common(1)


def tell(common: Common, ago: float, received: int = 0, lags: tuple[int, float] = (0, 0.0), pid: int = 77) -> None:
    """Have the worker tell, so many seconds ago."""
    beat = time.monotonic_ns() - int(ago * 1e9)
    status = WorkerStatus(worker_id=1, pid=pid, beat=beat, texts_received=received, rss=1_000, busyness=7)
    common.scoreboard.write(0, status)
    counts = {("opened", "http1", "/"): 5, ("ended", "http1", "/"): 2, ("refusals", "origin"): 9}
    common.measures.write(0, Snapshot(counts, {"lags": ([0.1], [lags[0], 0], lags[1])}))


def test_rates_are_between_two_beats_however_often_one_looks(common: Common) -> None:
    vitals = Vitals(common)
    tell(common, 2.0, received=100, lags=(10, 1.0))
    [first] = vitals.sample([TARGET])
    assert (first["received"], first["lag"], first["websockets"], first["memory"]) == (0.0, 0.0, 3, 1_000)
    tell(common, 1.0, received=150, lags=(14, 1.2))
    [second] = vitals.sample([TARGET])
    assert second["received"] == pytest.approx(50, rel=0.05)
    assert second["lag"] == pytest.approx(0.05)
    [third] = vitals.sample([TARGET])
    assert (third["received"], third["lag"]) == (second["received"], second["lag"])
    assert [sample[1] for sample in vitals.samples] == [3, 3, 3]
    assert vitals.samples[-1][2:] == (second["received"], 0.0, 1_000, second["lag"])


def test_a_worker_that_has_told_nothing_for_long_is_stuck_if_it_should_serve(common: Common) -> None:
    vitals = Vitals(common)
    tell(common, 4.0, received=100)
    [line] = vitals.sample([TARGET])
    assert line["stuck"] == pytest.approx(4.0, abs=0.2)
    assert line["lag"] == pytest.approx(4.0, abs=0.2)
    assert line["received"] == 0.0
    [leaving] = vitals.sample([Target(1, 0, 77, "leaving")])
    assert leaving["stuck"] is None


def test_what_a_predecessor_has_told_is_not_its_successor_s(common: Common) -> None:
    vitals = Vitals(common)
    tell(common, 0.5, received=100, pid=66)
    [line] = vitals.sample([TARGET])
    assert (line["memory"], line["websockets"], line["stuck"]) == (0, 0, None)
    assert vitals.sample([]) == []
    assert vitals.samples[-1][1:] == (0, 0, 0, 0, 0.0)
