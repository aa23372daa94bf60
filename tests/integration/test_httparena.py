"""HttpArena's entry: what its runner starts echoes as its profiles want it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.peers import require_program
from support.server import ROOT, UWSGI_WS, Program, Server
from support.websocket_client import BINARY, RawClient, frame, text

sys.path.insert(0, str(ROOT / "benchmarks"))

import harness
from run import WORKLOADS

ENTRY = ROOT / "benchmarks/httparena"


def test_what_the_image_runs_echoes(tmp_path: Path) -> None:
    ini = (ENTRY / "uwsgi.ini").read_text()
    assert "http-socket = :8080\n" in ini
    (tmp_path / "uwsgi.ini").write_text(ini.replace(":8080", "127.0.0.1:0"))
    (tmp_path / "app.py").write_bytes((ENTRY / "app.py").read_bytes())
    (command,) = [line[4:] for line in (ENTRY / "Dockerfile").read_text().splitlines() if line.startswith("CMD ")]
    python, *words = json.loads(command)
    assert python == "python"
    program = Program((sys.executable, *words), UWSGI_WS.ready)
    with (
        Server(None, program=program, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, concurrency=()) as server,
        RawClient.open(server.port, "/ws") as client,
    ):
        client.send(b"".join(text("hello") for _ in range(16)))
        for _ in range(16):
            client.expect_text("hello")
        client.send(frame(BINARY, b"\0\1"))
        client.expect_binary(b"\0\1")
        client.finish()


def test_its_description_is_whole() -> None:
    about = json.loads((ENTRY / "meta.json").read_text())
    assert about["tests"] == ["echo-ws", "echo-ws-pipeline", "echo-ws-limited"]
    assert {"display_name", "language", "type", "engine", "description", "repo", "enabled"} <= set(about)


def test_the_limited_load_opens_another_connection_after_ten_messages() -> None:
    require_program("cc")
    binary = harness.build(ROOT / "benchmarks/load.c")
    workload = WORKLOADS["arena-limited"]
    load = harness.Load(workload.mode, workload.defaults | {"connections": 4, "seconds": 0.5})
    with Server(ENTRY / "app.py") as server:
        done = subprocess.run(load.argv(binary, server.port), capture_output=True, text=True, timeout=20, check=True)
    figures = harness.figures_of(done.stdout.splitlines()[-1])
    assert sum(figures.get(fault, 0) for fault in harness.FAULTS) == 0, done
    assert figures["reconnects"] >= 4
    # The last connections of the four may have begun their ten.
    assert 0 <= figures["total"] - 10 * figures["reconnects"] < 4 * 10
