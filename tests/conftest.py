"""Fixtures that start real servers.

That this file is here makes ``support`` importable: pytest puts its folder on ``sys.path``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from support.server import EXAMPLES, Server, finish
from support.workers import wait_for_workers

# What an example costs depends on what else the machine does: time is no reason to fail.
settings.register_profile("uwsgi_ws", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("uwsgi_ws")

_kill = os.kill


def _kill_one(pid: int, number: int) -> None:
    """Signal one process: for ``os.kill``, 0 is the group of the tests themselves, `make` and who called it.

    A server tells of a worker that is not born yet by 0, and a test that stopped "it" stood still for good.
    """
    assert pid > 0, f"signal {number} to process {pid}"
    _kill(pid, number)


os.kill = _kill_one


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers by ``serve(application, *options, env=, cwd=, program=, allow_traceback=False)``.

    All end with the test, and it fails if one has to be killed, or has logged a traceback without
    ``allow_traceback``.
    """
    started: list[tuple[Server, bool]] = []

    def start(
        application: Path | str | None = None, *options: str, allow_traceback: bool = False, **settings: Any
    ) -> Server:
        server = Server(application, *options, **settings)
        started.append((server, allow_traceback))
        return server

    yield start
    problems = []
    for server, allow_traceback in reversed(started):
        try:
            finish(server, allow_traceback)
        except AssertionError as exc:
            problems.append(str(exc))
    if problems:
        pytest.fail("\n\n".join(problems))


@pytest.fixture
def serve_many(serve: Any) -> Any:
    """Start a server and wait until all of its workers serve."""

    def start(application: Any, *options: str, processes: int = 2, **settings: Any) -> Server:
        server: Server = serve(application, "--processes", str(processes), *options, **settings)
        wait_for_workers(server, processes)
        return server

    return start


@pytest.fixture(scope="module")
def echo_server() -> Iterator[Server]:
    """The application that the project began with, served for the tests of one file."""
    with Server(EXAMPLES / "seed.py", "--gevent", "100") as server:
        yield server
        finish(server, allow_traceback=False)
