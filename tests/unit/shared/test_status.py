"""One row for each number of a worker's, and all that derives from them."""

from __future__ import annotations

import re
from pathlib import Path

from uwsgi_ws.shared.status import ROWS, WorkerStatus, counted, described, in_words, newest
from uwsgi_ws.stats import Stats

PACKAGE = Path(__file__).resolve().parents[3] / "uwsgi_ws"


def test_every_number_has_a_row_with_a_sentence() -> None:
    assert list(ROWS) == list(WorkerStatus._fields)
    for row in ROWS.values():
        assert re.fullmatch("[A-Z0-9].+[.]", row.help)
    names = [row.name or field for field, row in ROWS.items()]
    assert len(set(names)) == len(names)


def test_every_counter_is_told_to_the_other_processes() -> None:
    assert {row.stats for row in ROWS.values() if row.stats} == declared() - {"measures"}


def declared() -> set[str]:
    """What ``Stats`` has, which its source and its .pxd must say alike."""
    types, source = ((PACKAGE / f"stats.{kind}").read_text().partition("class Stats:")[2] for kind in ("pxd", "py"))
    pxd = set(re.findall(r"cdef public \w+ (\w+)$", types, re.MULTILINE))
    slots = re.search(r"__slots__ = \(([^)]*)\)", source)
    assert slots is not None
    assert set(re.findall(r'"(\w+)"', slots[1])) == pxd
    return pxd


def test_counters_are_read_as_whole_numbers() -> None:
    stats = Stats()
    stats.requests, stats.busy_seconds, stats.slow_dropped = 3, 1.5, 7
    numbers = counted(stats)
    assert (numbers["requests"], numbers["busy_us"], numbers["slow_dropped"]) == (3, 1_500_000, 7)
    assert all(type(number) is int for number in numbers.values())
    WorkerStatus(**numbers)


def test_a_worker_is_described_under_uwsgis_names_and_ours() -> None:
    status = WorkerStatus(
        worker_id=2, requests=4, busy_us=100, bytes_sent=9, spawns=3, clients=1, slow_closed=5, beat=8
    )
    shown = described(status)
    assert (shown["id"], shown["tx"], shown["respawn_count"], shown["running_time"]) == (2, 9, 3, 100)
    assert (shown["avg_rt"], shown["status"], shown["slow_closed"]) == (25, "busy", 5)
    assert "beat" not in shown
    assert [described(WorkerStatus(worker_id=1, pid=pid))["status"] for pid in (7, 0)] == ["idle", "cheap"]
    assert described(WorkerStatus())["avg_rt"] == 0


def test_of_a_worker_that_is_being_replaced_the_successor_counts() -> None:
    old, new, other = (WorkerStatus(worker_id=n, pid=p, spawns=b) for n, p, b in ((2, 1, 1), (2, 2, 2), (1, 3, 1)))
    assert newest([new, other, old]) == [other, new]


def test_a_line_of_the_log_says_how_a_worker_stands() -> None:
    status = WorkerStatus(worker_id=2, pid=77, requests=4, clients=3, rss=5 << 20)
    assert in_words(status) == "worker 2 (pid: 77): busy, 4 requests, 3 connections, 5 MiB"
    assert in_words(WorkerStatus(worker_id=3)) == "worker 3: cheap"
