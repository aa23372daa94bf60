"""The opening handshake over a real socket: each MUST of RFC 6455 4.2.1 negated, Origin, and what is left after."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.server import Server, finish
from support.websocket_client import RawClient, close_frame, frame, handshake, text

APPLICATION = """\
import uwsgi_ws

def application(environ, start_response):
    if environ["PATH_INFO"] == "/plain":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"plain"]
    ws = uwsgi_ws.accept(environ, subprotocols=["v2", "v1"])
    for message in ws:
        ws.send(message)
    return []
"""
ALLOWED = "https://app.example.org"

REFUSALS = {
    "POST": (handshake(start="POST / HTTP/1.1"), 405),
    "HEAD": (handshake(start="HEAD / HTTP/1.1"), 405),
    "HTTP/1.0": (handshake(start="GET / HTTP/1.0"), 400),
    "HTTP/2.0": (handshake(start="GET / HTTP/2.0"), 505),
    "no Host": (handshake(without=["Host"]), 400),
    "two Hosts": (handshake(headers=[("Host", "a"), ("Host", "b")]), 400),
    "no Connection": (handshake(without=["Connection"]), 400),
    "Connection: close": (handshake(headers=[("Connection", "close")]), 400),
    "Connection: keep-alive": (handshake(headers=[("Connection", "keep-alive")]), 400),
    "no version": (handshake(without=["Sec-WebSocket-Version"]), 426),
    "version 8": (handshake(headers=[("Sec-WebSocket-Version", "8")]), 426),
    "version 14": (handshake(headers=[("Sec-WebSocket-Version", "14")]), 426),
    "two versions": (handshake(headers=[("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Version", "8")]), 426),
    "no key": (handshake(without=["Sec-WebSocket-Key"]), 400),
    "a short key": (handshake(headers=[("Sec-WebSocket-Key", "c2hvcnQ=")]), 400),
    "a long key": (handshake(headers=[("Sec-WebSocket-Key", "A" * 2_000)]), 400),
    "a key that is no base64": (handshake(headers=[("Sec-WebSocket-Key", "?" * 22 + "==")]), 400),
    "two keys": (handshake(headers=[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")] * 2), 400),
    "subprotocols that are no tokens": (handshake(headers=[("Sec-WebSocket-Protocol", "a b")]), 400),
    "a body": (handshake(headers=[("Content-Length", "5")]) + b"hello", 400),
    "a chunked body": (handshake(headers=[("Transfer-Encoding", "chunked")]) + b"0\r\n\r\n", 400),
    "an endless header": (handshake(headers=[("Sec-WebSocket-Protocol", "x" * 100_000)]), 431),
    "too many headers": (handshake(headers=[(f"X-{number}", "1") for number in range(1_000)]), 431),
    "a header folded": (handshake(headers=[("X-Fold", "a\r\n b")]), 400),
}
HEADERS = {426: ("sec-websocket-version", "13"), 405: ("allow", "GET")}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(APPLICATION, "--gevent", "5") as server:
        yield server
        finish(server, allow_traceback=False)


@pytest.fixture(scope="module")
def choosy_server() -> Iterator[Server]:
    """It lets in its own pages, and those of one other site."""
    with Server(APPLICATION, "--websockets-origin", "same", "--websockets-origin", ALLOWED) as server:
        yield server
        finish(server, allow_traceback=False)


def echoes(server: Server) -> bool:
    with RawClient.open(server.port) as client:
        client.send_text("alive")
        client.expect_text("alive")
        client.finish()
    return True


@pytest.mark.parametrize("what", REFUSALS)
def test_a_handshake_is_refused_with_its_status_and_the_server_lives(server: Server, what: str) -> None:
    request, status = REFUSALS[what]
    with RawClient(server.port) as client:
        client.send(request)
        response = client.read_response()
        assert response.status == status
        assert "sec-websocket-accept" not in response.headers
        if status in HEADERS:
            name, value = HEADERS[status]
            assert response.headers[name] == value
        client.expect_end()
    assert echoes(server)


def test_an_ordinary_request_to_a_websocket_application_is_told_to_upgrade(server: Server) -> None:
    with RawClient(server.port) as client:
        client.send(handshake(without=["Upgrade", "Connection"]))
        response = client.read_response()
        assert (response.status, response.headers["upgrade"]) == (426, "websocket")
    assert echoes(server)


def test_a_refused_client_s_frames_are_not_taken_for_requests(server: Server) -> None:
    with RawClient(server.port) as client:
        client.send(handshake(headers=[("Sec-WebSocket-Version", "8")]) + b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.read_response().status == 426
        client.half_close()
        rest = client.read_all()
        assert rest.startswith(b"426")
        assert b"HTTP/1.1" not in rest


def test_an_application_that_declines_answers_in_plain_http_and_the_connection_ends(server: Server) -> None:
    with RawClient(server.port) as client:
        client.send(handshake("/plain") + text("ghost"))
        response = client.read_response()
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert client.read(5) == b"plain"
        client.expect_end()


@pytest.mark.parametrize(
    "headers",
    [
        [("Upgrade", "WebSocket")],
        [("Upgrade", "h2c, websocket")],
        [("Connection", "keep-alive, Upgrade")],
        [("Connection", "keep-alive"), ("Connection", "upgrade")],
        [("Sec-WebSocket-Extensions", 'permessage-deflate; client_max_window_bits, x; y="a, b"')],
        [("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=0; server_max_window_bits=16")],
        [("Origin", "null")],
        [("Content-Length", "0")],
    ],
)
def test_an_unusual_handshake_that_is_right_is_accepted_without_extensions(
    server: Server, headers: list[tuple[str, str]]
) -> None:
    with RawClient(server.port) as client:
        client.send(handshake(headers=headers))
        response = client.read_response()
        assert response.status == 101
        assert response.headers["upgrade"].lower() == "websocket"
        assert response.headers["connection"].lower() == "upgrade"
        assert "sec-websocket-extensions" not in response.headers
        assert "sec-websocket-protocol" not in response.headers
        client.finish()


@pytest.mark.parametrize(
    ("offers", "chosen"),
    [(["v1"], "v1"), (["v1, v2"], "v2"), (["v0", "v1"], "v1"), (["v0"], None), (["V1"], None)],
)
def test_one_of_the_offered_subprotocols_is_agreed_on_or_none(
    server: Server, offers: list[str], chosen: str | None
) -> None:
    with RawClient(server.port) as client:
        client.send(handshake(headers=[("Sec-WebSocket-Protocol", offer) for offer in offers]))
        response = client.read_response()
        assert response.status == 101
        assert response.headers.get("sec-websocket-protocol") == chosen
        client.finish()


def test_bytes_that_come_with_the_request_are_the_first_frames(server: Server) -> None:
    with RawClient.open(server.port, early=text("first") + frame(9, b"?") + text("second")[:4]) as client:
        frames = {client.read_frame(), client.read_frame()}
        assert frames == {(True, 1, b"first"), (True, 10, b"?")}
        client.send(text("second")[4:])
        client.expect_text("second")
        client.finish()


def test_even_a_close_frame_may_come_with_the_request(server: Server) -> None:
    with RawClient.open(server.port, early=text("hello") + close_frame(3000)) as client:
        client.expect_text("hello")
        client.expect_close(3000)
        client.expect_eof()


def test_a_handshake_may_come_byte_by_byte(server: Server) -> None:
    with RawClient(server.port) as client:
        for byte in handshake():
            client.send(bytes([byte]))
        assert client.read_response().status == 101
        client.finish()


def own(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    "origin", [lambda host: f"http://{host}", lambda host: ALLOWED, lambda host: ALLOWED.upper() + ":443"]
)
def test_a_page_of_an_allowed_site_may_connect(choosy_server: Server, origin: Callable[[str], str]) -> None:
    host = own(choosy_server)
    with RawClient(choosy_server.port) as client:
        client.send(handshake(headers=[("Host", host), ("Origin", origin(host))]))
        assert client.read_response().status == 101
        client.finish()


def test_a_client_that_is_no_browser_sends_no_origin_and_may_connect(choosy_server: Server) -> None:
    assert echoes(choosy_server)


@pytest.mark.parametrize(
    "origin",
    [
        "http://{host}.evil.test",
        "http://evil{host}",
        "https://{host}",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://localhost:1",
        "https://app.example.org.evil.test",
        "https://evilapp.example.org",
        "https://app.example.org:8443",
        "http://app.example.org",
        "https://example.org",
        "https://app.example.org@evil.test",
        "https://app.example.org, https://evil.test",
        "null",
        "",
    ],
)
def test_a_page_of_any_other_site_is_refused_before_the_application_runs(choosy_server: Server, origin: str) -> None:
    host = own(choosy_server)
    with RawClient(choosy_server.port) as client:
        client.send(handshake("/plain", headers=[("Host", host), ("Origin", origin.format(host=host))]))
        assert client.read_response().status == 403
        client.expect_end()


def test_two_origins_are_none_that_is_allowed(choosy_server: Server) -> None:
    with RawClient(choosy_server.port) as client:
        client.send(handshake(headers=[("Origin", ALLOWED), ("Origin", "https://evil.test")]))
        assert client.read_response().status in (400, 403)


def test_origin_says_nothing_about_ordinary_requests(choosy_server: Server) -> None:
    with RawClient(choosy_server.port) as client:
        client.send(b"GET /plain HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.test\r\n\r\n")
        assert client.read_response().status == 200
