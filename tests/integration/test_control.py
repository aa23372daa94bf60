"""``--control``, and ``python -m uwsgi_ws ctl``: what an operator sees and does from a terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.server import ROOT, Server, ServerFailed, free_port
from support.websocket_client import RawClient, close_frame
from support.workers import wait_for_workers

APPLICATION = """
import uwsgi_ws

def application(environ, start_response):
    ws = uwsgi_ws.accept(environ)
    ws.join("news")
    for message in ws:
        ws.send(message)
    return []
"""

DETACHED = """
import uwsgi_ws

def application(environ, start_response):
    ws = uwsgi_ws.accept(environ)
    ws.join("news")
    return ws.detach(lambda ws, message: ws.send(message))
"""


def ctl(address: object, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "uwsgi_ws", "ctl", str(address), *words]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=30, check=False
    )


def listed(address: object, *words: str) -> list[dict[str, Any]]:
    answer = ctl(address, "--json", "list", *words)
    assert answer.returncode == 0, answer.stderr
    return [each for line in answer.stdout.splitlines() for each in json.loads(line).get("connections", [])]


def opened(server: Server, path: str = "/chat") -> RawClient:
    peer = RawClient.open(server.port, path)
    peer.send_text("x")
    peer.expect_text("x")
    return peer


@pytest.mark.parametrize("application", [APPLICATION, DETACHED], ids=["loop", "detached"])
@pytest.mark.parametrize("model", [("--gevent", "100"), ("--threads", "4")])
def test_connections_of_all_workers_are_listed_and_closed(
    serve_many: Any, tmp_path: Path, model: Any, application: str
) -> None:
    control = tmp_path / "control"
    server: Server = serve_many(application, "--control", str(control), *model)
    assert stat.S_IMODE(control.stat().st_mode) == 0o600
    peers = [opened(server, f"/chat/{number}") for number in range(4)]
    found = listed(control)
    assert sorted(each["path"] for each in found) == [f"/chat/{number}" for number in range(4)]
    assert all((each["messages_received"], each["messages_sent"], each["state"]) == (1, 1, "open") for each in found)
    port = peers[2].sock.getsockname()[1]
    [third] = listed(control, "--peer", f"127.0.0.1:{port}")
    assert third["path"] == "/chat/2"
    assert (third["carrier"], third["route"], third["queue"]) == ("http1", "/", 0)
    assert len(listed(control, "--path", "/chat/3")) == 1
    table = ctl(control, "list").stdout
    assert len(table.splitlines()) == 5
    assert third["id"] in table

    assert ctl(control, "publish", "news", "it rains").stdout == "published: 1\n"
    for peer in peers:
        peer.expect_text("it rains")
    closed = ctl(control, "close", third["id"], "--code", "4000", "--reason", "out")
    assert closed.stdout == "closed: 1\n"
    peers[2].expect_close(4000, "out")
    peers[2].send(close_frame(4000))
    peers[2].expect_eof()
    eventually(lambda: len(listed(control)) == 3)
    for name, words in {
        "there is no such connection": (third["id"],),
        "there is no connection '1-1'": ("1-1",),
        "1015 is no close code that may be sent, such as 1000 or 3000 to 4999": (third["id"], "--code", "1015"),
    }.items():
        refused = ctl(control, "close", *words)
        assert (refused.returncode, refused.stderr) == (1, f"uwsgi_ws ctl: {name}\n")
    for peer in peers:
        peer.close()


def test_an_instance_is_shown_reloaded_and_drained(serve_many: Any, tmp_path: Path) -> None:
    control = tmp_path / "control"
    server: Server = serve_many(APPLICATION, "--control", str(control))
    shown = ctl(control, "top", "--once").stdout
    assert re.search(rf"master {server.pid}: ready, 0 clients wait\nid +pid +status", shown)
    assert len(shown.splitlines()) == 4
    assert ctl(control, "drain", "--worker", "7").stderr == "uwsgi_ws ctl: no worker 7 serves\n"
    assert ctl(control, "drain", "--worker", "2").returncode == 0
    wait_for_workers(server, 3)
    assert ctl(control, "reload").stdout == "done\n"
    server.wait_for_log("reloaded: new workers serve", 20)
    eventually(lambda: server.log.count(" has left") == 3, 20)  # the one that was drained, and the two old ones
    peer = opened(server)
    assert ctl(control, "drain").stdout == "done\n"
    peer.expect_close(1001, "server stops")
    peer.send(close_frame(1001))
    peer.expect_eof()
    peer.close()
    assert server.wait() == 0
    assert ctl(control, "top", "--once").returncode == 1


def test_a_port_wants_the_token(serve: Any, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    address = f"127.0.0.1:{free_port()}"
    serve(APPLICATION, "--control", address, "--control-token", str(token))
    assert ctl(address, "list").stderr == "uwsgi_ws ctl: this needs the token\n"
    assert ctl(address, "list", UWSGI_WS_CONTROL_TOKEN=str(token)).returncode == 0
    assert ctl(address, "--token-file", str(token), "list").returncode == 0


@pytest.mark.parametrize(
    ("address", "token", "message"),
    [
        ("127.0.0.1:0", "", "every user of this machine may connect"),
        ("@name", "", "every user of this machine may connect"),
        (":0", "0123456789abcdef", "can be reached from other machines"),
        ("127.0.0.1:0", "short", "holds 5 bytes, 16 at least"),
    ],
)
def test_an_address_that_others_reach_is_refused(tmp_path: Path, address: str, token: str, message: str) -> None:
    file = tmp_path / "token"
    file.write_text(token)
    with pytest.raises(ServerFailed, match=message):
        Server(APPLICATION, "--control", address, *(["--control-token", str(file)] if token else []))


def test_a_worker_that_stands_still_is_named_and_holds_up_nothing(serve_many: Any, tmp_path: Path) -> None:
    control = tmp_path / "control"
    server: Server = serve_many(APPLICATION, "--control", str(control), "--gevent-stuck-report", "0")
    worker = int(re.findall(r"worker 1 \(pid: (\d+)", server.log)[0])
    os.kill(worker, signal.SIGSTOP)
    try:
        with socket.socket(socket.AF_UNIX) as asks:
            asks.connect(str(control))
            asks.sendall(b'{"do": "list"}\n')
            assert ctl(control, "top", "--once").returncode == 0  # meanwhile
            asks.settimeout(15)
            answer = b"".join(iter(lambda: asks.recv(65_536), b"")).splitlines()
        assert json.loads(answer[-1])["error"] == "1 workers have not answered"
    finally:
        os.kill(worker, signal.SIGCONT)
    eventually(lambda: ctl(control, "list").returncode == 0)


@pytest.mark.parametrize(
    "request_line",
    [
        b"[]",
        b"{",
        b'{"do": "x"}',
        b'{"do": "close"}',
        b'{"do": "list", "limit": {}}',
        b"[" * 50_000,
        b'{"do": "list", "limit": 1e999}',
        b'{"do": "publish", "channel": "\\ud800", "message": ""}',
    ],
)
def test_what_means_nothing_is_answered(serve: Any, tmp_path: Path, request_line: bytes) -> None:
    control = tmp_path / "control"
    serve(APPLICATION, "--control", str(control))
    with socket.socket(socket.AF_UNIX) as asks:
        asks.settimeout(10)
        asks.connect(str(control))
        asks.sendall(request_line + b"\n")
        [answer] = b"".join(iter(lambda: asks.recv(65_536), b"")).splitlines()
    assert json.loads(answer)["error"]
