"""Libraries that speak WebSocket by themselves over the client's socket: Flask-Sock and its simple-websocket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.carriers import CARRIERS, Carrier
from support.eventually import eventually
from support.gunicorn import gunicorn_program
from support.http_client import HttpClient
from support.peers import require_module
from support.server import APPLICATIONS, UWSGI_WS, Server, finish
from support.websocket_client import BINARY, CLOSE, PING, PONG, RawClient, close_frame, frame, handshake, text

Serve = Callable[..., Server]
APPLICATION = APPLICATIONS / "flask_sock_views.py"
MODES = [("--gevent", "20"), ("--threads", "20"), ()]
GUNICORN = ("gunicorn",)
WAYS = {carry.__name__: carry for carry in CARRIERS if carry.__name__ in ("http1", "tls", "http2", "uwsgi_unix")}


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    require_module("flask_sock")


@pytest.fixture(scope="module", params=[*MODES, GUNICORN], ids=lambda mode: " ".join(mode) or "one at a time")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    program = gunicorn_program() if request.param == GUNICORN else UWSGI_WS
    with Server(APPLICATION, program=program, concurrency=request.param) as server:
        yield server
        finish(server, allow_traceback=True)


@pytest.fixture(scope="module", params=[(way, mode) for way in WAYS for mode in MODES[:2]], ids=str)
def carrier(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carrier]:
    way, mode = request.param
    with contextlib.ExitStack() as stack:

        def start(*options: str) -> Server:
            server = Server(APPLICATION, *mode, *options)
            stack.callback(finish, server, allow_traceback=False)
            return server

        yield stack.enter_context(WAYS[way](start, tmp_path_factory.mktemp(way)))


def get(server: Server, path: str) -> str:
    with HttpClient(server.addresses[0]) as client:
        return client.request("GET", path).text


def test_messages_come_back_whatever_carries_them(carrier: Carrier) -> None:
    with carrier.open("/echo", early=text("early") + text("late")[:4]) as client:
        client.expect_text("early")
        client.send(text("late")[4:])
        client.expect_text("late")
        for size in (0, 126, 70_000, 1 << 20):
            client.send(frame(BINARY, bytes(size)))
            client.expect_binary(bytes(size))
        client.send(frame(PING, b"still there?"))
        client.expect(PONG, b"still there?")
        client.send(close_frame(1001, b"bye"))
        client.expect_close(1001, "bye")
        client.expect_eof()


def test_both_sides_close_with_their_codes(server: Server) -> None:
    with RawClient.open(server.port, "/told") as client:
        client.send(close_frame(4001, b"bye"))
        client.expect_close(4001, "bye")
        client.expect_eof()
    eventually(lambda: get(server, "/").endswith("4001 bye"))
    with RawClient.open(server.port, "/told") as client:
        client.reset()
    eventually(lambda: get(server, "/").endswith("1005 None"))
    with RawClient(server.port) as client:
        client.shake_hands(handshake("/closes", [("Sec-WebSocket-Protocol", "first")]))
        client.expect_text("none")
        client.expect_close(4000, "that is all")
        client.send(close_frame(4000))
        client.expect_eof()


def test_all_that_was_sent_arrives_before_the_close_frame(server: Server) -> None:
    with RawClient.open(server.port, "/talks", receive_buffer=4_096) as client:
        for number in range(100):
            client.expect_text(f"{number}" * 1_000)
        client.expect_close(1000)
        client.send(close_frame(1000))
        client.expect_eof()


def test_a_view_that_fails_closes_with_1011(server: Server) -> None:
    with RawClient.open(server.port, "/fails") as client:
        client.expect_close(1011)
        client.send(close_frame(1011))
        client.expect_eof()


def test_a_timeout_ends_and_the_peer_is_known(server: Server) -> None:
    with RawClient.open(server.port, "/waits") as client:
        client.expect_text("None")
        client.expect_text("127.0.0.1")
        client.send_text("late")
        client.expect_text("late")
        client.expect_close(1000)


def test_what_speaks_the_protocol_by_hand_is_ended_properly(server: Server) -> None:
    with RawClient(server.port) as client:
        answer = client.shake_hands(handshake("/raw") + b"unread")
        assert answer.headers["x-made-by"] == "hand"
        client.expect_text("hello")
        client.expect_binary(b"unread")
        client.expect_close(1000)
        client.send(close_frame(1000))
        client.expect_eof()
    with RawClient.open(server.port, "/raw/gunicorn") as client:
        client.expect_text("")
        client.expect_close(1000)
    with RawClient.open(server.port, "/raw/half") as client:
        assert client.read_all() == b"\x81\x05he"
    with RawClient.open(server.port, "/raw/shut") as client:
        client.send(text("into the void") * 3)
        client.expect_close(4000)
        client.send(close_frame(4000))
        client.expect_eof()


def test_only_a_101_response_may_be_written_into_the_socket(server: Server) -> None:
    for path, reason in {
        "/raw/HTTP/1.1%20200%20OK": "a response with status 200 goes by start_response",
        "/raw/nonsense": "is no response",
        "/raw/early": "once it has sent a 101 response",
    }.items():
        with RawClient(server.port) as client:
            client.send(handshake(path))
            assert client.read_response().status == 500
        server.wait_for_log(reason)


def test_nothing_is_left_of_it(server: Server) -> None:
    """No descriptors; and no objects, but for what the libraries' own cycles keep until a collection."""
    before = json.loads(get(server, "/left"))  # some of it may be of tests before, and go

    def left(count: int) -> bool:
        """Say whether the first so many of the counts are as low as they were."""
        now = json.loads(get(server, "/left"))
        return all(later <= earlier for later, earlier in zip(now[:count], before, strict=False))

    for _ in range(10):
        with RawClient.open(server.port, "/raw/shut") as client:
            client.expect_close(4000)
            client.send(close_frame(4000))
            client.expect_eof()
    eventually(lambda: left(len(before)))
    for _ in range(10):
        with RawClient.open(server.port, "/echo") as client:
            client.send_text("hello")
            client.expect_text("hello")
            client.finish()
    eventually(lambda: left(1))


