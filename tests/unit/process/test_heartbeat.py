"""The heartbeat of a worker, with a server and an event loop of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from support.child import in_child

from uwsgi_ws.shared.status import WorkerStatus


def heartbeat() -> tuple[Any, Any]:
    """Return a server and its heartbeat; in a process of its own, as a process has one server."""
    from gevent import get_hub

    from uwsgi_ws.options import Options
    from uwsgi_ws.process.assembly import Equipment, make_server
    from uwsgi_ws.process.heartbeat import Heartbeat
    from uwsgi_ws.stats import Stats
    from uwsgi_ws.wsgi.applications import Applications

    get_hub().loop.update_now()  # it may not have run for long
    applications = Applications(manage_script_name=False)
    server = make_server(Options(gevent=10), Equipment({}, None, None), applications, 2, Stats(), None, 0)
    return server, Heartbeat(server, 2, 5)


def test_a_status_says_who_it_is_and_what_it_has_done() -> None:
    def work() -> str:
        server, beat = heartbeat()
        server.stats.requests, server.stats.busy_seconds, server.stats.channel_drops = 7, 0.25, 3
        before = time.monotonic_ns()
        status: WorkerStatus = beat.status()
        assert before <= status.beat <= time.monotonic_ns()
        assert (status.worker_id, status.pid, status.spawns) == (2, os.getpid(), 5)
        assert (status.requests, status.busy_us, status.channel_drops, status.clients) == (7, 250_000, 3, 0)
        assert 0 < status.rss < status.vsz
        assert abs(status.started_at - time.time()) < 60
        return "done"

    assert in_child(work) == "done"


def test_it_beats_at_once_and_then_every_second_for_all_that_listen() -> None:
    def work() -> str:
        from gevent.event import Event

        _, beat = heartbeat()
        beats: list[WorkerStatus] = []
        others: list[WorkerStatus] = []
        is_enough = Event()

        def fail(status: WorkerStatus) -> None:
            raise ValueError("one's trouble")

        def listen(status: WorkerStatus) -> None:
            beats.append(status)
            if len(beats) == 3:
                is_enough.set()

        for listener in (fail, others.append, listen):
            beat.on_beat(listener)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what is said of the failure
        beat.start()
        assert len(beats) == 1
        is_enough.wait(10)
        pauses = [(after.beat - before.beat) / 1e9 for before, after in pairwise(beats)]
        assert len(pauses) == 2
        assert min(pauses) > 0.5
        assert others == beats
        return "done"

    assert in_child(work) == "done"


def without_descriptors(do: Callable[[], Any]) -> Any:
    """Call something where no file can be opened any more."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    return do()


def test_without_a_descriptor_left_it_tells_the_memory_of_the_last_time() -> None:
    def work() -> str:
        _, beat = heartbeat()
        before = beat.status()
        after = without_descriptors(beat.status)
        assert (after.rss, after.vsz) == (before.rss, before.vsz)
        assert after.beat > before.beat
        return "done"

    assert in_child(work) == "done"


def test_memory_cannot_be_read_without_a_descriptor() -> None:
    def work() -> str:
        from uwsgi_ws.shared.status import memory

        with pytest.raises(OSError, match="Too many open files"):
            without_descriptors(memory)
        return "done"

    assert in_child(work) == "done"


def test_a_worker_is_as_busy_as_what_it_has_least_of() -> None:
    def work() -> str:
        from gevent import getcurrent, sleep, spawn
        from gevent.event import Event

        server, beat = heartbeat()
        told: list[int] = []
        beat.on_beat(lambda status: told.append(status.busyness))

        def stay() -> None:
            leave.wait()
            server.pool.give_back(getcurrent())

        beat.start()
        leave = Event()
        for _ in range(7):
            server.pool.spawn(stay)  # of 10 places
        while len(told) < 2:
            sleep(0.01)
        leave.set()

        def spin() -> None:
            while len(told) < 4:
                until = time.process_time() + 0.02
                while time.process_time() < until:
                    pass
                sleep(0)

        spawn(spin).join()
        return f"{told[:2]} {told[3] > 10}"  # other programs may want the CPU, too

    assert in_child(work) == "[0, 70] True"
