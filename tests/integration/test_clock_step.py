"""A clock that is set while the server runs: what is measured by it, and what is not."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.stepped_clock import SteppedClock
from support.workers import ANYWHERE, APPLICATION, address, is_alive, who

# An hour, and to before the epoch, as a machine whose battery is empty believes.
STEPS = [-3600, 3600, -(10**10)]


@pytest.fixture
def serve_by_clock(serve: Any, tmp_path: Path) -> Any:
    """Start a server, and return it together with a function that sets its clock."""
    clock = SteppedClock(tmp_path)

    def start(*options: str) -> tuple[Any, Any]:
        path = f"{tmp_path}{os.pathsep}{ANYWHERE['PYTHONPATH']}"
        return serve(APPLICATION, *options, env={"PYTHONPATH": path}), clock.set

    return start


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("options", [["--master"], ["--threads", "4", "--master"]], ids=["greenlets", "threads"])
def test_limits_count_on_and_durations_stay_true(serve_by_clock: Any, step: int, options: list[str]) -> None:
    server, set_clock = serve_by_clock(*options, "--max-requests", "8", "--min-worker-lifetime", "0")
    first = who(server)
    with HttpClient(address(server)) as client:
        # It is under way while the clock is set.
        client.send(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbe")
        eventually(lambda: fetch(address(server)).status == 200)
        set_clock(step)
        client.send(b"gi")
        assert client.read_response().status == 200
    assert 0 <= int(server.wait_for_log(r"POST /wait => .* in (-?[0-9]+) msecs")[1]) < 60_000
    for _ in range(8):
        fetch(address(server))
    server.wait_for_log(rf"pid: {first}\) asks to be replaced: it has begun [0-9]+ requests", 10)
    eventually(lambda: not is_alive(first), 15)
    assert who(server) != first


def test_a_worker_grows_old_by_a_clock_that_is_set_back(serve_by_clock: Any) -> None:
    server, set_clock = serve_by_clock("--master", "--max-worker-lifetime", "2", "--min-worker-lifetime", "0")
    set_clock(-3600)
    server.wait_for_log("asks to be replaced: it has lived for [0-9]+ seconds", 10)


def test_an_instance_alone_goes_on(serve_by_clock: Any) -> None:
    server, set_clock = serve_by_clock()
    set_clock(-(10**10))
    assert fetch(address(server)).status == 200
    assert server.stop(signal.SIGINT) == 0
