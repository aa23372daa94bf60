"""A worker whose places are held by clients that only keep it waiting: somebody else is served all the same.

The attackers are slowhttptest's kinds (heads, bodies, readers) and the same one step earlier and later: the handshake
of TLS, a PROXY header, HTTP/2's connection and frames, a uwsgi packet.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import eventually
from support.http2_client import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    Http2Client,
    frame,
)
from support.http_client import HttpClient, fetch
from support.peers import require_program
from support.server import APPLICATIONS, Program, Server, finish
from support.tls import Authority
from support.uwsgi_client import packet, variables

pytestmark = pytest.mark.matrix

PLACES = 6
APPLICATION = """
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/unread":
        start_response("200 OK", [])
        return [b"unread"]
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    if path == "/large":
        return (b"x" * 100_000 for _ in range(300))
    return [b"hello"]
"""
GET, POST = b"\x82\x86\x84\x41\x01x", b"\x83\x86\x84\x41\x01x"
# :method GET, :scheme http, :path /large, :authority x
GET_LARGE = b"\x82\x86\x04\x06/large\x41\x01x"


class Doors:
    """A server that listens for everything."""

    def __init__(self, server: Server, authority: Authority) -> None:
        self.server = server
        self.http, self.https, self.http2, self.uwsgi = (
            ("127.0.0.1", int(server.wait_for_log(rf"^{name} bound on 127\.0\.0\.1:(\d+)")[1]))
            for name in ("http", "https", "http2-socket", "uwsgi-socket")
        )
        self.tls = authority.client_context()


@pytest.fixture(scope="module", params=["--gevent", "--threads"])
def doors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    command = [sys.executable, "-m", "uwsgi_ws", "--http", "127.0.0.1:0", "--https", f"127.0.0.1:0,{authority.issue()}"]
    command += ["--http2-socket", "127.0.0.1:0", "--uwsgi-socket", "127.0.0.1:0"]
    with Server(
        APPLICATION, request.param, str(PLACES), program=Program(tuple(command), "spawned uwsgi_ws worker")
    ) as server:
        yield Doors(server, authority)
        finish(server, allow_traceback=False)


# Attackers: each opens one connection that takes a place and goes no further.


def connect(address: tuple[str, int]) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.settimeout(10)
    sock.connect(address)
    return sock


def saying(door: str, data: bytes) -> Callable[[Doors], socket.socket]:
    def attack(doors: Doors) -> socket.socket:
        sock = connect(getattr(doors, door))
        sock.sendall(data)
        return sock

    return attack


def client_hello(context: ssl.SSLContext) -> bytes:
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def half_hello(doors: Doors) -> socket.socket:
    return saying("https", client_hello(doors.tls)[:100])(doors)


def half_handshake(doors: Doors) -> socket.socket:
    return saying("https", client_hello(doors.tls))(doors)


def secret_half_head(doors: Doors) -> socket.socket:
    sock = doors.tls.wrap_socket(connect(doors.https), server_hostname="127.0.0.1")
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
    return sock


def http2(*frames: bytes, settings: bytes = b"") -> bytes:
    return PREFACE + frame(SETTINGS, settings) + b"".join(frames)


OPEN_POST = frame(HEADERS, POST, flags=END_HEADERS, stream=1)
BODY = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"
ATTACKS = {
    "nothing": saying("http", b""),
    "half a head": saying("http", b"GET / HTTP/1.1\r\nHost: x\r\n"),
    "half a body": saying("http", BODY % b"/"),
    "half a body that nobody reads": saying("http", BODY % b"/unread"),
    "an answer that is not taken": saying("http", b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"),
    "half a ClientHello": half_hello,
    "half a TLS handshake": half_handshake,
    "half a head in TLS": secret_half_head,
    "no HTTP/2 stream": saying("http2", http2()),
    "half an HTTP/2 head": saying("http2", http2(frame(HEADERS, GET, flags=END_STREAM, stream=1))),
    "half a HEADERS frame": saying("http2", http2(frame(HEADERS, GET, flags=5, stream=1)[:-1])),
    "half an HTTP/2 body": saying("http2", http2(OPEN_POST, frame(DATA, b"abc", stream=1))),
    "an HTTP/2 window that stays shut": saying(
        "http2", http2(frame(HEADERS, GET_LARGE, flags=5, stream=1), settings=struct.pack("!HI", 4, 0))
    ),
    "half a uwsgi packet": saying("uwsgi", packet(variables())[:20]),
}


@pytest.mark.parametrize("attack", [pytest.param(attack, id=name) for name, attack in ATTACKS.items()])
def test_a_client_is_served_while_others_hold_all_places(
    doors: Doors, attack: Callable[[Doors], socket.socket]
) -> None:
    """Left alone, each of them would hold its place for 30 s, and the client gives up after 10."""
    with contextlib.ExitStack() as stack:
        for _ in range(2 * PLACES):
            stack.enter_context(contextlib.closing(attack(doors)))
        for _ in range(2):
            assert fetch(doors.http).body == b"hello"


def test_a_proxy_that_does_not_name_its_client_holds_no_place(serve: Callable[..., Server]) -> None:
    server = serve(APPLICATION, "--gevent", "2", "--enable-proxy-protocol")
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(connect(server.addresses[0])).sendall(b"PROXY TCP4 1.2.3.4")
        with HttpClient(server.addresses[0]) as client:
            client.send(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n")
            assert client.request("GET", "/").body == b"hello"


def test_who_had_to_go_is_told_and_the_log_says_so_once(serve: Callable[..., Server]) -> None:
    server = serve(APPLICATION, "--gevent", "2")
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(HttpClient(server.addresses[0])) for _ in range(6)]
        for client in slow:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert fetch(server.addresses[0]).body == b"hello"
        assert slow[0].read_response().status == 408
    assert server.log.count("all places are taken, and others wait: closing clients without a whole request") == 1
    assert "(HTTP/1.1 408)" not in server.log


def test_a_client_may_take_its_time_while_nobody_waits(serve: Callable[..., Server]) -> None:
    server = serve(APPLICATION, "--gevent", "1")
    with HttpClient(server.addresses[0]) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\n")
        time.sleep(2)  # longer than a client may need when others wait
        client.send(b"Content-Length: 2\r\n\r\na")
        time.sleep(3)
        client.send(b"b")
        assert client.read_response().body == b"hello"
    assert "all places are taken" not in server.log


def test_a_body_that_comes_steadily_is_taken_to_its_end_though_others_wait(serve: Callable[..., Server]) -> None:
    server = serve(APPLICATION, "--gevent", "1")
    with HttpClient(server.addresses[0]) as client, HttpClient(server.addresses[0]) as other:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 16000\r\n\r\n")
        other.send_request("GET", "/")
        for _ in range(16):
            client.send(bytes(1_000))
            time.sleep(0.25)  # 4,000 bytes a second
        assert client.read_response().body == b"hello"
        assert other.read_response().body == b"hello"


# HTTP/2: places of streams

WAITING = APPLICATIONS / "waiting.py"


@pytest.mark.parametrize("path", ["/", "/slow"])
def test_more_streams_than_places_are_all_answered(serve: Callable[..., Server], path: str) -> None:
    """Resets half-way and WebSockets among them; a connection without a stream for a moment is not sent away."""
    program = Program((sys.executable, "-m", "uwsgi_ws", "--http2-socket", "127.0.0.1:0"), "spawned uwsgi_ws worker")
    server = serve(WAITING, "--gevent", "20", "--disable-logging", program=program)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Http2Client(server.addresses[0])) for _ in range(8)]
        chat = clients[0].websocket("/chat")
        for _ in range(4):
            streams = [(client, client.start(path=path)) for client in clients for _ in range(40)]
            for client, number in streams[::7]:
                client.h2.reset_stream(number)
                client.flush()
            for index, (client, number) in enumerate(streams):
                if index % 7:
                    assert client.response(number).body == b"hello"
        chat.send_text("still here")
        chat.expect_text("still here")
        assert all(client.goodbye is None and not client.at_end for client in clients)


def test_requests_that_need_not_wait_take_no_place_beside_their_connections(serve: Callable[..., Server]) -> None:
    program = Program((sys.executable, "-m", "uwsgi_ws", "--http2-socket", "127.0.0.1:0"), "spawned uwsgi_ws worker")
    server = serve(WAITING, "--gevent", "50", program=program)
    with Http2Client(server.addresses[0]) as client:
        for number in [client.start() for _ in range(100)]:
            assert client.response(number).body == b"hello"
        assert client.request(path="/most").body == b"1"


def test_an_http2_connection_that_has_to_go_is_told(serve: Callable[..., Server]) -> None:
    program = Program((sys.executable, "-m", "uwsgi_ws", "--http2-socket", "127.0.0.1:0"), "spawned uwsgi_ws worker")
    server = serve(WAITING, "--gevent", "2", program=program)
    with contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(Http2Client(server.addresses[0])) for _ in range(3))
        assert first.request().body == second.request().body == b"hello"
        assert third.request().body == b"hello"
        first.wait_for_end()
        assert first.goodbye == (0, 1)
        assert not second.at_end
        assert second.request().body == b"hello"
    server.wait_for_log("closing clients that were idle")


@pytest.mark.parametrize("attack", ["-H", "-B", "-X"])
def test_slowhttptest_does_not_keep_a_client_waiting(serve: Callable[..., Server], attack: str, tmp_path: Path) -> None:
    program = require_program("slowhttptest")
    server = serve(APPLICATION, "--gevent", "20")
    path = "/large" if attack == "-X" else "/"
    options = ["-c", "60", "-r", "60", "-i", "5", "-l", "20", "-w", "10", "-y", "20", "-n", "5", "-z", "5"]
    with subprocess.Popen(
        [program, attack, *options, "-u", server.url(path)], cwd=tmp_path, stdout=subprocess.DEVNULL
    ) as attacker:
        try:
            eventually(lambda: established(server) >= 20)
            for _ in range(3):
                assert fetch(server.addresses[0]).body == b"hello"
        finally:
            attacker.kill()


def established(server: Server) -> int:
    """How many connections there are at its port."""
    port = f":{server.port:04X}"
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return sum(row[1].endswith(port) and row[3] == "01" for row in rows)
