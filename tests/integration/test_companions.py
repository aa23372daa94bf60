"""Applications in processes of their own: requests, WebSockets, channels, deaths, nonsense, reloads, and the end.

The application is the Python companion of ``tests/applications``; what holds of it holds of Perl's and Go's.
"""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, Response
from support.many_clients import ManyClients
from support.peers import require_program
from support.server import APPLICATIONS, Server, ServerFailed, finish
from support.uwsgi_client import packet, variables
from support.websocket_client import BINARY, PONG, RawClient, close_frame, frame, handshake, text

pytestmark = pytest.mark.matrix

COMPANION = str(APPLICATIONS / "companion.py")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Two workers and one process of the application, which none of the tests ends."""
    options = [
        "--go-app",
        COMPANION,
        "--processes",
        "2",
        "--websockets-max-size",
        "256",
        "--uwsgi-socket",
        "127.0.0.1:0",
    ]
    with Server(None, *options, "--stats", "127.0.0.1:0") as server:
        yield server
        finish(server, allow_traceback=False)


def ask(server: Server, target: str, method: str = "GET", body: bytes | None = None) -> Response:
    with HttpClient(server.addresses[0]) as client:
        return client.request(method, target, body=body)


def pid_of(server: Server) -> int:
    return int(ask(server, "/pid").text)


def opened(server: Server, path: str) -> RawClient:
    return RawClient.open(server.addresses[0][1], path)


# Ordinary requests


def test_a_response_that_comes_as_a_whole_has_its_length(server: Server) -> None:
    response = ask(server, "/pid")
    assert (response.status, response.reason) == (200, "OK")
    assert response.get("Content-Length") == str(len(response.body))
    assert not response.is_chunked


def test_a_response_that_comes_in_pieces_is_passed_on_piece_by_piece(server: Server) -> None:
    response = ask(server, "/pieces")
    assert response.is_chunked
    assert response.chunks == [b"one ", b"two ", b"three"]
    assert response.all("Set-Cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("size", [0, 1, 65_536, 1_000_000])
def test_a_body_is_read_as_it_is_asked_for(server: Server, size: int) -> None:
    body = os.urandom(size)
    assert ask(server, "/body", "POST", body).body == body


def test_a_response_to_head_has_no_body(server: Server) -> None:
    with HttpClient(server.addresses[0]) as client:
        response = client.request("HEAD", "/pid")
        assert (response.status, response.body) == (200, b"")
        assert client.request("GET", "/pid").status == 200


def test_the_request_arrives_with_its_variables(server: Server) -> None:
    with HttpClient(server.addresses[0]) as client:
        headers = [("X-One", "1"), ("Cookie", "a=b")]
        modifier1, given, environ = ast.literal_eval(client.request("GET", "/environ?a=%20b", headers).text)
    assert modifier1 == 0
    assert given["HTTP_X_ONE"] == "1"
    assert (given["PATH_INFO"], given["QUERY_STRING"]) == ("/environ", "a=%20b")
    assert given["REMOTE_ADDR"] == "127.0.0.1"
    assert "HTTPS" not in given
    assert (environ["UWSGI_WS_COMPANION"], environ["UWSGI_WS_WORKER"], environ["UWSGI_WS_WORKERS"]) == ("1", "1", "1")
    assert environ["UWSGI_WS_CONCURRENCY"] == "0"


@pytest.mark.parametrize(
    ("path", "status", "log"),
    [
        ("/raise", 500, "ERROR: GET /raise: ValueError: broken on purpose"),
        ("/bad-head", 502, "control or non-latin-1 characters in the response header 'X'"),
        ("/garbage", 502, r"does not speak the protocol: a record of \d+ bytes, \d+ allowed: HTTP/1.1 200 OK.x0d.x0a"),
        (
            "/early-text",
            502,
            r"/early-text: .*does not speak the protocol: T is not allowed here: .*T.x00.x00.x00.x0cno h",
        ),
    ],
)
def test_an_application_that_fails_is_answered_for(server: Server, path: str, status: int, log: str) -> None:
    assert ask(server, path).status == status
    server.wait_for_log(log)


def test_a_response_that_breaks_off_does_not_look_whole(server: Server) -> None:
    with HttpClient(server.addresses[0]) as client, pytest.raises(AssertionError):
        client.request("GET", "/half")
    server.wait_for_log("GET /half: ValueError: broken half-way")


def test_requests_that_were_refused_leave_the_pool_in_order(server: Server) -> None:
    before = pid_of(server)
    assert ask(server, "/garbage").status == 502
    assert pid_of(server) == before


def test_many_requests_on_one_connection(server: Server) -> None:
    with HttpClient(server.addresses[0]) as client:
        for number in range(20):
            assert client.request("POST", "/body", body=b"x" * number).body == b"x" * number


# WebSockets


def test_text_and_data_come_back_as_what_they_were(server: Server) -> None:
    with opened(server, "/echo") as client:
        for message in ("", "hello", "x" * 70_000):
            client.send_text(message)
            client.expect_text(message)
            client.send(frame(BINARY, message.encode()))
            client.expect_binary(message.encode())
        client.send(b"".join(text(f"message {number}") for number in range(100)))
        for number in range(100):
            client.expect_text(f"message {number}")
        client.finish()


def test_headers_of_the_handshake_reach_the_client(server: Server) -> None:
    with RawClient(server.addresses[0][1]) as client:
        assert client.shake_hands(handshake("/echo")).headers["x-worker"] == "1"
        client.finish()


def test_a_handshake_that_nobody_asked_for_fails_and_the_application_may_answer(server: Server) -> None:
    response = ask(server, "/echo")
    assert response.status == 400
    assert "WebSocket only" in response.text


def test_a_message_that_is_too_long_for_the_server_never_reaches_the_application(server: Server) -> None:
    with opened(server, "/echo?long") as client:
        client.send(frame(BINARY, bytes(256 * 1024 + 1)))
        client.expect_close(1009, "message too big")
    server.wait_for_log("^long ended 1009")


def test_a_ping_is_answered_with_its_time(server: Server) -> None:
    with opened(server, "/ping") as client:
        client.send_text("go")
        ping = client.read_frame()
        client.send(frame(PONG, ping.payload))
        client.expect_text("5 True")
        client.finish()


def test_a_client_that_does_not_read_holds_the_application_up_and_nobody_else(server: Server) -> None:
    with RawClient.open(server.addresses[0][1], "/flood", receive_buffer=65_536) as client:
        client.send_text("go")
        server.wait_for_log("^flooding$")
        with opened(server, "/echo") as other:
            other.send_text("still there")
            other.expect_text("still there")
            other.finish()
        assert "flooded" not in server.log
        for number in range(200):
            assert client.read_frame().payload[:4] == number.to_bytes(4, "big")
        server.wait_for_log("^flooded$")
        client.finish()


def test_an_application_that_returns_closes_with_1000_and_one_that_fails_with_1011(server: Server) -> None:
    for path, code in (("/finish", 1000), ("/fail", 1011)):
        with opened(server, path) as client:
            client.send_text("go")
            client.expect_close(code)
    server.wait_for_log("GET /fail: ValueError: broken on purpose")


def test_nonsense_ends_its_own_websocket_with_1011(server: Server) -> None:
    with opened(server, "/echo") as other:
        with opened(server, "/nonsense") as client:
            client.send_text("go")
            client.expect_close(1011)
        server.wait_for_log("/nonsense: .* does not speak the protocol: .*GET / HTTP/1.1")
        other.send_text("unharmed")
        other.expect_text("unharmed")
        other.finish()


# Channels


def test_what_is_published_reaches_the_clients_of_all_workers_and_readers(server: Server) -> None:
    clients = [opened(server, "/join?room") for _ in range(6)]
    reader = opened(server, "/subscribe?room")
    try:
        reader.expect_text("subscribed")
        for client in clients:  # what it says is carried out in order, so it has joined when this comes back
            client.send_text("count")
            assert client.read_frame().payload.isdigit()
        clients[0].send_text("hello")
        for client in clients:
            client.expect_text("hello")
        reader.expect_text("room T hello")
        clients[1].send_text("others only")
        for client in (*clients[:1], *clients[2:]):
            client.expect_text("others only")
        reader.expect_text("room T others only")
        eventually(lambda: count(clients[1]) == 7)
        clients[1].send_text("leave")
        eventually(lambda: count(clients[1]) == 6)
        reader.send_text("stop")
        eventually(lambda: count(clients[1]) == 5)
    finally:
        for client in (*clients, reader):
            client.close()


def count(client: RawClient) -> int:
    client.send_text("count")
    return int(client.read_frame().payload)


# The pool


def test_the_statistics_tell_of_the_processes(server: Server) -> None:
    with socket.create_connection(server.addresses[2], 5) as sock:
        said = b"".join(iter(lambda: sock.recv(65_536), b""))
    (companion,) = json.loads(said)["companions"]
    assert companion["app"] == COMPANION
    assert companion["pid"] == pid_of(server)
    assert (companion["language"], companion["status"], companion["respawn_count"]) == ("go", "ready", 0)


def test_a_request_by_the_uwsgi_protocol(server: Server) -> None:
    with socket.create_connection(server.addresses[1], 5) as sock:
        sock.sendall(packet(variables(target="/pid")))
        assert b"200 OK" in b"".join(iter(lambda: sock.recv(65_536), b""))


def test_the_death_of_a_process_ends_its_own_clients_and_it_is_replaced(serve: Any) -> None:
    server = serve(None, "--go-app", COMPANION)
    first = pid_of(server)
    with opened(server, "/echo") as client, opened(server, "/die") as other:
        client.send_text("hello")
        client.expect_text("hello")
        other.send_text("go")
        client.expect_close(1011)
        other.expect_close(1011)
    eventually(lambda: pid_of(server) != first)
    server.wait_for_log(rf"DAMN ! companion go 1 \(pid: {first}\) died, killed by signal 9")
    assert ask(server, "/crash").status == 502
    assert ask(server, "/pid").status == 200  # it waits for the next process


def test_a_reload_starts_new_processes_and_lets_the_old_clients_go(serve: Any) -> None:
    server = serve(None, "--go-app", COMPANION)
    first = pid_of(server)
    with opened(server, "/echo") as client:
        client.send_text("hello")
        client.expect_text("hello")
        os.kill(server.pid, signal.SIGHUP)
        client.expect_close(1012, "server restarts")
        client.send(close_frame(1012))
        client.expect_eof()
    server.wait_for_log(rf"companion go 1 \(pid: {first}\) has left")
    assert pid_of(server) != first


def test_a_reload_that_fails_leaves_the_old_processes(serve: Any, tmp_path: Path) -> None:
    program = tmp_path / "app"
    program.write_text(f"#!/bin/sh\nexec {COMPANION}\n")
    program.chmod(0o755)
    server = serve(None, "--go-app", str(program))
    first = pid_of(server)
    program.write_text("#!/bin/sh\necho 'uwsgi_ws companion: app line 1: broken' >&2\nexit 1\n")
    os.kill(server.pid, signal.SIGHUP)
    server.wait_for_log(r"reload failed \(exit status 1\)")
    assert "\nuwsgi_ws companion: app line 1: broken\n" in server.log
    assert pid_of(server) == first
    program.unlink()
    os.kill(server.pid, signal.SIGHUP)
    server.wait_for_log(f"uwsgi_ws: --go-app: cannot run '{re.escape(str(program))}': No such file or directory")
    assert pid_of(server) == first


@pytest.mark.parametrize("status", [1, 22])
def test_an_application_that_does_not_load_ends_the_server_with_its_status(status: int) -> None:
    with pytest.raises(ServerFailed, match="it does not load") as failure:
        Server(None, "--go-app", COMPANION, env={"COMPANION_FAILS": str(status)})
    assert f"exit status {status}; its log" in str(failure.value)
    assert "Traceback" not in str(failure.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot run '{}': No such file or directory"),
        ("not executable", "cannot run '{}': Permission denied"),
        (
            "#!/bin/sh\nprintf 'V\\0\\0\\0\\6\\0\\2\\0\\1\\0\\0' >&4\nsleep 5\n",
            "it speaks version 2, and this server 1",
        ),
        ("#!/bin/sh\nprintf 'hello, world' >&4\nsleep 5\n", "it speaks something else"),
    ],
    ids=["missing", "not executable", "another version", "nonsense"],
)
def test_a_program_that_is_none_ends_the_server(text: str | None, problem: str, tmp_path: Path) -> None:
    program = tmp_path / "app"
    if text is not None:
        program.write_text(text)
        program.chmod(0o755 if text.startswith("#!") else 0o644)
    with pytest.raises(ServerFailed) as failure:
        Server(None, "--go-app", str(program))
    assert problem.format(program) in str(failure.value)
    assert re.search("exit status (1|137); its log", str(failure.value))


def test_a_program_that_cannot_say_that_it_is_ready_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "app"
    program.write_text("#!/bin/sh\nexec 4>&-\nexec sleep 20\n")
    program.chmod(0o755)
    with pytest.raises(ServerFailed, match="could not start, killed by signal 9"):
        Server(None, "--go-app", str(program))


def test_the_processes_end_when_the_server_is_killed(serve: Any) -> None:
    server = serve(None, "--go-app", COMPANION, "--no-orphans")
    pid = pid_of(server)
    os.kill(server.pid, signal.SIGKILL)

    def is_gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
        except FileNotFoundError:
            return True

    eventually(is_gone)
    server.wait()


def test_perl_and_python_side_by_side(serve: Any, tmp_path: Path) -> None:
    """Python has what leads nowhere else; a front server that asks for Perl by its modifier gets it."""
    require_program("perl")
    (tmp_path / "app.py").write_text("def application(e, s):\n    s('200 OK', [])\n    return [b'Python']\n")
    (tmp_path / "app.psgi").write_text("sub { [200, [], ['Perl']] };\n")
    options = ["--psgi", str(tmp_path / "app.psgi"), "--uwsgi-socket", "127.0.0.1:0"]
    server = serve(tmp_path / "app.py", *options)
    assert ask(server, "/").text == "Python"
    for modifier1, language in ((0, b"Python"), (5, b"Perl")):
        with socket.create_connection(server.addresses[1], 5) as sock:
            sock.sendall(packet(variables(), modifier1))
            assert b"".join(iter(lambda sock=sock: sock.recv(65_536), b"")).endswith(language)


@pytest.mark.long
def test_a_thousand_clients_are_told_of_a_reload_and_come_back(serve_many: Any) -> None:
    server = serve_many(None, "--gevent", "2000", "--listen", "1000", "-L", "--go-app", COMPANION)
    with ManyClients(server.addresses[0][1], 1_000, "/echo", talkers=50) as clients:
        eventually(lambda: clients.open == 1_000, 60)
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: sum(clients.codes.values()) >= 1_000, 60)
        eventually(lambda: clients.open == 1_000, 60)
        clients.look_around()
        assert clients.codes == {1012: 1_000}
        assert clients.refused == 0
