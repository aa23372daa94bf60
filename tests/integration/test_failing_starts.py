"""A start that fails leaves nothing behind, and a reload that cannot begin costs nothing.

`make faults ARGS=--start` has each system call of a start fail.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.http_client import HttpClient
from support.peers import require_program
from support.server import ROOT

HELLO = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]
"""


@pytest.fixture
def taken() -> Iterator[str]:
    """An address at which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield f"127.0.0.1:{sock.getsockname()[1]}"


def start(folder: Path, *options: str) -> tuple[int, str]:
    """Return the status with which a server ends that cannot start, and what it has said."""
    (folder / "app.py").write_text(HELLO)
    command = [sys.executable, "-m", "uwsgi_ws", "--chdir", str(folder), "--wsgi-file", "app.py"]
    ended = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("concurrency", [["--gevent", "10"], ["--gevent", "10", "--master", "--processes", "2"]])
@pytest.mark.parametrize("option", ["--channel-socket", "--pidfile"])
def test_a_start_that_fails_takes_its_files_away(tmp_path: Path, concurrency: list[str], option: str) -> None:
    cannot_be = str(tmp_path / "missing" / "file")
    status, said = start(tmp_path, *concurrency, "--uwsgi-socket", str(tmp_path / "socket"), option, cannot_be)
    assert status == 1
    assert f"{option[2:]}: cannot " in said.splitlines()[-1]
    assert [file.name for file in tmp_path.iterdir()] == ["app.py"]


def test_a_master_that_cannot_start_takes_its_files_away(tmp_path: Path, taken: str) -> None:
    """Its statistics are the last that it listens for."""
    files = ["--uwsgi-socket", str(tmp_path / "socket"), "--master-fifo", str(tmp_path / "fifo")]
    status, said = start(tmp_path, "--master", *files, "--stats", str(tmp_path / "stats"), "--stats", taken)
    assert (status, "Address already in use" in said.splitlines()[-1]) == (1, True)
    assert [file.name for file in tmp_path.iterdir()] == ["app.py"]


def test_a_reload_that_gets_no_process_leaves_the_workers_as_they_are(serve: Any, tmp_path: Path) -> None:
    strace = require_program("strace")
    server = serve(HELLO, "--master")
    server.wait_for_log("spawned uwsgi_ws worker 1")
    inject = ["-e", "trace=clone", "-e", "inject=clone:error=EAGAIN:when=1"]
    with subprocess.Popen([strace, *inject, "-p", str(server.pid)], stderr=subprocess.PIPE) as tracer:
        assert tracer.stderr is not None
        if b"attached" not in tracer.stderr.readline():
            pytest.skip("strace may not look into processes here")
        server._process.send_signal(signal.SIGHUP)
        server.wait_for_log(r"reload failed .*the old workers go on", 20)
        tracer.send_signal(signal.SIGINT)
        tracer.stderr.read()
    assert "cannot start a process that loads the application: Resource temporarily unavailable" in server.log
    with HttpClient(("127.0.0.1", server.port)) as client:
        assert client.request("GET", "/").body == b"hello"
    server._process.send_signal(signal.SIGHUP)
    server.wait_for_log(r"reloaded: new workers serve", 30)
