"""Asks ``applications/shared_memory.py``, under our server and under uWSGI."""

from __future__ import annotations

from typing import Any

from support.http_client import HttpClient
from support.peers import require_program
from support.server import APPLICATIONS, UWSGI, Program, Server

APPLICATION = APPLICATIONS / "shared_memory.py"


def ask(server: Server, *lines: str) -> list[Any]:
    """Return what each expression is, an exception as text."""
    with HttpClient(server.addresses[-1]) as client:
        response = client.request("POST", "/", body="\n".join(lines).encode())
    assert response.status == 200, server.log[-2_000:]
    return eval(response.text)  # type: ignore[no-any-return]  # our own application's repr


def both_answer(lines: list[str], *options: str) -> list[Any]:
    """Return the answers to expressions, which are the same under uWSGI as here, in each way of running."""
    require_program("uwsgi")
    program = Program((*UWSGI.command, "--master"), UWSGI.ready)
    with Server(APPLICATION, *options, program=program) as server:
        theirs = ask(server, *lines)
    for concurrency in (("--gevent", "10"), ("--threads", "4"), ()):
        with Server(APPLICATION, *options, concurrency=concurrency) as server:
            ours = ask(server, *lines)
        for line, their, our in zip(lines, theirs, ours, strict=True):
            assert (our, type(our)) == (their, type(their)), f"{line} {' '.join(concurrency)}"
    return theirs
