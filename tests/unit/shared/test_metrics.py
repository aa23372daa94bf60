"""Metrics' memory: numbers of 64 bits, changed by several processes."""

from __future__ import annotations

import os
from contextlib import nullcontext
from mmap import mmap

from uwsgi_ws.shared.locks import SharedLocks
from uwsgi_ws.shared.metrics import SharedMetrics


def test_numbers_begin_anew_past_64_bits() -> None:
    metrics = SharedMetrics([("a", 5), ("b", -7)], memoryview(bytearray(16)), nullcontext())
    assert ("a" in metrics, "c" in metrics) == (True, False)
    assert (metrics.get("a"), metrics.get("b")) == (5, -7)
    metrics.change("a", lambda number: number + 2**63 - 6)
    assert metrics.get("a") == 2**63 - 1
    metrics.change("a", lambda number: number + 1)
    assert (metrics.get("a"), metrics.get("b")) == (-(2**63), -7)


def test_processes_that_count_together_lose_nothing() -> None:
    metrics = SharedMetrics([("a", 0)], memoryview(mmap(-1, 8)), SharedLocks().lock())
    children = []
    for _ in range(3):
        pid = os.fork()
        if not pid:
            for _ in range(1_000):
                metrics.change("a", lambda number: number + 1)
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    assert metrics.get("a") == 3_000
