"""The uwsgi protocol, spoken by hand to a running server; test_carriers.py has front servers speak it."""

from __future__ import annotations

import ast
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient
from support.server import Server, finish
from support.uwsgi_client import packet, packet_of, variables
from support.websocket_client import RawClient, handshake, text

Serve = Callable[..., Server]

APPLICATION = """\
import uwsgi

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/chat":
        uwsgi.websocket_handshake()
        while True:
            uwsgi.websocket_send(uwsgi.websocket_recv())
    body = environ["wsgi.input"].read()
    if path == "/stream":
        start_response("200 OK", [])
        return iter([b"one ", b"two"])
    if path == "/unread":
        start_response("200 OK", [])
        return [b"unread"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/body":
        return [body]
    return [repr({k: v for k, v in environ.items() if isinstance(v, str)}).encode()]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    options = ("--uwsgi-socket", "127.0.0.1:0", "--socket-timeout", "0.4", "--limit-post", "100000", "--gevent", "20")
    with Server(APPLICATION, *options) as server:
        yield server
        finish(server, allow_traceback=False)


def address(server: Server) -> tuple[str, int]:
    return server.addresses[1]


@pytest.fixture
def client(server: Server) -> Iterator[HttpClient]:
    with HttpClient(address(server)) as client:
        yield client


def environ_of(client: HttpClient, pairs: list[tuple[str, str]], modifier1: int = 0) -> dict[str, Any]:
    client.send(packet(pairs, modifier1))
    response = client.read_response()
    assert response.status == 200
    client.assert_ended()
    found: dict[str, Any] = ast.literal_eval(response.text)
    return found


@pytest.mark.parametrize("modifier1", [0, 5])
def test_the_front_server_says_who_the_client_is(client: HttpClient, modifier1: int) -> None:
    environ = environ_of(client, variables("GET", "/a%20b?c=d", [("Host", "h")], [("SOMETHING", "else")]), modifier1)
    assert environ.pop("wsgi.url_scheme") == "http"
    assert environ == {
        "QUERY_STRING": "c=d",
        "REQUEST_METHOD": "GET",
        "CONTENT_TYPE": "",
        "CONTENT_LENGTH": "",
        "REQUEST_URI": "/a%20b?c=d",
        "PATH_INFO": "/a b",
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "4711",
        "SERVER_PORT": "80",
        "SERVER_NAME": "front.example",
        "HTTP_HOST": "h",
        "SOMETHING": "else",
    }


def test_what_the_front_server_leaves_out_is_filled_in(server: Server, client: HttpClient) -> None:
    environ = environ_of(client, [("REQUEST_METHOD", "GET")])
    assert environ["SERVER_PORT"] == str(address(server)[1])
    assert environ["SERVER_NAME"] == socket.gethostname()
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["REMOTE_PORT"] == str(client.sock.getsockname()[1])


@pytest.mark.parametrize(
    ("pair", "scheme"),
    [
        (("HTTPS", "on"), "https"),
        (("HTTPS", "1"), "https"),
        (("HTTPS", "off"), "http"),
        (("HTTPS", ""), "http"),
        (("UWSGI_SCHEME", "https"), "https"),
    ],
)
def test_the_front_server_says_whether_the_client_uses_tls(
    client: HttpClient, pair: tuple[str, str], scheme: str
) -> None:
    assert environ_of(client, variables(more=[pair]))["wsgi.url_scheme"] == scheme


def test_a_packet_cannot_replace_what_is_the_servers(client: HttpClient) -> None:
    client.send(packet(variables("POST", "/body", [("Content-Length", "2")], [("wsgi.input", "x")])) + b"ok")
    assert client.read_response().body == b"ok"


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_the_body_follows_the_packet(client: HttpClient, size: int) -> None:
    body = os.urandom(size)
    client.send(packet(variables("POST", "/body", [("Content-Length", str(size))])) + body)
    assert client.read_response().body == body
    client.assert_ended()


def test_a_request_may_come_byte_by_byte(client: HttpClient) -> None:
    for byte in packet(variables("POST", "/body", [("Content-Length", "3")])) + b"abc":
        client.send(bytes((byte,)))
    assert client.read_response().body == b"abc"


def test_a_body_in_chunks_is_read_as_such(client: HttpClient) -> None:
    head = packet([*variables("POST", "/body"), ("HTTP_TRANSFER_ENCODING", "chunked")])
    client.send(head + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
    assert client.read_response().body == b"abc"


def test_a_packet_of_64_kib_is_taken(client: HttpClient) -> None:
    rest = 65_535 - len(packet(variables("GET", "/unread"))) + 4 - 4 - len("HTTP_COOKIE")
    data = packet([*variables("GET", "/unread"), ("HTTP_COOKIE", "x" * rest)])
    assert len(data) == 65_539
    client.send(data)
    assert client.read_response().body == b"unread"


def test_a_response_of_unknown_length_is_not_chunked_and_ends_with_the_connection(client: HttpClient) -> None:
    client.send(packet(variables("GET", "/stream")))
    response = client.read_head()
    assert response.status == 200
    assert [response.get(name) for name in ("Transfer-Encoding", "Content-Length", "Connection")] == [None] * 3
    assert client.read_to_end() == b"one two"
    assert not client.was_reset


def test_an_unread_body_does_not_cost_the_answer(client: HttpClient) -> None:
    client.send(packet(variables("POST", "/unread", [("Content-Length", "90000")])) + bytes(90_000))
    assert client.read_response().body == b"unread"
    client.assert_ended()
    assert not client.was_reset


def test_frames_that_come_with_the_packet_are_the_first_messages(server: Server) -> None:
    with RawClient(socket.create_connection(address(server), 10)) as peer:
        peer.shake_hands(packet_of(handshake("/chat")) + text("early") + text("late")[:3])
        peer.expect_text("early")
        peer.send(text("late")[3:])
        peer.expect_text("late")
        peer.finish()


# Refusals


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "this is HTTP"),
        (packet([], 22), 501, "unavailable modifier requested: 22 "),
        (packet(variables(), 17), 501, "unavailable modifier requested: 17 "),
        (packet([]), 400, "no REQUEST_METHOD"),
        (packet(variables("POST", headers=[("Content-Length", "100001")])), 413, "body is too big"),
        (packet([*variables(more=[("CONTENT_LENGTH", "1"), ("CONTENT_LENGTH", "2")])]), 400, "two CONTENT_LENGTH"),
        (packet(variables())[:-40], 408, "did not come in time"),
        (packet(variables(headers=[("Upgrade", "websocket"), ("Host", "h")])), 400, "'upgrade' in its Connection"),
    ],
    ids=["HTTP", "modifier 22", "spooler", "empty", "body", "lengths", "late", "bad handshake"],
)
def test_what_is_not_served_gets_an_answer_and_a_line_in_the_log(
    server: Server, client: HttpClient, data: bytes, status: int, words: str
) -> None:
    seen = len(server.log)
    client.send(data)
    response = client.read_response()
    assert response.status == status
    assert words in response.text
    client.assert_ended()
    eventually(lambda: words in server.log[seen:])


def test_a_peer_that_leaves_or_says_nothing_is_let_go_without_a_word(server: Server) -> None:
    with HttpClient(address(server)) as last:
        last.send(packet(variables(target="/last")))
        last.read_response()
    server.wait_for_log("GET /last ")  # nothing of earlier requests is still to be written
    seen = len(server.log)
    with HttpClient(address(server)) as gone:
        gone.send(packet(variables())[:-1])
        gone.end_sending()
        gone.assert_ended()
    with HttpClient(address(server)) as silent:
        silent.assert_ended()
    assert server.log[seen:] == ""


# Who may connect


def test_only_listed_networks_may_connect(serve: Serve) -> None:
    server = serve(
        APPLICATION, "--uwsgi-socket", "127.0.0.1:0", "--uwsgi-allow-from", "10.0.0.0/8", "--uwsgi-allow-from", "::1"
    )
    with HttpClient(address(server)) as client:
        client.assert_ended()
    server.wait_for_log(r"127\.0\.0\.1 may not connect to --uwsgi-socket 127\.0\.0\.1:0$")
    with HttpClient(("127.0.0.1", server.port)) as client:  # HTTP is another matter
        assert client.request("GET", "/", [("Host", "h")]).status == 200
    again = serve(APPLICATION, "--socket", "127.0.0.1:0", "--uwsgi-allow-from", "127.0.0.0/8")
    with HttpClient(address(again)) as client:
        client.send(packet(variables()))
        assert client.read_response().status == 200


@pytest.mark.parametrize(("uid", "is_served"), [(os.getuid(), True), (os.getuid() + 1, False)])
def test_the_users_who_may_use_a_unix_socket_can_be_listed(
    serve: Serve, tmp_path: Path, uid: int, is_served: bool
) -> None:
    path = str(tmp_path / "uwsgi.sock")
    server = serve(APPLICATION, "-s", path, "--uwsgi-allow-from", f"uid:{uid}")
    with HttpClient(path) as client:
        if is_served:
            client.send(packet(variables()))
            assert client.read_response().status == 200
        else:
            client.assert_ended()
            server.wait_for_log(rf"a process of uid {os.getuid()} may not connect to --socket {path}$")


def test_a_public_address_without_a_list_gets_a_warning(serve: Serve) -> None:
    warning = "WARNING: :0 can be reached from outside"
    assert warning in serve(APPLICATION, "--uwsgi-socket", ":0").log
    assert "WARNING" not in serve(APPLICATION, "--uwsgi-socket", ":0", "--uwsgi-allow-from", "127.0.0.1").log
    assert "WARNING" not in serve(APPLICATION, "--uwsgi-socket", "127.0.0.1:0").log


def test_protocol_says_what_a_plain_socket_speaks(serve: Serve) -> None:
    server = serve(APPLICATION, "--socket", "127.0.0.1:0", "--protocol", "http")
    with HttpClient(address(server)) as client:
        assert client.request("GET", "/", [("Host", "h")]).status == 200
