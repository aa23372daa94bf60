"""What the master knows of each process."""

from __future__ import annotations

import math
import socket
from time import monotonic

from uwsgi_ws.process.common import Order
from uwsgi_ws.process.generations import GRACE, Generation, Life, WorkerProcess
from uwsgi_ws.shared.signals import SignalTable

SIGNALS = SignalTable(memoryview(bytearray(SignalTable.size(1))), 1)


def test_a_generation_is_loading_until_its_fork_server_says_otherwise_or_is_told_to_end() -> None:
    ours, its = socket.socketpair()
    with ours, its:
        generation = Generation(SIGNALS)
        assert not generation.is_loading  # it has no fork server yet
        generation.control = ours
        assert generation.is_loading
        generation.is_loaded = True
        assert not generation.is_loading
        assert generation.kill_at == math.inf


def test_a_fork_server_that_is_loaded_gets_time_to_end_and_hears_so_by_the_end_of_its_connection() -> None:
    ours, its = socket.socketpair()
    with its:
        generation = Generation(SIGNALS, pid=7, control=ours, is_loaded=True)
        before = monotonic()
        generation.retire()
        assert its.recv(1) == b""
        assert GRACE <= generation.kill_at - before < GRACE + 1
        assert (generation.control, generation.is_loaded) == (None, False)


def test_one_that_still_loads_is_killed_at_once() -> None:
    ours, its = socket.socketpair()
    with its:
        generation = Generation(SIGNALS, pid=7, control=ours)
        generation.retire()
        assert generation.kill_at <= monotonic()
        assert not generation.is_loading
        generation.retire()


def test_a_worker_that_is_ordered_has_no_process_and_no_end() -> None:
    worker = WorkerProcess(Order(3, 0, 1), Generation(SIGNALS))
    assert (worker.life, worker.pid, worker.kill_at, worker.is_spent) == (Life.ORDERED, 0, math.inf, False)
    worker.pid = 99
    assert str(worker) == "worker 3 (pid: 99)"
