"""What applications answer with that concerns a connection only: it goes no further, on any front.

Such headers are in recipes for server-sent events, and in answers that an application passes on from another server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from support.eventually import eventually
from support.http2_client import Http2Client
from support.http_client import HttpClient, Response, request_bytes
from support.server import APPLICATIONS, Server
from support.uwsgi_client import packet_of

pytestmark = pytest.mark.matrix

APPLICATION = APPLICATIONS / "answers.py"

#: The doors' numbers among the server's addresses.
HTTP, HTTP2, UWSGI = range(3)

Ask = Callable[..., Response]


def by_http1(server: Server, number: int) -> Ask:
    def ask(path: str, body: bytes = b"") -> Response:
        with HttpClient(server.addresses[number]) as client:
            return client.request("POST", path, body=body)

    return ask


def by_uwsgi(server: Server, number: int) -> Ask:
    def ask(path: str, body: bytes = b"") -> Response:
        with HttpClient(server.addresses[number]) as client:
            client.send(packet_of(request_bytes("POST", path, [("Host", "h")], body)))
            response = client.read_head()
            response.body = client.read_to_end()
            return response

    return ask


def by_http2(server: Server, number: int) -> Ask:
    def ask(path: str, body: bytes = b"") -> Response:
        with Http2Client(server.addresses[number]) as connection:
            answer = connection.request("POST", path, [("content-length", str(len(body)))], body or None)
            return Response(answer.status, "", [*answer.headers.items()], bytes(answer.body))

    return ask


@pytest.fixture(scope="module", params=["--gevent", "--threads"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    doors = ("--socket", "127.0.0.1:0", "--http2-socket", "127.0.0.1:0")
    with Server(APPLICATION, request.param, "20", *doors) as server:
        yield server


@pytest.fixture(scope="module", params=["http1", "uwsgi", "http2", "routed by http", "routed by uwsgi"])
def ask(request: pytest.FixtureRequest, server: Server) -> Iterator[Ask]:
    with ExitStack() as stack:
        if request.param.startswith("routed"):
            action = request.param.rpartition(" ")[2]
            host, port = server.addresses[HTTP if action == "http" else UWSGI]
            front = stack.enter_context(Server(APPLICATION, "--route", f"^/ {action}:{host}:{port}"))
            yield by_http1(front, 0)
        elif request.param == "http1":
            yield by_http1(server, 0)
        else:
            yield by_uwsgi(server, UWSGI) if request.param == "uwsgi" else by_http2(server, HTTP2)


def literal(ask: Ask, status: str, headers: list[tuple[str, str]], body: list[bytes]) -> Response:
    return ask("/literal", repr((status, headers, body)).encode("latin-1"))


HOP_BY_HOP = {
    "Connection": "keep-alive",
    "connection": "Keep-Alive",
    "Keep-Alive": "timeout=5",
    "Proxy-Authenticate": "Basic",
    "Proxy-Authorization": "Basic x",
    "Proxy-Connection": "keep-alive",
    "TE": "trailers",
    "Trailer": "X-A",
    "Trailers": "X-A",
    "Transfer-Encoding": "chunked",
    "Upgrade": "h2c",
}


@pytest.mark.parametrize("name", HOP_BY_HOP)
def test_a_header_for_the_connection_is_dropped_and_the_rest_is_served(ask: Ask, name: str) -> None:
    headers = [("Content-Type", "text/event-stream"), (name, HOP_BY_HOP[name]), ("X-A", "b")]
    response = literal(ask, "200 OK", headers, [b"data: 1\n\n", b"", b"data: 2\n\n"])
    assert response.status == 200
    assert response.body == b"data: 1\n\ndata: 2\n\n"
    assert [value for _, value in response.headers].count(HOP_BY_HOP[name]) == (
        name == "Transfer-Encoding" and response.is_chunked
    )
    assert response.all("X-A") == ["b"]


def test_what_connection_names_is_dropped_with_it_but_for_the_length(ask: Ask) -> None:
    headers = [("X-Hop", "1"), ("Connection", "x-hop,  Content-Length"), ("X-A", "b"), ("Content-Length", "4")]
    response = literal(ask, "200 OK", headers, [b"body"])
    assert (response.status, response.body) == (200, b"body")
    assert response.all("X-Hop") == []
    assert response.all("X-A") == ["b"]
    assert response.all("Content-Length") == ["4"]


@pytest.mark.parametrize(
    "lengths", [["5", "5"], ["5, 5"], ["5", "5,5"], ["05", "5"]], ids=lambda lengths: "+".join(lengths)
)
def test_equal_lengths_are_one(ask: Ask, lengths: list[str]) -> None:
    response = literal(ask, "200 OK", [("Content-Length", length) for length in lengths], [b"hello"])
    assert (response.status, response.body) == (200, b"hello")
    assert len(response.all("Content-Length")) == 1
    assert int(response.all("Content-Length")[0]) == 5


@pytest.mark.parametrize("lengths", [["5", "6"], ["5, 6"], ["5,"], ["5 5"]], ids=lambda lengths: "+".join(lengths))
def test_lengths_that_differ_are_the_applications_fault(ask: Ask, lengths: list[str]) -> None:
    assert literal(ask, "200 OK", [("Content-Length", length) for length in lengths], [b"hello"]).status == 500


def test_subclasses_count_as_what_they_are(ask: Ask) -> None:
    response = ask("/subclasses")
    assert (response.status, response.body) == (201, b"hello")
    assert response.all("X-A") == ["b"]
    assert response.all("X-Injected") == []
    assert response.all("Content-Length") == ["5"]


def test_it_is_said_once_an_application(server: Server) -> None:
    ask = by_http1(server, 0)
    for name in ("Keep-Alive", "Connection", "TE"):
        for _ in range(3):
            assert literal(ask, "200 OK", [(name, "x")], [b""]).status == 200
    server.wait_for_log("dropped; not said again")
    eventually(lambda: server.log.count("/literal") >= 9)
    assert server.log.count("dropped; not said again") == 1


def test_close_is_honoured_where_a_connection_would_go_on(server: Server) -> None:
    for value in ("close", "Close, X-A", "keep-alive, close"):
        with HttpClient(server.addresses[0]) as client:
            response = client.request(
                "POST", "/literal", body=repr(("200 OK", [("Connection", value)], [b"x"])).encode()
            )
            assert response.says_close
            assert response.body == b"x"
            client.assert_ended()
    assert literal(by_uwsgi(server, UWSGI), "200 OK", [("Connection", "close")], [b"x"]).all("Connection") == ["close"]
    with Http2Client(server.addresses[HTTP2]) as connection:
        for _ in range(2):  # it goes on: HTTP/2 has no such header
            body = repr(("200 OK", [("Connection", "close")], [b"x"])).encode()
            answer = connection.request("POST", "/literal", [], body)
            assert (answer.status, bytes(answer.body)) == (200, b"x")


def test_a_426_keeps_its_upgrade(ask: Ask) -> None:
    response = literal(ask, "426 Upgrade Required", [("Upgrade", "websocket"), ("Content-Length", "0")], [])
    assert response.status == 426
    assert response.all("Upgrade") in (["websocket"], [])
    assert response.all("Connection") == ["Upgrade" for _ in response.all("Upgrade")]


@pytest.mark.parametrize("rule", ["addheader:Connection: close", "addheader:Connection: ${HTTP_X_A}"])
def test_a_route_may_ask_for_the_end_of_the_connection(serve: Callable[..., Server], rule: str) -> None:
    server = serve(APPLICATION, "--response-route-run", rule, "--response-route-run", "addheader:Keep-Alive: timeout=5")
    server.wait_for_log("Keep-Alive is the server's to send")
    with HttpClient(server.addresses[0]) as client:
        response = client.request("POST", "/subclasses", [("X-A", "x, close")])
        assert response.status == 201
        assert response.says_close
        assert response.all("Keep-Alive") == []
        client.assert_ended()
