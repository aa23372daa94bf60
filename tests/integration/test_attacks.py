"""Attacks that concern several fronts at once: each costs the attacker's own connection, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import eventually
from support.http2_client import END_HEADERS, HEADERS, PREFACE, SETTINGS
from support.http2_client import frame as http2_frame
from support.http_client import HttpClient, fetch, resident_kib
from support.peers import require_program
from support.server import Server, finish
from support.tls import Authority, https
from support.uwsgi_client import packet_of
from support.websocket_client import BINARY, CLOSE, PING, PONG, TEXT, RawClient, close_frame, frame, handshake, text

Serve = Callable[..., Server]

APPLICATION = """
import gevent
import uwsgi

hold = gevent.monkey.get_original("time", "sleep")


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if "HTTP_UPGRADE" in environ:
        if path == "/headers":
            uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], *["a\\r\\nX-Injected: yes"] * 2)
        else:
            uwsgi.websocket_handshake()
        while True:
            message = uwsgi.websocket_recv()
            if message == b"hold":
                print("holding")
                hold(2)
            uwsgi.websocket_send(message)
    if path == "/endless":
        start_response("200 OK", [])
        return iter(lambda: b"x" * 10_000, None)
    if environ["REQUEST_METHOD"] == "POST":
        environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [b"hello"]
