"""``--stats`` read by uwsgitop itself, as its users see it on a terminal."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import fetch
from support.server import free_port

pytestmark = pytest.mark.matrix

UWSGITOP = shutil.which("uwsgitop", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"hi"]
"""


@pytest.mark.skipif(UWSGITOP is None, reason="uwsgitop is not installed")
@pytest.mark.parametrize("form", ["tcp", "unix", "http"])
def test_uwsgitop_shows_the_workers(serve_many: Any, tmp_path: Path, form: str) -> None:
    where = str(tmp_path / "stats.sock") if form == "unix" else f"127.0.0.1:{free_port()}"
    server = serve_many(APPLICATION, "--stats", where, *(["--stats-http"] if form == "http" else []))
    for _ in range(5):
        fetch(("127.0.0.1", server.port), "/")
    master, slave = pty.openpty()
    assert UWSGITOP is not None
    process = subprocess.Popen(
        [sys.executable, UWSGITOP, "--frequency", "1", f"http://{where}" if form == "http" else where],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "linux", "COLUMNS": "160", "LINES": "40"},
    )
    os.close(slave)
    os.set_blocking(master, False)
    shown = ""

    def shows(text: str) -> bool:
        nonlocal shown
        try:
            shown += os.read(master, 65_536).decode("utf-8", "replace")
        except OSError:
            pass
        return text in shown

    try:
        eventually(lambda: shows("req: 5"), 15)
        for text in (f"masterpid: {server.pid}", "WID", "idle"):
            assert text in shown
    finally:
        process.terminate()
        process.wait(10)
        os.close(master)
