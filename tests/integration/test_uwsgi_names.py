"""``uwsgi.env``, ``start_response``, ``cl``, ``logsize`` and ``listen_queue``, with uWSGI's types and errors."""

from __future__ import annotations

import ast
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.server import APPLICATIONS, Server

APPLICATION = APPLICATIONS / "uwsgi_names.py"
Start = Callable[..., Server]


@pytest.fixture(params=["--gevent", "--threads"])
def server(serve: Start, request: Any, tmp_path: Path) -> Server:
    return serve(APPLICATION, request.param, "10", "--uwsgi-socket", str(tmp_path / "uwsgi.sock"))


def test_they_are_about_the_current_request(server: Server) -> None:
    with HttpClient(("127.0.0.1", server.port)) as client:
        response = client.request("POST", "/nested", body=b"abc")
        nothing = client.request("GET", "/")
    assert (response.status, response.reason, response.get("X-Mine")) == (203, "Mine", "1")
    found = ast.literal_eval(response.text)
    assert (found["env"], found["inherited"], found["cl"], found["logsize"]) == (True, True, 3, 0)
    assert found["queue"] == [
        0, 0, 0, "ValueError: unable to find socket 7", "ValueError: unable to find socket -1",
        "TypeError: 'str' object cannot be interpreted as an integer",
    ]  # fmt: skip
    assert found["at_import"] == ([False, True, True, True, True], 0, 0)
    assert ast.literal_eval(nothing.text)["cl"] == 0


def test_start_response_is_the_applications_own(server: Server) -> None:
    address = ("127.0.0.1", server.port)
    assert fetch(address, "/twice").text == "AssertionError: start_response called a second time without exc_info"
    assert fetch(address, "/written").text == "written"


def test_a_greenlet_of_the_applications_has_it_too(serve: Start) -> None:
    response = fetch(("127.0.0.1", serve(APPLICATION).port), "/spawned")
    assert (response.status, response.reason, response.text) == (202, "Spawned", "spawned")


def test_off_a_request_there_is_nothing_to_tell(serve: Start) -> None:
    server = serve(
        APPLICATION.read_text()
        + """
def application(environ, start_response):
    start_response("200 OK", [])
    return [repr(off_request.get()).encode()]
"""
    )
    env, cl, start_response = ast.literal_eval(fetch(("127.0.0.1", server.port)).text)
    words = "you can call uwsgi api function only from the main callable"
    assert env == f"AttributeError: module 'uwsgi' has no attribute 'env' here: {words}"
    assert cl == start_response == f"SystemError: {words}"


def test_the_size_of_the_log_is_its_files(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "app.py").write_text(
        "import os, uwsgi\n"
        "def application(environ, start_response): pass\n"
        "with open('told', 'w') as told: told.write(str(uwsgi.logsize() == os.path.getsize('log') > 0))\n"
        "raise SystemExit(3)\n"
    )
    command = [sys.executable, "-m", "uwsgi_ws", "--http", "127.0.0.1:0", "--logto", str(log), "--wsgi-file", "app.py"]
    subprocess.run(command, cwd=tmp_path, timeout=20, check=False)
    assert (tmp_path / "told").read_text() == "True"


def test_the_queue_counts_who_waits(serve: Start) -> None:
    """A worker that has ceased to accept leaves clients in the backlog."""
    server = serve("""
import uwsgi

def application(environ, start_response):
    uwsgi.accepting(0)
    start_response("200 OK", [])
    return [b"%d" % uwsgi.listen_queue()]
""")
    with HttpClient(("127.0.0.1", server.port)) as client:
        assert client.request("GET", "/").text == "0"
        waiting = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
        try:
            eventually(lambda: client.request("GET", "/").text == "3")
        finally:
            for each in waiting:
                each.close()
