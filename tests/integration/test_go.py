"""Programs in Go: what Go's module promises, through a running server; and the examples in Go."""

from __future__ import annotations

import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.chromium import chromium_page
from support.go import build
from support.http_client import HttpClient, fetch
from support.peers import require_program
from support.server import APPLICATIONS, EXAMPLES, ROOT, UWSGI_WS, Server, finish
from support.websocket_client import BINARY, PING, RawClient, close_frame, frame, text

pytestmark = pytest.mark.matrix

Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build(APPLICATIONS / "go/carriers", tmp_path_factory.mktemp("go")))


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build(EXAMPLES / "go-chat", tmp_path_factory.mktemp("go")))


@pytest.fixture(scope="module")
def server(program: str) -> Iterator[Server]:
    server = Server(None, "--go-app", program, "--limit-post", "300000")
    yield server
    finish(server, allow_traceback=False)


def test_messages_come_back_as_what_they_are(server: Server) -> None:
    with RawClient.open(server.port, "/echo?1") as client:
        client.send(text("Grüße") + frame(BINARY, b"\0\xff") + text("x" * 100_000) + text(""))
        client.expect_text("Grüße")
        client.expect_binary(b"\0\xff")
        client.expect_text("x" * 100_000)
        client.expect_text("")
        client.finish(4711)
    server.wait_for_log("1 ended 4711")


def test_a_panic_ends_its_own_request(server: Server) -> None:
    with RawClient.open(server.port, "/echo") as other, RawClient.open(server.port, "/panic") as client:
        client.expect_close(1011)
        assert fetch(server.addresses[0], "/fails").status == 500
        assert server.log.count("panic in GET /panic: as asked\n") == 1
        server.wait_for_log("main.go:")  # the stack
        other.send_text("still here")
        other.expect_text("still here")


def test_a_ping_is_timed(server: Server) -> None:
    with RawClient.open(server.port, "/ping") as client:
        came = client.read_frame()
        assert came.opcode == PING
        client.send(frame(10, came.payload))
        client.expect_text("true")
        client.expect_close(1000)


def test_channels_connect_requests_and_all_processes(serve: Serve, program: str, tmp_path: Path) -> None:
    socket = str(tmp_path / "channels")
    server = serve(None, "--go-app", program, "--processes", "2", "--channel-socket", socket)
    with RawClient.open(server.port, "/joined") as client, RawClient(server.port) as listener:
        client.send_text("in")
        client.expect_text("in")
        listener.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert listener.read_response().headers["content-type"] == "text/event-stream"
        for how in "inside", "outside":
            assert fetch(server.addresses[0], f"/publish?{how}").status == 200
            client.expect_text("published")
        came = b""
        while came.count(b"data: published\n\n") < 2:
            came += listener.read(1)
    server.wait_for_log("events ended: context canceled")


def test_bodies_are_pulled_and_limited(server: Server) -> None:
    body = bytes(range(256)) * 1000
    for sent, status in (body, 200), (body * 2, 413):
        with HttpClient(server.addresses[0]) as client:
            response = client.request("POST", "/body", body=sent)
            assert response.status == status
            assert status != 200 or response.body == sent
    assert fetch(server.addresses[0], "/nothing").status == 404


def test_a_stop_lets_requests_end(serve: Serve, program: str) -> None:
    server = serve(None, "--go-app", program)
    with RawClient.open(server.port, "/echo?2") as client:
        os.kill(server.pid, signal.SIGTERM)
        client.expect_close(1001, "server stops")
        client.send(close_frame(1001))
        assert server.wait() == 0
    assert "2 ended 1001" in server.log
    assert not server.killed


def test_as_many_goroutines_as_are_allowed(serve: Serve, program: str) -> None:
    server = serve(None, "--go-app", program, "--goroutines", "1")
    with RawClient.open(server.port, "/echo") as first:
        first.send_text("1")
        first.expect_text("1")
        with RawClient(server.port) as second:
            second.send(b"GET /client HTTP/1.1\r\nHost: x\r\n\r\n")
            first.send_text("2")
            first.expect_text("2")
            second.sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                second.read_response()
            second.sock.settimeout(10)
            first.finish()
            assert second.read_response().status == 200


