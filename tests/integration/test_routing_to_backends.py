"""Routes to other servers: requests and WebSockets go through, both ways, and a backend's faults are told.

The backend is another ``uwsgi_ws`` or real uWSGI; the client only ever talks to the server with the route.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import eventually
from support.http2_client import Http2Client
from support.http_client import HttpClient
from support.peers import require_program
from support.server import APPLICATIONS, Program, Server
from support.websocket_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    RawClient,
    close_frame,
    frame,
    handshake,
    text,
)

BACKEND = APPLICATIONS / "backend.py"

UWSGI_SOCKET = Program(
    ("uwsgi", "--socket", "127.0.0.1:0", "--gevent", "50", "--buffer-size", "32768", "--websockets-max-size", "4096"),
    r"spawned uWSGI worker",
)
KINDS = ("uwsgi to uwsgi_ws", "http to uwsgi_ws", "httpdumb to uwsgi_ws", "uwsgi to uWSGI", "http to uWSGI")


def start_backend(kind: str) -> tuple[Server, str]:
    """Start a backend; return it and the action that routes to it, without its port."""
    action, _, program = kind.partition(" to ")
    if program == "uwsgi_ws":
        socket_option = ["--socket", "127.0.0.1:0"] if action == "uwsgi" else []
        server = Server(BACKEND, *socket_option, "--websockets-max-size", "4096")
    else:
        require_program("uwsgi")
        if action == "uwsgi":
            server = Server(BACKEND, program=UWSGI_SOCKET)
        else:
            command = ("uwsgi", "--http-socket", "127.0.0.1:0", *UWSGI_SOCKET.command[3:])
            server = Server(BACKEND, program=Program(command, UWSGI_SOCKET.ready))
    return server, f"{action}:127.0.0.1:{server.addresses[-1][1]}"


class Routed:
    """A server that passes all requests on, and what it passes them on to."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.backend, self.action = start_backend(kind)
        try:
            self.server = Server(None, "--http2-socket", "127.0.0.1:0", "--route", f"^/ {self.action}")
        except BaseException:
            self.backend.stop()
            raise
        self.port = self.server.port

    @property
    def is_ours(self) -> bool:
        return self.kind.endswith("uwsgi_ws")

    def client(self) -> HttpClient:
        return HttpClient(("127.0.0.1", self.port))


@pytest.fixture(scope="module", params=KINDS)
def routed(request: pytest.FixtureRequest) -> Iterator[Routed]:
    pair = Routed(request.param)
    yield pair
    pair.server.stop()
    pair.backend.stop()
    assert not pair.server.killed
    assert "Traceback" not in pair.server.log


def test_requests_go_through_and_the_clients_connection_goes_on(routed: Routed) -> None:
    with routed.client() as client:
        for _ in range(2):
            response = client.request("GET", "/a%20b?c=d", [("Host", "example.org"), ("X-Secret", "s")])
            assert response.status == 200
            method, uri, query, address, host, forwarded, secret, _ = response.text.split(" ")
            assert (method, uri, query, secret) == ("GET", "/a%20b?c=d", "c=d", "s")
            assert (host, address) == ("example.org", "127.0.0.1")
            assert forwarded == ("127.0.0.1" if "http" in routed.action else "-")
            assert response.all("Set-Cookie") == ["a=1", "b=2"]
        teapot = client.request("GET", "/teapot")
        assert (teapot.status, teapot.reason) == (418, "I'm a teapot")
        assert client.request("HEAD", "/a").body == b""
        assert client.request("GET", "/nothing").status == 204
        assert client.request("GET", "/pieces").body == b"one two three"


def test_what_the_clients_connection_header_lists_stays_behind(routed: Routed) -> None:
    if "http" not in routed.action:
        pytest.skip("the uwsgi protocol carries all variables: the backend is part of the same server")
    with routed.client() as client:
        headers = [("Connection", "keep-alive, X-Secret"), ("X-Secret", "s"), ("X-Forwarded-For", "10.1.2.3")]
        assert client.request("GET", "/", headers).text.split(" ")[5:8] == ["10.1.2.3,", "127.0.0.1", "-"]


def test_bodies_go_through_whatever_their_framing(routed: Routed) -> None:
    body = os.urandom(700_000)
    expected = f"{len(body)} {hashlib.sha256(body).hexdigest()}"
    with routed.client() as client:
        assert client.request("POST", "/upload", body=body).text == expected
        if routed.is_ours:  # uWSGI reads chunks only by a call of its own
            client.send_request("POST", "/upload", [("Transfer-Encoding", "chunked")])
            for start in range(0, len(body), 50_000):
                piece = body[start : start + 50_000]
                client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            client.send(b"0\r\n\r\n")
            assert client.read_response("POST").text == expected


