"""Workers whose event loop does not run, and those that hold too much memory; with real processes and signals."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from uwsgi_ws.options import Options
from uwsgi_ws.process.common import Order
from uwsgi_ws.process.generations import Generation, Life, WorkerProcess
from uwsgi_ws.process.signals import REPORT
from uwsgi_ws.process.watchdog import Watchdog
from uwsgi_ws.shared.scoreboard import Scoreboard
from uwsgi_ws.shared.signals import SignalTable
from uwsgi_ws.shared.status import WorkerStatus

NONE = signal.SIGTERM  # what the test itself sends at last; of signals that wait, the others come first


def start() -> WorkerProcess:
    """Return a process that any signal ends."""
    pid = os.fork()
    if not pid:
        for number in (REPORT, NONE):
            signal.signal(number, signal.SIG_DFL)
        while True:
            signal.pause()
    return WorkerProcess(
        Order(1, 0, 1), Generation(SignalTable(memoryview(bytearray(SignalTable.size(1))), 1)), Life.SERVING, pid
    )


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    process = start()
    yield process
    if process.pid:
        end_of(process)


def end_of(worker: WorkerProcess) -> int:
    """Return the first signal that the worker has got."""
    os.kill(worker.pid, NONE)
    _, status = os.waitpid(worker.pid, 0)
    worker.pid = 0
    return os.WTERMSIG(status)


def scoreboard(silence: float = 0.0, rss: int = 0, vsz: int = 0) -> Scoreboard:
    """One whose worker 1 has not beaten for ``silence`` seconds more than it should."""
    found = Scoreboard(2)
    beat = time.monotonic_ns() - int((1 + silence) * 1e9)
    found.write(0, WorkerStatus(worker_id=1, beat=beat, rss=rss << 20, vsz=vsz << 20))
    return found


@pytest.mark.parametrize(
    ("options", "status", "number"),
    [
        (Options(harakiri=5), {"silence": 4}, NONE),
        (Options(harakiri=5), {"silence": 6}, signal.SIGKILL),
        (Options(gevent=10, gevent_stuck_report=5), {"silence": 4}, NONE),
        (Options(gevent=10, gevent_stuck_report=5), {"silence": 6}, REPORT),
        (Options(gevent=10, gevent_stuck_report=5, harakiri=5), {"silence": 6}, signal.SIGKILL),
        (Options(gevent=10, gevent_stuck_report=0), {"silence": 10**6}, NONE),
        (Options(evil_reload_on_rss=100), {"rss": 99}, NONE),
        (Options(evil_reload_on_rss=100), {"rss": 100}, signal.SIGKILL),
        (Options(evil_reload_on_as=100), {"rss": 1, "vsz": 99}, NONE),
        (Options(evil_reload_on_as=100), {"rss": 1, "vsz": 100}, signal.SIGKILL),
        (Options(), {"rss": 10**6, "vsz": 10**6}, NONE),
    ],
)
def test_a_worker_is_asked_or_killed_once_a_limit_is_passed(
    worker: WorkerProcess, options: Options, status: dict[str, int], number: int
) -> None:
    Watchdog(options, scoreboard(**status)).look([worker])
    assert end_of(worker) == number


@pytest.mark.parametrize("life", [life for life in Life if life not in (Life.SERVING, Life.RESTING)])
def test_only_a_worker_that_has_clients_and_no_order_to_go_is_looked_at(worker: WorkerProcess, life: Life) -> None:
    worker.life = life
    Watchdog(Options(harakiri=5), scoreboard(60)).look([worker])
    assert end_of(worker) == NONE


def test_one_that_has_never_beaten_is_left_alone(worker: WorkerProcess) -> None:
    Watchdog(Options(harakiri=5), Scoreboard(2)).look([worker])
    assert end_of(worker) == NONE


def test_it_is_asked_once_what_it_is_doing(worker: WorkerProcess, capfd: pytest.CaptureFixture[str]) -> None:
    stuck = scoreboard(60)
    worker.reported_beat = stuck.read(0).beat / 1e9
    Watchdog(Options(gevent=10, gevent_stuck_report=5), stuck).look([worker])
    assert end_of(worker) == NONE
    assert capfd.readouterr() == ("", "")


def test_after_the_whole_machine_was_held_up_workers_get_time_to_beat_again(
    worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr("uwsgi_ws.process.watchdog.monotonic", lambda: now)
    watchdog = Watchdog(Options(harakiri=5), scoreboard(60))
    other = start()
    now += 10
    watchdog.look([other])  # late
    now += 1
    watchdog.look([other])
    assert end_of(other) == NONE
    now += 1.5
    watchdog.look([worker])
    assert end_of(worker) == signal.SIGKILL
