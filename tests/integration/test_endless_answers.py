"""Answers that never end: others are served meanwhile, the log stays short, and what is over is ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.eventually import eventually
from support.http2_client import Http2Client
from support.http_client import HttpClient, fetch, request_bytes
from support.server import APPLICATIONS, Server
from support.uwsgi_client import packet_of

APPLICATION = APPLICATIONS / "endless_answers.py"

Serve = Callable[..., Server]


@pytest.fixture(scope="module", params=["--gevent", "--threads"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    doors = ("--socket", "127.0.0.1:0", "--http2-socket", "127.0.0.1:0")
    with Server(APPLICATION, request.param, "50", *doors, "--reload-mercy", "2") as server:
        yield server
        server.stop()
        assert not server.killed


def is_closed(server: Server, path: str) -> None:
    """Its iterable is closed once, at the end."""
    eventually(lambda: fetch(server.addresses[0], f"/closed?{path}").body == b"1")


COMPLETE = [
    "/iterate/bytes/5",
    "/iterate/bytes/7",
    "/iterate/large/70000",
    "/after/empty/5",
    "/after/text/5",
    "/after/object/5",
    "/after/bytes/5",
    "/write/bytes/7/stops",
    "/write_uncaught/bytes/7",
    "/iterate/bytes/5/close_raises",
]


@pytest.mark.parametrize("path", COMPLETE)
def test_what_goes_on_after_its_length_is_ended(server: Server, path: str) -> None:
    length = int(path.split("/")[3])
    before = len(server.log)
    with HttpClient(server.addresses[0]) as client:
        assert len(client.request("GET", path).body) == length
    with HttpClient(server.addresses[2]) as client:
        client.send(packet_of(request_bytes("GET", path, [("Host", "h")])))
        client.read_head()
        assert len(client.read_to_end()) == length
    with Http2Client(server.addresses[1]) as connection:
        assert len(connection.request("GET", path).body) == length
    if "write" not in path:
        eventually(lambda: int(fetch(server.addresses[0], f"/closed?{path}").body) == 3)
    eventually(lambda: server.log.count(f"GET {path} => ", before) == 3)  # the last line of each
    log = server.log[before:]
    assert log.count("longer than its Content-Length") <= 3 * 2  # of a traceback the source's line is one
    assert log.count("Traceback (most") <= 3, log


@pytest.mark.parametrize(
    "path", ["/iterate/bytes/none", "/iterate/bytes/100", "/after/empty/none", "/nothing/bytes/none"]
)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_what_has_no_body_is_ended_at_its_first_piece(server: Server, path: str, method: str) -> None:
    if method == "GET" and "nothing" not in path:
        pytest.skip("it has a body")
    path = f"{path}/{method}"
    with HttpClient(server.addresses[0]) as client:
        assert client.request(method, path).body == b""
        assert client.request("GET", "/").body == b"here"
    is_closed(server, path)
    with Http2Client(server.addresses[1]) as connection:
        assert not connection.request(method, path).body
    eventually(lambda: fetch(server.addresses[0], f"/closed?{path}").body == b"2")


ENDLESS = [
    "/iterate/empty/none",
    "/iterate/empty/5",
    "/iterate/text/none",
    "/iterate/object/5",
    "/write/empty/none",
    "/write/empty/5",
    "/write/bytes/7/on",
    "/write/bytes/none",
    "/iterate/bytes/none",
    "/iterate/large/none",
]


@pytest.mark.parametrize("threads", ["--gevent", "--threads"])
@pytest.mark.parametrize("path", ENDLESS)
def test_what_never_ends_leaves_others_their_turn(serve: Serve, path: str, threads: str) -> None:
    """And the server ends, whatever goes on."""
    server = serve(APPLICATION, threads, "10", "--reload-mercy", "1")
    lines = server.log.count("\n")
    with HttpClient(server.addresses[0]) as client:
        client.send_request("GET", path)
        for _ in range(5):
            assert fetch(server.addresses[0], "/").body == b"here"
        if path.split("/")[2] in ("bytes", "large") and "7" not in path:
            for _ in range(20):  # one that reads as fast as it can, and is never waited for
                client.read_some()
                assert fetch(server.addresses[0], "/").body == b"here"
    assert server.log.count("\n") - lines <= 35


@pytest.mark.parametrize("path", ["/iterate/bytes/none", "/iterate/large/none", "/iterate/bytes/9999999"])
def test_what_a_route_has_answered_instead_is_ended(serve: Serve, path: str) -> None:
    server = serve(APPLICATION, "--response-route-if", f"equal:${{PATH_INFO}};{path} break:403 Forbidden")
    with HttpClient(server.addresses[0]) as client:
        assert client.request("GET", path).status == 403
        assert client.request("GET", "/").body == b"here"
    is_closed(server, path)


def test_an_error_behind_the_end_leaves_the_answer_whole(server: Server) -> None:
    path = "/after/empty/5/close_raises"
    with HttpClient(server.addresses[0]) as client:
        for _ in range(3):
            before = server.log.count("RuntimeError: in close")
            assert client.request("GET", path).body == b"first"
            assert client.request("GET", "/").body == b"here"
            eventually(lambda before=before: server.log.count("RuntimeError: in close") == before + 1)
        assert not client.was_reset
