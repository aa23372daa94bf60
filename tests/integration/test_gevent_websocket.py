"""Applications of gevent-websocket: ``environ["wsgi.websocket"]``, and its package where it is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import eventually
from support.gunicorn import gunicorn_program
from support.http_client import HttpClient
from support.server import APPLICATIONS, UWSGI_WS, Server, finish
from support.tls import Authority, https
from support.websocket_client import BINARY, PING, PONG, TEXT, RawClient, close_frame, frame, handshake, text

Serve = Callable[..., Server]
APPLICATION = APPLICATIONS / "gevent_websocket.py"
MODES = [("--gevent", "20"), ("--threads", "20"), ()]
GUNICORN = ("gunicorn",)


@pytest.fixture(scope="module", params=[*MODES, GUNICORN], ids=lambda mode: " ".join(mode) or "one at a time")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    program = gunicorn_program() if request.param == GUNICORN else UWSGI_WS
    with Server(APPLICATION, program=program, concurrency=request.param) as server:
        yield server
        finish(server, allow_traceback=False)


def told(server: Server, path: str) -> list[str]:
    with HttpClient(server.addresses[0]) as client:
        return client.request("GET", f"/?{path}").text.split("\n")


def test_messages_come_back_and_keep_their_kind(server: Server) -> None:
    for path in ("/echo", "/loop"):
        with RawClient.open(server.port, path, early=text("early")) as client:
            client.expect_text("early")
            client.send(frame(BINARY, b"\x00\x01"))
            client.expect_binary(b"\x00\x01")
            client.send(text("ü" * 100_000))
            client.expect_text("ü" * 100_000)
            client.finish(1001)
    with RawClient.open(server.port, "/kinds") as client:
        for opcode, payload in (
            (BINARY, b"\x00\x01"),
            (BINARY, b"\x02"),
            (TEXT, b"text"),
            (PING, b""),
            (PONG, b"alive"),
            (TEXT, b"TypeError"),
            (TEXT, b"TypeError"),
        ):
            client.expect(opcode, payload)
        client.send_text("")
        client.expect_text("str ''")
        client.send(frame(BINARY, b"\xff"))
        client.expect_text("bytearray bytearray(b'\\xff')")
        client.finish()


def test_after_the_end_it_is_none_once_and_then_an_error(server: Server) -> None:
    with RawClient.open(server.port, "/after") as client:
        client.finish(1001)
    expected = ["None True", "already closed True", "dead True", "already closed True"]
    eventually(lambda: told(server, "/after") == expected)
    with RawClient.open(server.port, "/after") as client:
        client.reset()


def test_it_closes_by_what_may_be_sent_of_code_and_message(server: Server) -> None:
    expected = [(4000, "that is all"), (1000, ""), (None, ""), (1001, "ü" * 61), (4001, ""), (4002, "by frame")]
    for number, (code, reason) in enumerate(expected):
        with RawClient.open(server.port, f"/close?{number}") as client:
            client.expect_close(code, reason)
            client.send(close_frame(code))
            client.expect_eof()
    assert told(server, "/close") == ["True"]


def test_it_tells_of_the_handshake(server: Server) -> None:
    headers = [("Origin", "http://here"), ("Sec-WebSocket-Protocol", "first, second")]
    with RawClient(server.port) as client:
        answer = client.shake_hands(handshake("/said", headers))
        assert answer.headers["sec-websocket-protocol"] == "second"
        client.expect_text("http://here first, second 13 /said 127.0.0.1")
        client.expect_text("True True None <WebSocket <Connection /said open>>")
        client.expect_close(1000)


def test_others_send_to_a_client_whose_application_only_waits(server: Server) -> None:
    with RawClient.open(server.port, "/sent?a") as a, RawClient.open(server.port, "/sent?b") as b:
        with RawClient.open(server.port, "/broadcast") as speaker:
            speaker.send_text("hello")
            a.expect_text("hello a")
            b.expect_text("hello b")
            speaker.expect_text("['a', 'b']")
            b.reset()

            def only_a_is_left() -> bool:
                speaker.send_text("again")
                a.expect_text("again a")
                return speaker.read_frame().payload == b"['a']"

            eventually(only_a_is_left)
        a.finish()


def test_what_an_ended_request_leaves_is_closed(server: Server) -> None:
    for query in ("ws", "client"):
        with RawClient.open(server.port, f"/kept?{query}") as client:
            client.expect_close(1000)
            client.send(close_frame(1000))
            client.expect_eof()
    with RawClient.open(server.port, "/kept?last") as client:
        client.expect_close(1000)
    assert eventually(lambda: told(server, "/kept")) == ["True None None {}", "True None None {}"]


def test_who_does_not_use_it_is_not_disturbed(server: Server) -> None:
    for path in ("/uwsgi", "/shared"):
        with RawClient.open(server.port, path) as client:
            client.send_text("hello")
            client.expect(TEXT if path == "/uwsgi" else BINARY, b"hello")
            client.expect_close(1000)
    with RawClient(server.port) as client:
        client.send(handshake("/refused"))
        assert client.read_response().status == 403
    assert told(server, "") == ["no WebSocket"]


def test_resources_map_paths_to_classes(server: Server) -> None:
    with RawClient(server.port) as client:
        answer = client.shake_hands(handshake("/chat", [("Sec-WebSocket-Protocol", "other, chat")]))
        assert answer.headers["sec-websocket-protocol"] == "chat"
        client.expect_text("hello True")
        client.send_text("echo")
        client.expect_text("echo")
        client.finish()
    eventually(lambda: told(server, "/chat") == ["echo", "None", "closed"])
    with HttpClient(server.addresses[0]) as http:
        assert http.request("GET", "/chat").status == 200


def test_over_tls(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = serve(APPLICATION, program=https(authority.issue()))
    context = authority.client_context()
    with RawClient(context.wrap_socket(RawClient(server.port).sock, server_hostname="127.0.0.1")) as client:
        client.shake_hands(handshake("/echo"))
        client.send_text("hello")
        client.expect_text("hello")
        client.send(close_frame(1000))
        client.expect_close(1000)


def test_an_offered_subprotocol_is_agreed_on_where_the_application_does_not_choose(serve: Serve) -> None:
    server = serve(
        "def application(environ, start_response):\n    environ['wsgi.websocket'].send('x')\n    return []\n"
    )
    with RawClient(server.port) as client:
        answer = client.shake_hands(handshake("/", [("Sec-WebSocket-Protocol", "first, second")]))
        assert answer.headers["sec-websocket-protocol"] == "first"


def test_a_client_that_has_left_before_is_no_fault(serve: Serve) -> None:
    server = serve(APPLICATION)
    with RawClient(server.port) as client:
        client.send(handshake("/echo"))
        client.reset()
    server.wait_for_log("GET /echo")
    assert "Traceback" not in server.log


INSTALLED = """
from geventwebsocket.exceptions import WebSocketError
import geventwebsocket
def application(environ, start_response):
    ws = environ["wsgi.websocket"]
    ws.close()
    try:
        ws.send("x")
    except WebSocketError as exc:
        print(exc, geventwebsocket.IS_THEIRS)
    return []
"""


def test_the_errors_are_those_of_a_package_that_is_installed(serve: Serve, tmp_path: Path) -> None:
    package = tmp_path / "geventwebsocket"
    package.mkdir()
    (package / "__init__.py").write_text("IS_THEIRS = True\n")
    (package / "exceptions.py").write_text("class WebSocketError(OSError):\n    pass\n")
    server = serve(INSTALLED, "--pythonpath", str(tmp_path))
    with RawClient.open(server.port) as client:
        client.expect_close(1000)
    server.wait_for_log("Socket is dead True")


def test_its_server_says_that_it_is_not_installed(serve: Serve) -> None:
    server = serve(APPLICATION, allow_traceback=True)
    with HttpClient(server.addresses[0]) as client:
        assert client.request("GET", "/server").status == 500
    server.wait_for_log("RuntimeError: WebSocketHandler: gevent-websocket is not installed")