@pytest.mark.parametrize(
    ("page", "title", "path"),
    [("README.md", "Perl and Go", "/"), ("docs/go.md", "A complete application", "/echo")],
)
def test_the_application_of_a_page_is_served_by_its_commands(
    serve: Serve, page: str, title: str, path: str, tmp_path: Path
) -> None:
    require_program("go")
    section = (ROOT / page).read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    source = section.partition("```go\n")[2].partition("```")[0]
    (tmp_path / "main.go").write_text(source)
    commands = re.findall(r"^ *((?:go|python -m uwsgi_ws) .+)$", section, re.MULTILINE)
    commands = [command for command in commands if " --psgi " not in command]
    run = next(number for number, command in enumerate(commands) if " --http " in command)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands[:run]:
        subprocess.run(["sh", "-ec", command], cwd=tmp_path, env={**environment, "GOPROXY": "off"}, check=True)
    server = serve(None, *shlex.split(commands[run])[5:], cwd=tmp_path)
    with RawClient.open(server.port, path) as client:
        client.send_text("hello")
        client.expect_text("hello")


@pytest.mark.parametrize("name", ["go-echo", "go-chat"])
def test_the_first_line_of_each_example_is_the_command_that_runs_it(serve: Serve, name: str, tmp_path: Path) -> None:
    first_line = (EXAMPLES / name / "main.go").read_text().splitlines()[0]
    prefix = f"// cd examples/{name} && go build && python -m uwsgi_ws --http 127.0.0.1:8080 --go-app ./{name}"
    assert first_line.startswith(prefix)
    build(EXAMPLES / name, tmp_path)
    server = serve(None, *shlex.split(first_line.partition(" 127.0.0.1:8080 ")[2]), cwd=tmp_path)
    assert b"<!doctype html>" in fetch(server.addresses[0], "/").body


def test_the_page_of_the_echo_works(serve: Serve, tmp_path: Path) -> None:
    server = serve(None, "--go-app", str(build(EXAMPLES / "go-echo", tmp_path)))
    with chromium_page() as page:
        page.goto(server.url())
        page.fill("input", "Grüße 世界")
        page.press("input", "Enter")
        page.locator("pre", has_text="Grüße 世界").wait_for()


def started(*options: str) -> tuple[int, str]:
    """Return the exit status of a server that does not start, and what it says."""
    ran = subprocess.run([*UWSGI_WS.command, *options], capture_output=True, text=True, timeout=30, check=False)
    return ran.returncode, ran.stderr


def test_a_program_of_another_version_is_said_in_a_line(tmp_path: Path, program: str) -> None:
    # As a server of version 2 would start it.
    later = tmp_path / "later"
    later.write_text(f"#!/bin/sh\nUWSGI_WS_COMPANION=2 exec {shlex.quote(program)}\n")
    later.chmod(0o755)
    status, said = started("--go-app", str(later))
    assert status == 1
    assert (
        f"{program}: it was built for version 1 of the companion protocol, the server has version 2: build it" in said
    )


def test_what_cannot_be_run_is_said_in_a_line(tmp_path: Path, program: str) -> None:
    status, said = started("--go-app", str(tmp_path / "missing"))
    assert (status, "missing" in said) == (1, True), said
    plain = tmp_path / "plain"
    plain.write_bytes(Path(program).read_bytes())
    plain.chmod(stat.S_IRUSR)
    status, said = started("--go-app", str(plain))
    assert (status, "ermission" in said) == (1, True), said


def test_a_client_that_goes_ends_the_context(server: Server) -> None:
    with RawClient.open(server.port, "/nonblocking?3") as client:
        client.send_text("x")
        client.expect_text("x")
        client.send(close_frame(1001, b"bye"))
        client.expect_close(1001)
    server.wait_for_log("3 ended 1001 bye")
