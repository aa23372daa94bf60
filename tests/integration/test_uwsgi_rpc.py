"""``uwsgi.register_rpc`` and ``uwsgi.rpc``: as under uWSGI."""

from __future__ import annotations

from typing import Any

import pytest
from support.peers import require_program
from support.server import APPLICATIONS, UWSGI, Program, Server
from support.shared_memory import ask
from support.workers import wait_for_workers

APPLICATION = APPLICATIONS / "rpc.py"
CALLS = """
rpc("", b"joined", b"1", b"2") | rpc(None, b"joined") | rpc(b"", b"joined", b"a") | rpc(5, b"joined", b"a")
rpc("", b"number") | rpc("", b"nothing") | rpc("", b"none") | rpc("", b"failing") | call(b"none")
call(b"joined", b"x") | register_rpc(b"f", print) | register_rpc("f", print, 2) | register_rpc(None, print)
register_rpc("a\\0", print)
register_rpc("nothing", lambda: b"now") | rpc("", b"nothing") | rpc("", b"f") | rpc_list()
"""
LINES = [f"uwsgi.{line.strip()}" for line in CALLS.replace("|", "\n").splitlines() if line.strip()]


@pytest.mark.parametrize("mode", [("--gevent", "10"), ("--threads", "4"), ()], ids=" ".join)
def test_they_do_what_uwsgis_do(serve: Any, mode: tuple[str, ...]) -> None:
    require_program("uwsgi")
    with Server(APPLICATION, program=Program((*UWSGI.command, "--master"), UWSGI.ready)) as server:
        theirs = ask(server, *LINES)
    ours = ask(serve(APPLICATION, "--master", concurrency=mode, allow_traceback=True), *LINES)
    assert dict(zip(LINES, ours, strict=True)) == dict(zip(LINES, theirs, strict=True))
    assert ours[:2] == [b"1|2", None]


def test_each_worker_has_what_was_registered_before_it_and_its_own(serve: Any) -> None:
    server = serve(APPLICATION, "--master", "--processes", "2")
    wait_for_workers(server, 2)
    lines = "uwsgi.worker_id()", "uwsgi.register_rpc(str(uwsgi.worker_id()), print)", "uwsgi.rpc_list()"
    for _ in range(40):
        worker, _, names = ask(server, *lines)
        assert names == (b"joined", b"failing", b"exiting", b"number", b"nothing", str(worker).encode())


REFUSED = {
    "uwsgi.rpc('')": "TypeError: ",
    "uwsgi.rpc('', 'joined')": "ValueError: unable to call rpc function: its name and its arguments must be bytes",
    "uwsgi.rpc('', b'joined', 's')": "ValueError: unable to call rpc function: its name and its arguments must be b",
    "uwsgi.rpc('127.0.0.1:1', b'joined')": "ValueError: unable to call rpc function: it is another server's, '127.0.0",
    "uwsgi.register_rpc('f', 5)": "TypeError: register_rpc() argument 2 must be callable, not int",
}


def test_what_cannot_be_says_why_and_an_error_ends_nothing(serve: Any) -> None:
    server = serve(APPLICATION, allow_traceback=True)
    answers = ask(server, *REFUSED)
    assert [answer[: len(error)] for answer, error in zip(answers, REFUSED.values(), strict=True)] == [
        *REFUSED.values()
    ]
    assert ask(server, "uwsgi.rpc('', b'exiting')", "1 + 1") == [None, 2]
    server.wait_for_log(r"rpc function exiting[\s\S]*SystemExit")