def test_a_body_whose_length_an_http2_client_does_not_tell_goes_through(routed: Routed) -> None:
    if not routed.is_ours:
        pytest.skip("uWSGI reads chunks only by a call of its own")
    body = os.urandom(200_000)
    expected = f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()
    nothing = f"0 {hashlib.sha256().hexdigest()}".encode()
    with Http2Client(routed.server.addresses[-1]) as client:
        assert client.request("POST", "/upload", body=body).body == expected
        early = client.start("POST", "/upload", ends=False, early=body[:1000])
        client.send(early, body[1000:], ends=True)
        assert client.response(early).body == expected
        assert client.request("POST", "/upload").body == nothing
        assert client.request("POST", "/upload", body=b"").body == nothing
        assert client.request("GET", "/pieces").body == b"one two three"


def test_a_response_cut_short_is_not_taken_for_a_whole_one(routed: Routed) -> None:
    with routed.client() as client:
        client.send_request("GET", "/bad-head")
        with pytest.raises((AssertionError, ConnectionResetError)):
            client.read_response()


def test_frames_go_both_ways_untouched(routed: Routed) -> None:
    with RawClient.open(routed.port, "/ws/echo", early=text("early")) as client:
        client.expect_text("early")
        client.send_text("environ")
        client.expect(TEXT, b"127.0.0.1 127.0.0.1 /ws/echo")
        client.send(frame(BINARY, b"\xff\x00\x01"))
        client.expect_binary(b"\xff\x00\x01")
        if routed.is_ours:
            client.send(frame(TEXT, b"frag", fin=False) + frame(PING, b"pi") + frame(CONTINUATION, b"ment"))
            client.expect_pong(b"pi")
            client.expect_text("fragment")
        large = b"\xff" + os.urandom(1 << 20)
        client.send(frame(BINARY, large))
        client.expect_binary(large)
        client.send(close_frame(3456, b"enough"))
        if routed.is_ours:
            client.expect_close(3456)
            client.expect_eof()
        else:
            client.expect_end()


def test_subprotocols_are_agreed_on_with_the_backend(routed: Routed) -> None:
    if not routed.is_ours:
        pytest.skip("uWSGI echoes the whole list")
    client = RawClient(routed.port)
    with client:
        client.send(handshake("/ws/echo", [("Sec-WebSocket-Protocol", "chat.v2, chat.v1")]))
        response = client.read_response()
        assert response.status == 101
        assert response.headers["sec-websocket-protocol"] == "chat.v2"
        client.finish()


def test_a_client_that_reads_nothing_slows_the_backend_down_and_loses_nothing(routed: Routed) -> None:
    with RawClient.open(routed.port, "/ws/flood", receive_buffer=4_096) as client:
        for _ in range(500):
            assert client.read_frame() == (True, BINARY, bytes(10_000))


def test_a_backend_that_goes_takes_its_clients_along(serve: Callable[..., Server]) -> None:
    backend = serve(BACKEND)
    server = serve(None, "--route", f"^/ http:127.0.0.1:{backend.port}")
    with RawClient.open(server.port, "/ws/echo") as client:
        client.send_text("hello")
        client.expect_text("hello")
        threading.Thread(target=backend.stop).start()
        client.expect_close(1001, "server stops")
        client.send(close_frame(1001))
        client.expect_eof()
    server.wait_for_log(r"GET /ws/echo => generated [1-9]\d* bytes .* 101\)")


def test_a_client_that_goes_ends_the_backends_side(serve: Callable[..., Server]) -> None:
    backend = serve(BACKEND)
    server = serve(None, "--route", f"^/ http:127.0.0.1:{backend.port}")
    client = RawClient.open(server.port, "/ws/echo")
    client.reset()
    backend.wait_for_log(r"GET /ws/echo .* closed 1006")