def test_the_librarys_own_client_and_anothers_with_compression(server: Server) -> None:
    client = require_module("simple_websocket").Client.connect(server.ws_url("/echo"))
    client.send("ü" * 1_000)
    assert client.receive(timeout=5) == "ü" * 1_000
    client.close()
    connect = require_module("websockets.sync.client").connect
    with connect(server.ws_url("/echo"), compression="deflate") as other:
        assert other.response.headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
        other.send("x" * 10_000)
        assert other.recv(5) == "x" * 10_000


@pytest.mark.parametrize("mode", MODES[:2], ids=" ".join)
def test_the_librarys_pings(serve: Serve, mode: tuple[str, ...]) -> None:
    options = json.dumps({"ping_interval": 0.2, "subprotocols": ["chat"]})
    server = serve(APPLICATION, concurrency=mode, env={"SOCK_SERVER_OPTIONS": options})
    with RawClient(server.port) as client:
        answer = client.shake_hands(handshake("/echo", [("Sec-WebSocket-Protocol", "other, chat")]))
        assert answer.headers["sec-websocket-protocol"] == "chat"
        for _ in range(2):
            client.expect(PING, b"")
            client.send(frame(PONG))
        client.expect(PING, b"")
        client.expect_close(1008, "Ping/Pong timeout")
        client.send(close_frame(1008))
        client.expect_eof()


@pytest.mark.parametrize("mode", MODES[:2], ids=" ".join)
def test_the_servers_pings_find_clients_that_are_gone(serve: Serve, mode: tuple[str, ...]) -> None:
    options = ("--websockets-ping-freq", "0.2", "--websockets-pong-tolerance", "0.3")
    server = serve(APPLICATION, *options, concurrency=mode)
    with RawClient.open(server.port, "/told") as alive, RawClient.open(server.port, "/told") as silent:
        for _ in range(3):
            alive.expect(PING, b"")
            alive.send(frame(PONG))
        silent.expect(PING, b"")
        silent.expect_eof()
        eventually(lambda: "1005 None" in get(server, "/"))
        assert eventually(lambda: server.log.count("no PONG received") == 1)
        alive.send(text("x"))


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: " ".join(mode) or "one at a time")
def test_a_server_that_stops_says_so(serve: Serve, mode: tuple[str, ...]) -> None:
    server = serve(APPLICATION, concurrency=mode)
    with RawClient.open(server.port, "/echo") as client:
        client.send_text("hello")
        client.expect_text("hello")
        os.kill(server.pid, signal.SIGTERM)
        came = client.read_frame()
        assert (came.opcode, came.payload[:2]) == (CLOSE, (1001).to_bytes(2, "big"))
        client.send(close_frame(1001))
        client.expect_eof()
    assert server.wait() == 0


def test_an_ordinary_request_and_other_websockets_are_not_disturbed(serve: Serve) -> None:
    application = """
import uwsgi
def application(environ, start_response):
    keys = [key for key in environ if key.endswith(".socket")]
    if keys:
        uwsgi.websocket_handshake()
        uwsgi.websocket_send(f"{keys} {[key for key in environ if key.endswith('.socket')]}")
    else:
        start_response("200 OK", [])
    return [b"plain"]
"""
    server = serve(application)
    assert get(server, "/") == "plain"
    with RawClient.open(server.port) as client:
        client.expect_text("['werkzeug.socket'] []")
        client.expect_close(1000)
    server = serve(application, "--route", "^/ addvar:SERVER_SOFTWARE=gunicorn/27.0")
    with RawClient.open(server.port) as client:
        client.expect_text("['werkzeug.socket', 'gunicorn.socket'] []")


def test_the_applications_socket_is_said_to_be_in_use_to_other_interfaces(serve: Serve) -> None:
    server = serve(
        """
import uwsgi
HEAD = b"HTTP/1.1 101 \\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n"
def application(environ, start_response):
    environ["werkzeug.socket"].sendall(HEAD)
    uwsgi.websocket_recv()
""",
        allow_traceback=True,
    )
    with RawClient.open(server.port) as client:
        client.expect_close(1011)
    server.wait_for_log("Error: .*HandedOver")  # each build in its words
