"""``uwsgi.connect``, ``async_connect``, ``send``, ``recv``, ``close`` and ``is_connected``, beside uWSGI's own."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest
from support.http_client import fetch
from support.peers import require_program
from support.server import APPLICATIONS, UWSGI, Server

APPLICATION = APPLICATIONS / "raw_descriptors.py"
MODES = {"greenlets": ("--gevent", "10"), "threads": ("--threads", "4"), "serial": ()}


@pytest.fixture(scope="module", params=MODES)
def server(request: Any) -> Any:
    with Server(APPLICATION, *MODES[request.param], concurrency=()) as server:
        server.mode = request.param  # type: ignore[attr-defined]
        yield server


def ask(server: Server, name: str) -> Any:
    return ast.literal_eval(fetch(("127.0.0.1", server.port), f"/{name}").text)


@pytest.fixture(scope="module")
def uwsgis() -> Any:
    require_program("uwsgi")
    with Server(APPLICATION, program=UWSGI) as server:
        return ask(server, "alike")


def test_they_do_what_uwsgis_do(server: Server, uwsgis: Any) -> None:
    assert ask(server, "alike") == uwsgis


def test_a_name_without_a_file_is_found(server: Server) -> None:
    assert ask(server, "abstract") == (True, b"x", None)


def test_others_run_while_one_waits(server: Server) -> None:
    assert ask(server, "waiting") == [1_000_000]


def test_a_wait_ends_with_its_descriptor_or_its_greenlet(serve: Callable[..., Server]) -> None:
    assert ask(serve(APPLICATION), "ended") == (None, True, b"later")


def test_a_write_that_fails_is_logged(server: Server) -> None:
    ask(server, "alike")
    server.wait_for_log(r"uwsgi\.send\(\): write\(\): Broken pipe")