def test_a_backend_that_is_down_is_a_502_and_a_line_in_the_log(serve: Callable[..., Server], tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        server = serve(
            None,
            *("--route", f"^/tcp uwsgi:127.0.0.1:{port},0,0", "--route", f"^/unix uwsgi:{tmp_path}/none.sock"),
            *("--error-route-status", "^502 addheader:Retry-After: 5"),
        )
        with HttpClient(("127.0.0.1", server.port)) as client:
            response = client.request("GET", "/tcp")
            assert (response.status, response.get("Retry-After")) == (502, "5")
            assert client.request("GET", "/unix").status == 502
        refused = RawClient(server.port)
        with refused:
            refused.send(handshake("/tcp"))
            assert refused.read_response().status == 502
    server.wait_for_log(rf"/tcp: no connection to 127\.0\.0\.1:{port}: Connection refused")
    server.wait_for_log(r"/unix: no connection to .*none\.sock: No such file or directory")


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that accepts and then does what a test says."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        yield listening


@pytest.mark.parametrize(
    ("answer", "status", "line"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n", 502, "the backend's response is malformed"),
        (b"", 502, "the backend ended its response too early"),
        (b"HTTP/1.1 101 Yes\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", 502, "did not ask for"),
        (b"HTTP/1.1 200 OK\r\nX: \x01\r\n\r\n", 502, "malformed"),
        (None, 504, "made no progress for 0.2 s"),
    ],
)
def test_a_backend_that_talks_nonsense_or_nothing_is_told_apart(
    serve: Callable[..., Server], silent: socket.socket, answer: bytes | None, status: int, line: str
) -> None:
    port = silent.getsockname()[1]
    server = serve(None, "--route", f"^/ http:127.0.0.1:{port}", "--route-timeout", "0.2")
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.send_request("GET", "/")
        peer, _ = silent.accept()
        with peer:
            assert peer.recv(65_536).startswith(b"GET / HTTP/1.1\r\n")
            if answer is not None:
                peer.sendall(answer)
                peer.shutdown(socket.SHUT_WR)
            assert client.read_response().status == status
    server.wait_for_log(re.escape(line))


def test_a_websocket_in_which_nobody_speaks_is_closed(serve: Callable[..., Server]) -> None:
    backend = serve(BACKEND, "--websockets-ping-freq", "0")
    server = serve(None, "--route", f"^/ http:127.0.0.1:{backend.port}", "--route-timeout", "0.3")
    with RawClient.open(server.port, "/ws/echo") as client:
        client.send_text("a word")
        client.expect_text("a word")
        client.expect_close(1001, "nothing came for too long")
        client.send(close_frame(1001))
        client.expect_end()
    server.wait_for_log(r"/ws/echo: nothing came for 0\.3 s, closed")
    backend.wait_for_log(r"closed 1001")


def test_an_address_may_come_from_the_request(serve: Callable[..., Server]) -> None:
    backend = serve(BACKEND)
    server = serve(None, "--route", "^/to/([0-9]+) http:127.0.0.1:$1,other.example,/target?from=${PATH_INFO}")
    with HttpClient(("127.0.0.1", server.port)) as client:
        words = client.request("GET", f"/to/{backend.port}%20%0d%0aX").text.split(" ")
        assert words[1] == f"/target?from=/to/{backend.port}%20%0D%0AX"
        assert words[4] == "other.example"
        assert client.request("GET", "/to/0").status == 502
        assert client.request("GET", "/to/99999").status == 502


def test_descriptors_are_given_back(serve: Callable[..., Server]) -> None:
    backend = serve(BACKEND)
    server = serve(None, "--route", f"^/ http:127.0.0.1:{backend.port}")

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{server.pid}/fd"))

    with HttpClient(("127.0.0.1", server.port)) as client:
        client.request("GET", "/")
        before = descriptors()
        for _ in range(5):
            client.request("GET", "/")
            RawClient.open(server.port, "/ws/echo").reset()
    eventually(lambda: descriptors() <= before)


@pytest.mark.parametrize("kind", ["uwsgi to uwsgi_ws", "http to uwsgi_ws", "uwsgi to uWSGI"])
@pytest.mark.parametrize(
    ("signal_number", "code", "reason"),
    [(signal.SIGINT, 1001, "server stops"), (signal.SIGHUP, 1012, "server restarts")],
    ids=["stop", "reload"],
)
def test_both_ends_see_a_closing_handshake_when_the_router_goes(
    serve: Callable[..., Server], kind: str, signal_number: int, code: int, reason: str
) -> None:
    backend, action = start_backend(kind)
    try:
        server = serve(None, "--route", f"^/ {action}", "--master", "--reload-mercy", "20")
        with RawClient.open(server.port, "/ws/echo") as client:
            client.send_text("hello")
            client.expect_text("hello")
            os.kill(server.pid, signal_number)
            client.expect_close(code, reason)
            client.send(close_frame(code))
            client.expect_eof()
        if kind.endswith("uwsgi_ws"):
            backend.wait_for_log(rf"GET /ws/echo .* closed {code}$")
    finally:
        backend.stop()


@pytest.fixture
def by_hand(serve: Callable[..., Server], silent: socket.socket) -> Iterator[tuple[Server, RawClient, socket.socket]]:
    """A router, its client, and the backend's end of their WebSocket, for frames by hand."""
    server = serve(None, "--route", f"^/ http:127.0.0.1:{silent.getsockname()[1]}", "--reload-mercy", "2")
    with RawClient(server.port) as client:
        client.send(handshake("/"))
        peer, _ = silent.accept()
        with peer:
            assert peer.recv(65_536).endswith(b"\r\n\r\n")
            peer.sendall(b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            assert client.read_response().status == 101
            peer.settimeout(10)
            yield server, client, peer


HUNDRED = frame(BINARY, bytes(range(100)), key=None)


def test_a_frame_under_way_ends_before_the_router_says_goodbye(
    by_hand: tuple[Server, RawClient, socket.socket],
) -> None:
    """Whose payload looks like frames, and after which the backend's word counts no more."""
    server, client, peer = by_hand
    peer.sendall(HUNDRED + HUNDRED[:50])
    client.expect_binary(bytes(range(100)))
    os.kill(server.pid, signal.SIGINT)
    server.wait_for_log("stopping worker 1")
    client.send_text("still here")  # it passes, so the hub has been at work since
    assert len(peer.recv(65_536)) == len(text("still here"))
    peer.sendall(HUNDRED[50:] + HUNDRED)
    client.expect_binary(bytes(range(100)))
    client.expect_close(1001, "server stops")
    client.send(close_frame(1001))
    assert peer.recv(65_536) == close_frame(1001)
    peer.sendall(HUNDRED)
    peer.close()
    client.expect_eof()


def test_a_frame_that_does_not_end_is_not_waited_for(by_hand: tuple[Server, RawClient, socket.socket]) -> None:
    server, client, peer = by_hand
    peer.sendall(b"\x82\x7f" + (1 << 40).to_bytes(8, "big") + bytes(10))
    assert server.stop() == 0
    client.expect_end()
    assert peer.recv(1) == b""


def test_a_backend_that_closes_already_has_the_last_word(by_hand: tuple[Server, RawClient, socket.socket]) -> None:
    server, client, peer = by_hand
    peer.sendall(frame(CLOSE, b"\x0b\xb8bye", key=None))
    client.expect_close(3000, "bye")
    os.kill(server.pid, signal.SIGINT)
    server.wait_for_log("stopping worker 1")
    client.send(close_frame(3000))
    assert peer.recv(65_536) == close_frame(3000)
    peer.close()
    client.expect_eof()


def test_a_slow_client_gets_whole_frames_and_then_the_goodbye(serve: Callable[..., Server]) -> None:
    backend = serve(BACKEND)
    server = serve(None, "--route", f"^/ http:127.0.0.1:{backend.port}", "--reload-mercy", "20")
    with RawClient.open(server.port, "/ws/flood", receive_buffer=4_096) as client:
        assert client.read_frame() == (True, BINARY, bytes(10_000))
        os.kill(server.pid, signal.SIGINT)
        server.wait_for_log("stopping worker 1")
        while (came := client.read_frame()).opcode == BINARY:
            assert came.payload == bytes(10_000)
        assert came == (True, CLOSE, b"\x03\xe9server stops")


def test_harakiri_answers_for_a_request_whose_backend_is_silent(
    serve: Callable[..., Server], silent: socket.socket
) -> None:
    routes = "--route", f"^/ http:127.0.0.1:{silent.getsockname()[1]}"
    server = serve(None, "--harakiri", "1", *routes, allow_traceback=True)
    with HttpClient(("127.0.0.1", server.port)) as client:
        assert client.request("GET", "/slow").status == 500
        assert client.request("GET", "/again").status == 500
    server.wait_for_log(r"HARAKIRI ON .*GET /slow")


def test_harakiri_spares_a_websocket_that_is_passed_on(serve: Callable[..., Server]) -> None:
    backend = serve(BACKEND)
    slow = "import gevent\ndef application(environ, start_response):\n    gevent.sleep(60)\n"
    server = serve(slow, "--harakiri", "1", "--route", f"^/ws http:127.0.0.1:{backend.port}", allow_traceback=True)
    with RawClient.open(server.port, "/ws/echo") as client:
        with HttpClient(("127.0.0.1", server.port)) as other:
            assert other.request("GET", "/slow").status == 500
        client.send_text("still here")
        client.expect_text("still here")
        client.finish()