"""
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Server]:
    """One address for each front."""
    options = ["--https", f"127.0.0.1:0,{authority.issue()}", "--uwsgi-socket", "127.0.0.1:0"]
    with Server(APPLICATION, *options, "--http2-socket", "127.0.0.1:0", "--gevent", "400", "-L") as server:
        yield server
        assert fetch(server.addresses[0]).text == "hello"
        finish(server, allow_traceback=False)


def address(server: Server, front: str) -> tuple[str, int]:
    found = re.search(rf"^{front} bound on (\S+):(\d+)", server.log, re.MULTILINE)
    assert found is not None, server.log
    return found[1], int(found[2])


def cpu_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- half-closed sockets --------------------------------------------------------------------------------

HTTP, HTTPS, UWSGI, HTTP2 = "http", "https", "uwsgi-socket", "http2-socket"
#: What a client has sent when it stops, on which front.
STATES: dict[str, tuple[str, bytes]] = {
    "nothing": (HTTP, b""),
    "half a head": (HTTP, GET[:20]),
    "a request": (HTTP, GET),
    "half a body": (HTTP, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nhalf"),
    "half a chunk": (HTTP, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf"),
    "a request that is answered without end": (HTTP, b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n"),
    "a malformed head": (HTTP, b"GET / / HTTP/1.1\r\n\r\n"),
    "a handshake": (HTTP, handshake()),
    "half a frame": (HTTP, handshake() + text("half a frame")[:8]),
    "half a message": (HTTP, handshake() + frame(TEXT, b"half", fin=False)),
    "a bad frame": (HTTP, handshake() + frame(3)),
    "a close frame": (HTTP, handshake() + close_frame(1000)),
    "no TLS": (HTTPS, b""),
    "half a TLS handshake": (HTTPS, b"\x16\x03\x01\x02\x00\x01"),
    "half a packet": (UWSGI, packet_of(GET)[:10]),
    "a packet": (UWSGI, packet_of(GET)),
    "half a preface": (HTTP2, PREFACE[:10]),
    "a preface": (HTTP2, PREFACE + http2_frame(SETTINGS)),
    "half a field block": (HTTP2, PREFACE + http2_frame(SETTINGS) + http2_frame(HEADERS, b"\x82", stream=1)),
    "a stream without its end": (
        HTTP2,
        PREFACE + http2_frame(SETTINGS) + http2_frame(HEADERS, b"\x83\x86\x84\x41\x01h", flags=END_HEADERS, stream=1),
    ),
}


def in_all_states(server: Server, stack: contextlib.ExitStack) -> dict[str, socket.socket]:
    """Return a connection in each state."""
    sockets = {}
    for state, (front, data) in STATES.items():
        sock = stack.enter_context(socket.create_connection(address(server, front), 10))
        sock.sendall(data)
        sockets[state] = sock
    return sockets


@pytest.mark.parametrize("end", ["FIN", "RST"])
def test_a_peer_that_stops_in_any_state_costs_no_cpu_time(server: Server, authority: Authority, end: str) -> None:
    """Waitress had GHSA-3f84-rpwh-47g6: a loop without end over a socket that was half closed."""
    before = len(os.listdir(f"/proc/{server.pid}/fd"))
    with contextlib.ExitStack() as stack:
        sockets = list(in_all_states(server, stack).values())
        tls = authority.client_context().wrap_socket(
            stack.enter_context(socket.create_connection(address(server, HTTPS), 10)), server_hostname="127.0.0.1"
        )
        tls.sendall(GET[:20])
        sockets.append(stack.enter_context(tls))
        assert fetch(server.addresses[0]).text == "hello"  # by now all have been accepted, and what they sent was read
        for sock in sockets:
            if end == "FIN":
                sock.shutdown(socket.SHUT_WR)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
        time.sleep(0.3)  # what is to be done about them is done
        begun = cpu_seconds(server)
        time.sleep(0.7)  # an interval to measure over
        assert cpu_seconds(server) - begun < 0.2
    eventually(lambda: len(os.listdir(f"/proc/{server.pid}/fd")) <= before, 10)


# ---- memory ---------------------------------------------------------------------------------------------

CROWD = 150
#: KiB that a client may cost that has got no further than these have.
CAP = 64


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nCookie: ", id="half a head"),
        pytest.param(handshake() + frame(BINARY, length=1_000_000), id="a frame that is announced"),
        pytest.param(handshake() + frame(BINARY, b"", fin=False), id="a message in fragments of a byte"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999\r\n\r\n", id="a body without end"),
    ],
)
def test_clients_that_send_a_byte_at_a_time_take_little_memory_and_delay_nobody(server: Server, data: bytes) -> None:
    piece = frame(0, b"x", fin=False) if data.endswith(frame(BINARY, b"", fin=False)) else b"x"
    with contextlib.ExitStack() as stack:
        before = resident_kib(server.pid)
        crowd = [stack.enter_context(socket.create_connection(server.addresses[0], 10)) for _ in range(CROWD)]
        for sock in crowd:
            sock.sendall(data)
        for _ in range(20):
            for sock in crowd:
                sock.sendall(piece)
        assert fetch(server.addresses[0]).text == "hello"
        assert (resident_kib(server.pid) - before) / CROWD < CAP


def test_a_flood_of_close_frames_is_answered_once(server: Server) -> None:
    with RawClient.open(server.port) as client:
        client.send(close_frame(1000) * 20_000)
        client.expect_close(1000)
        client.expect_end()
    before = resident_kib(server.pid)
    with RawClient.open(server.port) as client:
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                client.send((frame(CLOSE, b"\x03\xe8bye") + frame(PING, b"x" * 125)) * 1_000)
        assert resident_kib(server.pid) - before < 4_000


# ---- keepalive ------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_loop_that_was_blocked_ends_no_connection(serve: Serve) -> None:
    """A pong that came while nothing ran waits in the kernel; it is looked at before the peer is given up."""
    server = serve(APPLICATION, "--websockets-ping-freq", "0.3", "--websockets-pong-tolerance", "1.5", "--gevent", "10")
    with RawClient.open(server.port) as blocker, RawClient.open(server.port) as other:
        ping = other.read_frame()
        blocker.send(text("hold"))
        server.wait_for_log("holding")
        other.send(frame(PONG, ping.payload))
        for _ in range(3):  # in the first it has been blocked for longer than the tolerance
            ping = other.read_frame()
            assert ping.opcode == PING
            other.send(frame(PONG, ping.payload))


# ---- TLS ------------------------------------------------------------------------------------------------


def test_tls_is_neither_renegotiated_nor_compressed(server: Server, authority: Authority) -> None:
    """A client that asks for new handshakes without end costs the server ten times what it costs the client."""
    openssl = require_program("openssl")
    host, port = address(server, HTTPS)
    command = [openssl, "s_client", "-connect", f"{host}:{port}", "-tls1_2", "-CAfile", str(authority.path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdin is not None
    try:
        process.stdin.write(b"R\n")  # the word for a renegotiation
        process.stdin.flush()
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert b"RENEGOTIATING" in output
    assert b"no renegotiation" in output
    context = authority.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options &= ~ssl.OP_NO_COMPRESSION
    with HttpClient(address(server, HTTPS), tls=context) as client:
        assert client.sock.compression() is None  # type: ignore[attr-defined]


def test_a_client_of_another_protocol_gets_none_of_ours(server: Server, authority: Authority) -> None:
    """ALPACA: no protocol is agreed on with one that offers others alone."""
    context = authority.client_context()
    context.set_alpn_protocols(["ftp", "smtp"])
    with (
        socket.create_connection(address(server, HTTPS), 10) as sock,
        contextlib.suppress(ssl.SSLError),
        context.wrap_socket(sock, server_hostname="127.0.0.1") as tls,
    ):
        assert tls.selected_alpn_protocol() is None


# ---- what is written ------------------------------------------------------------------------------------


def test_a_handshake_s_arguments_split_no_response(serve: Serve) -> None:
    server = serve(APPLICATION, "--gevent", "10", allow_traceback=True)
    with RawClient(server.port) as client:
        client.send(handshake("/headers"))
        response = client.read_response()
        assert "x-injected" not in response.headers
        client.half_close()
        assert b"X-Injected" not in client.read_all()


def test_clients_do_not_fill_the_log(serve: Serve, authority: Authority) -> None:
    server = serve(APPLICATION, "--gevent", "50", "-L", program=https(authority.issue()))
    before = len(server.log.splitlines())
    for _ in range(250):
        with socket.create_connection(server.addresses[0], 10) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                while sock.recv(1_000):
                    pass
    assert 90 < len(server.log.splitlines()) - before < 220
