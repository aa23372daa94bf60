"""Fixtures that start real servers.

That this file is here makes ``support`` importable: pytest puts its folder on ``sys.path``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from support.server import EXAMPLES, Server
from support.workers import wait_for_workers

# What an example costs depends on what else the machine does: time is no reason to fail.
settings.register_profile("uwsgi_ws", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("uwsgi_ws")

# An OSError that leaves the application is how a uWSGI loop ends when its client goes: no fault.
CLIENT_GONE = re.compile(r"^(?:OSError|IOError|uwsgi_ws\.errors\.ConnectionClosed|uwsgi_ws\.ConnectionClosed)\b")


def faults(log: str) -> list[str]:
    """Return the tracebacks in a log, but for those of a loop whose client has gone."""
    found = []
    lines = iter(log.splitlines())
    for line in lines:
        if "Traceback (most recent call last)" not in line:
            continue
        block = [line]
        for inner in lines:
            block.append(inner)
            if inner and not inner[0].isspace():
                break
        if not CLIENT_GONE.match(block[-1]):
            found.append("\n".join(block))
    return found


def finish(server: Server, allow_traceback: bool) -> None:
    """Stop a server and look at what it leaves in its log."""
    server.stop()
    sys.stderr.write(f"log of {server.name}\n{server.log}")  # pytest shows it when the test fails
    assert not server.killed, "the server did not end when it was asked to"
    if not allow_traceback:
        found = faults(server.log)
        assert not found, "the server logged a traceback:\n" + "\n".join(found)


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
