"""HttpArena's entry: what its runner starts echoes as its profiles want it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from support.server import ROOT, UWSGI_WS, Program, Server
from support.websocket_client import BINARY, RawClient, frame, text

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
