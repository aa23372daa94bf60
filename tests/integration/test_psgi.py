"""PSGI applications behind the server: as uWSGI's documents write them, and the examples; beside real uWSGI."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from urllib.parse import urlencode

import pytest
from support.eventually import eventually
from support.peers import missing, require_program
from support.redis_server import redis_server
from support.server import APPLICATIONS, EXAMPLES, ROOT, UWSGI_WS, Program, Server, ServerFailed
from support.websocket_client import TEXT, RawClient

pytestmark = pytest.mark.matrix

Serve = Callable[..., Server]

FOLDER = APPLICATIONS / "perl"
PSGI = Program(UWSGI_WS.command, UWSGI_WS.ready, lambda path: ("--psgi", str(path)))
UWSGI_PSGI = Program(
    ("uwsgi-core", "--plugins", "psgi", "--http-socket", "127.0.0.1:0"), r"spawned uWSGI worker", PSGI.application
)


def require_perl_modules(*names: str) -> None:
    for name in names:
        if subprocess.run(["perl", f"-M{name}", "-e", "1"], capture_output=True).returncode:
            missing(f"no Perl module {name}")


@pytest.fixture(params=["blocking", "coroutines", "uwsgi"], scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    """Who serves an application: this server, in one of two ways, or real uWSGI."""
    require_program("perl")
    if request.param == "uwsgi" and not shutil.which("uwsgi-core"):
        missing("no uwsgi-core on PATH, uWSGI with plugins")
    if request.param == "coroutines":
        require_perl_modules("Coro::AnyEvent")
    return str(request.param)


def start(kind: str, path: Path) -> Server:
    if kind == "uwsgi":
        return Server(path, program=UWSGI_PSGI)
    return Server(path, *(("--coroae", "100") if kind == "coroutines" else ("--perl-workers", "2")), program=PSGI)


@pytest.fixture(scope="module")
def answers(kind: str) -> Iterator[Server]:
    with start(kind, FOLDER / "answers.psgi") as server:
        yield server
        print(server.log)


def fetch(server: Server, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(server.url(path), body)) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def read_text(client: RawClient) -> str:
    frame = client.read_frame()
    assert frame.opcode == TEXT
    return frame.payload.decode()


def test_an_echo_of_uwsgis_documents(kind: str) -> None:
    with start(kind, FOLDER / "echo.psgi") as server:
        assert b"blackboard" in fetch(server, "/")[1]
        with RawClient.open(server.port, "/foobar/") as client:
            for word in ("ciao", "é", "x" * 100_000):
                client.send_text(word)
                assert re.fullmatch(rf"\[\d+\] {word}", read_text(client))
        with RawClient.open(server.port, "/foobar/") as client:
            client.send_text("next")
            assert read_text(client).endswith(" next")
        if kind != "uwsgi":  # whose standard output is no log
            server.wait_for_log("^websockets...")
            assert "unable to receive" not in server.log


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/", 200, b"hello world"),
        ("/file", 200, (FOLDER / "answers.psgi").read_bytes()),
        ("/object", 200, b"abc"),
        ("/streamed", 200, b"1 2 3 "),
        ("/delayed", 201, b"delayed"),
        ("/nowhere", 404, b""),
        ("/characters", 200, "€\n".encode() + b"\xe9"),
    ],
)
def test_requests(answers: Server, path: str, status: int, body: bytes) -> None:
    assert fetch(answers, path) == (status, body)


def test_request_bodies(answers: Server, kind: str) -> None:
    body = bytes(range(256)) * 800
    assert fetch(answers, "/read-all", body) == (200, b"%d:%s" % (len(body), body))
    if kind != "uwsgi":  # which empties the buffer at the end
        assert fetch(answers, "/echo", b"0123456789ab") == (200, b"0123456789ab 552")
    if kind != "uwsgi":  # which resets the connection
        assert fetch(answers, "/unread", body) == (200, b"unread")


def test_errors_are_logged_with_their_place(answers: Server) -> None:
    assert fetch(answers, "/die")[0] == 500
    answers.wait_for_log(r"\[uwsgi-perl error\] oops at \S+answers\.psgi line \d+\.")
    assert fetch(answers, "/") == (200, b"hello world")


def test_a_chat_of_uwsgis_documents(serve: Serve, tmp_path: Path) -> None:
    require_perl_modules("Coro::AnyEvent", "AnyEvent::Redis")
    with redis_server(tmp_path) as path:
        server = serve(FOLDER / "chat.psgi", "--coroae", "100", program=PSGI, env={"REDIS_SOCKET": path})
        clients = [RawClient.open(server.port, "/foobar/") for _ in range(3)]
        for client in clients:  # until its subscription has been heard of
            client.send_text("here")
            while not read_text(client).endswith(" here"):
                pass
        for number, client in enumerate(clients):
            client.send_text(f"from {number}")
            for other in clients:
                while not (heard := read_text(other)).endswith(f" from {number}"):
                    assert heard.endswith(" here")
        for client in clients:
            client.finish()
            client.close()
        assert fetch(server, "/favicon.ico") == (404, b"")


def hear(client: RawClient) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_text(client))
    return found


def test_one_room_for_applications_in_two_languages(serve: Serve) -> None:
    """examples/chat.psgi and examples/chat.py, mounted side by side."""
    require_perl_modules("Coro::AnyEvent")
    server = serve(
        None, "--mount", f"/perl={EXAMPLES / 'chat.psgi'}", "--mount", f"/python={EXAMPLES / 'chat.py'}",
        "--manage-script-name", "--coroae", "100", "--gevent", "100",
    )  # fmt: skip
    query = urlencode({"name": "Zoë", "room": "a b"})
    with (
        RawClient.open(server.port, f"/perl/ws?{query}") as perl,
        RawClient.open(server.port, f"/python/ws?{query}") as python,
    ):
        assert "worker" in hear(perl)
        while hear(python)["event"] != "welcome":
            pass
        for text in "¡hola!", "世界":
            if text == "世界":
                python.send_text(json.dumps({"send": text}))
            else:
                perl.send_text(text)
            said = hear(perl)
            assert (said["name"], said["text"]) == ("Zoë", text)
            assert hear(python) == {"event": "message", "data": said, "id": ANY}


PAGES = {"echo.psgi": "echo.html", "chat.psgi": "go-chat/page.html"}


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.psgi")), ids=lambda path: path.name)
def test_the_first_line_of_each_example_is_the_command_that_runs_it(serve: Serve, example: Path) -> None:
    require_perl_modules("Coro::AnyEvent")
    arguments = example.read_text(encoding="utf-8").splitlines()[0].split()
    assert arguments[:6] == ["#", "python", "-m", "uwsgi_ws", "--http", "127.0.0.1:8080"]
    assert f"examples/{example.name}" in arguments
    server = serve(None, *arguments[6:])
    with RawClient.open(server.port, "/ws") as client:
        client.send_text("hello")
        while "hello" not in read_text(client):
            pass
    assert fetch(server, "/") == (200, (EXAMPLES / PAGES[example.name]).read_bytes())
    assert fetch(server, "/nowhere") == (404, b"Not found\n")


def test_the_documents_application(serve: Serve, tmp_path: Path) -> None:
    """The first of docs/perl.md, by the command beneath it."""
    require_perl_modules("Coro::AnyEvent")
    match = re.search(r"```perl\n(.*?)```\n\n```sh\npython (.*?)\n", (ROOT / "docs/perl.md").read_text(), re.DOTALL)
    assert match is not None
    (tmp_path / "app.psgi").write_text(match[1])
    arguments = match[2].split()
    assert arguments[:4] == ["-m", "uwsgi_ws", "--http", "127.0.0.1:8080"]
    server = serve(None, *arguments[4:], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert b"say something" in fetch(server, "/")[1]
    with RawClient.open(server.port) as client:
        for word in ("hello", ""):
            client.send_text(word)
            assert read_text(client) == word


def test_a_bare_name_is_a_perl_application(serve: Serve) -> None:
    server = serve(None, "--perl-arg", "a b", "--perl-args", "c d", "--perl-no-plack", str(FOLDER / "answers.psgi"))
    assert fetch(server, "/arguments") == (200, b"answers.psgi,a b,c,d,uwsgi,none")


def test_an_application_that_does_not_load_ends_the_server(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "app.psgi"
    file.write_text("use strict;\ndie 'no database';\n")
    with pytest.raises(ServerFailed) as raised:
        serve(file, program=PSGI)
    assert "exit status 1;" in str(raised.value)
    assert f"uwsgi_ws companion: {file} line 2: no database\n" in str(raised.value)


def test_a_process_that_is_killed_takes_its_own_websockets_alone(serve: Serve) -> None:
    require_perl_modules("Coro::AnyEvent")
    server = serve(EXAMPLES / "chat.psgi", "--coroae", "100", "--perl-workers", "2", program=PSGI)
    clients: dict[int, list[RawClient]] = {}
    while len(clients) < 2 or min(map(len, clients.values())) < 3:
        client = RawClient.open(server.port, f"/ws?room={sum(map(len, clients.values()))}")
        clients.setdefault(int(hear(client)["worker"]), []).append(client)
    killed, other = sorted(clients, key=lambda pid: len(clients[pid]))
    os.kill(killed, signal.SIGKILL)
    for client in clients[killed]:
        client.expect_close(1011)
    for client in clients[other]:
        client.send_text("still here")
        assert hear(client)["text"] == "still here"
    server.wait_for_log(rf"(?s)\(pid: {killed}\).*spawned companion perl \d \(pid: (?!{killed}\b)\d+\)")
    # A reload lets the others go in good order, and both processes are new.
    os.kill(server.pid, signal.SIGHUP)
    for client in clients[other]:
        client.expect_close(1012, "server restarts")
        client.close()
    for client in clients[killed]:
        client.close()

    def is_new() -> bool:
        with RawClient.open(server.port, "/ws") as client:
            return int(hear(client)["worker"]) not in clients

    eventually(is_new)


def test_a_process_that_ends_takes_its_own_requests_alone(serve: Serve) -> None:
    """`exit` in an application, and a request for a fresh process."""
    server = serve(FOLDER / "answers.psgi", "--perl-workers", "2", program=PSGI)
    assert fetch(server, "/exit")[0] in (500, 502)
    first = int(fetch(server, "/harakiri")[1])
    assert fetch(server, "/") == (200, b"hello world")
    eventually(lambda: int(fetch(server, "/pid")[1]) != first)
