"""HTTP/1.1 connections: which requests share one, how it ends, and what waits for whom."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, chunked, cpu_seconds, fetch, request_bytes
from support.server import Server

# The answer tells which request it belongs to; what the path says is done first.
APPLICATION = """
import gevent, gevent.event
import uwsgi

gates = {}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/read-length"):
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    elif path.startswith("/read"):
        environ["wsgi.input"].read()
    elif path.startswith("/wait"):
        gates.setdefault(path, gevent.event.Event()).wait(20)
    elif path.startswith("/open"):
        gates.setdefault("/wait" + path[5:], gevent.event.Event()).set()
    elif path.startswith("/disconnect"):
        uwsgi.disconnect()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [path.encode()]
"""

WEBSOCKET = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(APPLICATION, "--gevent", "50", "--http-timeout", "0.5", "--socket-timeout", "5") as server:
        yield server
        assert server.stop() == 0
        assert "Traceback" not in server.log


@pytest.fixture
def client(server: Server) -> Iterator[HttpClient]:
    with HttpClient(("127.0.0.1", server.port)) as client:
        yield client


# Requests on one connection


def test_a_connection_serves_one_request_after_the_other(client: HttpClient) -> None:
    for number in range(20):
        response = client.request("GET", f"/{number}")
        assert response.text == f"/{number}"
        assert response.get("Connection") is None


def test_three_requests_in_one_packet_are_answered_in_order(client: HttpClient) -> None:
    client.send(b"".join(request_bytes("GET", f"/{number}") for number in range(3)))
    assert [client.read_response().text for _ in range(3)] == ["/0", "/1", "/2"]


def test_pipelined_requests_wait_for_the_one_before(server: Server, client: HttpClient) -> None:
    client.send(request_bytes("GET", "/wait/pipeline") + request_bytes("GET", "/1") + request_bytes("GET", "/2"))
    assert client.is_silent(0.1)
    assert fetch(("127.0.0.1", server.port), "/open/pipeline").status == 200
    assert [client.read_response().text for _ in range(3)] == ["/wait/pipeline", "/1", "/2"]


def test_answers_to_many_in_one_turn_come_to_whom_they_belong(server: Server) -> None:
    clients = [HttpClient(("127.0.0.1", server.port)) for _ in range(20)]
    for turn in range(30):
        os.kill(server.pid, signal.SIGSTOP)  # so that all are there when it looks
        for number, client in enumerate(clients):
            client.send(request_bytes("GET", f"/{turn}/{number}") * 2)
        os.kill(server.pid, signal.SIGCONT)
        for number, client in enumerate(clients):
            assert [client.read_response().text for _ in range(2)] == [f"/{turn}/{number}"] * 2
    for client in clients:
        client.close()


@pytest.mark.parametrize("path", ["/read", "/unread"])
def test_pipelined_bodies_do_not_run_into_each_other(client: HttpClient, path: str) -> None:
    body = request_bytes("GET", "/evil")
    client.send(
        request_bytes("POST", f"{path}/0", body=body)
        + request_bytes("POST", f"{path}/1", [("Transfer-Encoding", "chunked")], chunked(body, b"x"))
        + request_bytes("HEAD", f"{path}/2", body=body)
        + request_bytes("GET", f"{path}/3")
    )
    answers = [client.read_response(method).text for method in ("POST", "POST", "HEAD", "GET")]
    assert answers == [f"{path}/0", f"{path}/1", "", f"{path}/3"]


def test_a_request_may_come_byte_by_byte(client: HttpClient) -> None:
    for byte in request_bytes("POST", "/read", [("Transfer-Encoding", "chunked")], chunked(b"ab", b"c")):
        client.send(bytes((byte,)))
    assert client.read_response().text == "/read"


def test_a_request_behind_connection_close_is_not_answered(client: HttpClient) -> None:
    client.send(request_bytes("GET", "/last", [("Connection", "close")]) + request_bytes("GET", "/evil"))
    response = client.read_response()
    assert response.text == "/last"
    assert response.says_close
    client.assert_ended()


@pytest.mark.parametrize(
    ("version", "connection", "is_kept"),
    [
        ("HTTP/1.1", None, True),
        ("HTTP/1.1", "keep-alive", True),
        ("HTTP/1.1", "close", False),
        ("HTTP/1.1", "Close", False),
        ("HTTP/1.1", "x-this, close", False),
        ("HTTP/1.0", None, False),
        ("HTTP/1.0", "keep-alive", True),
        ("HTTP/1.0", "keep-alive, close", False),
    ],
)
def test_the_client_says_whether_the_connection_is_kept(
    client: HttpClient, version: str, connection: str | None, is_kept: bool
) -> None:
    headers = [("Connection", connection)] if connection else []
    response = client.request("GET", "/", headers, version=version)
    assert response.says_close is not is_kept
    if is_kept:
        assert client.request("GET", "/again").text == "/again"
    else:
        client.assert_ended()


# How a connection ends


def test_an_idle_connection_is_closed_without_a_word(client: HttpClient) -> None:
    client.request("GET", "/")
    begun = time.monotonic()
    client.assert_ended()
    assert 0.4 < time.monotonic() - begun < 2


def test_an_idle_connection_that_had_begun_a_request_gets_408(serve: Any) -> None:
    server = serve(APPLICATION, "--socket-timeout", "0.4", "--http-timeout", "20")
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.request("GET", "/")
        client.send(b"GET ")
        assert client.read_response().status == 408
        client.assert_ended()
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.assert_ended()  # it never asked for anything: nothing to answer


def test_a_client_that_has_said_all_gets_its_answers(server: Server, client: HttpClient) -> None:
    client.send(request_bytes("GET", "/wait/half") + request_bytes("GET", "/second"))
    client.end_sending()
    before = cpu_seconds(server.pid)
    assert client.is_silent(0.4)
    assert cpu_seconds(server.pid) - before < 0.2  # a socket that is readable for ever is no reason to spin
    fetch(("127.0.0.1", server.port), "/open/half")
    assert [client.read_response().text for _ in range(2)] == ["/wait/half", "/second"]
    client.assert_ended()


def test_a_client_may_leave_while_its_answer_is_made(server: Server) -> None:
    for leave in (HttpClient.close, HttpClient.reset):
        with HttpClient(("127.0.0.1", server.port)) as client:
            client.send_request("GET", f"/wait/{leave.__name__}")
            assert client.is_silent(0.05)
            leave(client)
        fetch(("127.0.0.1", server.port), f"/open/{leave.__name__}")
        server.wait_for_log(f"GET /wait/{leave.__name__} =>")


@pytest.mark.parametrize("body", [b"x" * 60_000, b"x" * 65_536])
def test_an_unread_body_is_dropped_to_keep_the_connection(client: HttpClient, body: bytes) -> None:
    assert client.request("POST", "/unread", body=body).text == "/unread"
    framing = [("Transfer-Encoding", "chunked")]
    assert client.request("POST", "/unread", framing, chunked(body[:30_000], body[30_000:])).text == "/unread"
    assert client.request("GET", "/next").text == "/next"


def test_a_large_body_that_was_read_by_its_length_keeps_the_connection(client: HttpClient) -> None:
    """As frameworks read it: they never ask for what is behind it, so its end is not met while they run."""
    for size in (65_536, 65_537, 500_000):
        assert client.request("POST", "/read-length", body=b"x" * size).text == "/read-length"
    assert client.request("GET", "/next").text == "/next"


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_an_unread_body_too_large_to_drop_ends_the_connection_after_the_answer(
    client: HttpClient, framing: str
) -> None:
    body = request_bytes("GET", "/evil") * 10_000
    if framing == "length":
        client.send_request("POST", "/unread", body=body)
    else:
        client.send_request("POST", "/unread", [("Transfer-Encoding", "chunked")], chunked(body))
    # The answer is not lost in a reset, though the server reads no more than it must (RFC 9112 9.6).
    assert client.read_response().text == "/unread"
    client.assert_ended()
    assert not client.was_reset


def test_an_unread_body_that_does_not_come_ends_the_connection(serve: Any) -> None:
    server = serve(APPLICATION, "--socket-timeout", "0.4", "--http-timeout", "20")
    with HttpClient(("127.0.0.1", server.port)) as client:
        response = client.request("POST", "/unread", [("Content-Length", "1000")])
        assert response.text == "/unread"
        begun = time.monotonic()
        while time.monotonic() - begun < 5:  # a byte now and then is no progress worth a place
            try:
                client.send(b"x")
            except OSError:
                break
            if not client.is_silent(0.1):
                break
        assert time.monotonic() - begun < 2
        client.assert_ended()


def test_an_application_may_hang_up(server: Server, client: HttpClient) -> None:
    client.send_request("GET", "/disconnect")
    client.assert_ended()
    server.wait_for_log("GET /disconnect =>")


def test_a_declined_websocket_leaves_nothing_to_go_on_with(client: HttpClient) -> None:
    client.send(request_bytes("GET", "/plain", WEBSOCKET) + b"\x81\x85\0\0\0\0hello" + request_bytes("GET", "/evil"))
    response = client.read_response()
    assert response.text == "/plain"
    assert response.says_close
    client.assert_ended()


@pytest.mark.parametrize("protocol", ["h2c", "TLS/1.0", "foo, bar"])
def test_other_upgrades_are_ignored(client: HttpClient, protocol: str) -> None:
    response = client.request("GET", "/plain", [("Upgrade", protocol), ("Connection", "Upgrade")])
    assert response.text == "/plain"
    assert client.request("GET", "/next").text == "/next"


# Who waits for whom


def test_a_waiting_request_keeps_no_other_waiting(server: Server) -> None:
    waiting = [HttpClient(("127.0.0.1", server.port)) for _ in range(10)]
    try:
        for client in waiting:
            client.send_request("GET", "/wait/many")
        assert fetch(("127.0.0.1", server.port), "/now").text == "/now"
        fetch(("127.0.0.1", server.port), "/open/many")
        assert {client.read_response().text for client in waiting} == {"/wait/many"}
    finally:
        for client in waiting:
            client.close()


def test_a_client_that_reads_slowly_keeps_no_other_waiting_and_is_dropped_in_the_end(serve: Any) -> None:
    server = serve(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    if environ['PATH_INFO'] == '/much':\n"
        "        return [bytes(10_000_000), bytes(10_000_000)]\n"
        "    return [b'little']\n",
        "--socket-timeout",
        "0.5",
    )
    with HttpClient(("127.0.0.1", server.port)) as slow:
        slow.send_request("GET", "/much")
        head = slow.read_head()
        assert head.status == 200
        assert fetch(("127.0.0.1", server.port), "/").text == "little"
        server.wait_for_log("the client took nothing for 0.5 s")
        eventually(lambda: "GET /much =>" in server.log)
        assert not slow.read_to_end().endswith(b"0\r\n\r\n")
