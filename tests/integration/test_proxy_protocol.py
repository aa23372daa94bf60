"""PROXY headers before HTTP, sent by hand; test_carriers.py has haproxy send them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import eventually
from support.http_client import HttpClient
from support.server import Server, finish
from support.websocket_client import RawClient, handshake, text

Serve = Callable[..., Server]

APPLICATION = """\
import uwsgi

def application(environ, start_response):
    if environ["PATH_INFO"] == "/chat":
        uwsgi.websocket_handshake()
        uwsgi.websocket_send(environ["REMOTE_ADDR"])
        uwsgi.websocket_send(uwsgi.websocket_recv())
        return []
    start_response("200 OK", [])
    return [" ".join([environ[key] for key in ("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme")]).encode()]
"""
LINE = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TCP4 = bytes((192, 0, 2, 1, 198, 51, 100, 2)) + (56_324).to_bytes(2, "big") + (443).to_bytes(2, "big")
BY_TLS = b"\x20\0\x05\x01\0\0\0\0"
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def binary(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(rest).to_bytes(2, "big") + rest


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(APPLICATION, "--enable-proxy-protocol", "--socket-timeout", "0.4", "--gevent", "20") as server:
        yield server
        finish(server, allow_traceback=False)


@pytest.fixture
def client(server: Server) -> Iterator[HttpClient]:
    with HttpClient(("127.0.0.1", server.port)) as client:
        yield client


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (LINE, "192.0.2.1 56324 http"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", "2001:db8::1 1 http"),
        (binary(0x21, 0x11, TCP4), "192.0.2.1 56324 http"),
        (binary(0x21, 0x11, TCP4 + BY_TLS), "192.0.2.1 56324 https"),
        (binary(0x21, 0x31, bytes(216)), "  http"),
    ],
    ids=["version 1", "version 1 of IPv6", "version 2", "version 2 of TLS", "version 2 of a unix socket"],
)
def test_the_header_says_who_the_client_is_for_all_requests_of_the_connection(
    client: HttpClient, header: bytes, expected: str
) -> None:
    client.send(header + REQUEST)
    assert client.read_response().text == expected
    assert client.request("GET", "/", [("Host", "x")]).text == expected


@pytest.mark.parametrize(
    "header", [b"PROXY UNKNOWN\r\n", binary(0x20, 0, b""), binary(0x20, 0x11, TCP4)], ids=["1", "2", "2 with addresses"]
)
def test_a_proxy_that_speaks_for_itself_is_the_client(client: HttpClient, header: bytes) -> None:
    client.send(header + REQUEST)
    port = client.sock.getsockname()[1]
    assert client.read_response().text == f"127.0.0.1 {port} http"


@pytest.mark.parametrize("header", [LINE, binary(0x21, 0x11, TCP4)], ids=["1", "2"])
def test_a_header_may_come_byte_by_byte(client: HttpClient, header: bytes) -> None:
    for byte in header + REQUEST:
        client.send(bytes((byte,)))
    assert client.read_response().text == "192.0.2.1 56324 http"


def test_a_half_header_costs_no_cpu_time(serve: Serve) -> None:
    """Its bytes are left to be read again, which must not wake anybody for them again and again."""
    server = serve(APPLICATION, "--enable-proxy-protocol")
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.send(LINE[:20])

        def used() -> float:
            fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        begun = used()
        time.sleep(0.4)  # an interval to measure over
        assert used() - begun < 0.1
        client.send(LINE[20:] + REQUEST)
        assert client.read_response().text == "192.0.2.1 56324 http"


def test_a_websocket_may_follow_in_the_same_packet(server: Server) -> None:
    with RawClient(server.port) as peer:
        peer.shake_hands(LINE + handshake("/chat") + text("early"))
        peer.expect_text("192.0.2.1")
        peer.expect_text("early")
        peer.expect_close(1000)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (REQUEST, "a PROXY header is expected here"),
        (b"PROXY TCP4 nonsense\r\n", "malformed"),
        (LINE[:-1], "did not come in time"),
        (b"", "did not come in time"),
    ],
    ids=["HTTP", "malformed", "half", "nothing"],
)
def test_without_a_proper_header_there_is_no_answer(
    server: Server, client: HttpClient, data: bytes, words: str
) -> None:
    seen = len(server.log)
    client.send(data)
    client.read_to_end()
    eventually(lambda: words in server.log[seen:])


def test_only_this_machine_is_believed_until_others_are_listed(serve: Serve) -> None:
    server = serve(APPLICATION, "--enable-proxy-protocol", "--proxy-allow-from", "10.0.0.0/8")
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.send(LINE + REQUEST)
        client.read_to_end()
    server.wait_for_log(r"127\.0\.0\.1 may not connect to --http 127\.0\.0\.1:0$")


def test_uwsgi_sockets_have_no_header(serve: Serve) -> None:
    server = serve(APPLICATION, "--enable-proxy-protocol", "--uwsgi-socket", "127.0.0.1:0")
    with HttpClient(server.addresses[1]) as client:
        client.send(b"\0\x15\0\0\x0e\0REQUEST_METHOD\x03\0GET")
        assert client.read_response().text.startswith("127.0.0.1 ")


def test_who_has_yet_to_say_who_it_is_holds_no_stop_up(serve: Serve) -> None:
    server = serve(APPLICATION, "--enable-proxy-protocol")
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.send(LINE + REQUEST)
        client.read_response()
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.send(LINE[:10])
        begun = time.monotonic()
        assert server.stop(signal.SIGINT) == 0
        assert time.monotonic() - begun < 5
        client.read_to_end()


# Where a header may come


def test_who_may_send_a_header_is_believed_and_who_sends_none_is_served(serve: Serve) -> None:
    server = serve(APPLICATION, "--http-enable-proxy-protocol", "--gevent", "20")
    for header, expected in [
        (LINE, "192.0.2.1 56324 http"),
        (binary(0x21, 0x11, TCP4 + BY_TLS), "192.0.2.1 56324 https"),
    ]:
        with HttpClient(("127.0.0.1", server.port)) as client:
            client.send(header + REQUEST)
            assert client.read_response().text == expected
    with HttpClient(("127.0.0.1", server.port)) as client:
        assert client.request("GET", "/", [("Host", "x")]).text == f"127.0.0.1 {client.sock.getsockname()[1]} http"
    # POST begins as PROXY does.
    for pieces in ([b"P", b"OST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"], [b"P", LINE[1:], REQUEST]):
        with HttpClient(("127.0.0.1", server.port)) as client:
            for piece in pieces:
                client.send(piece)
            expected = "192.0.2.1 56324 http" if len(pieces) == 3 else f"127.0.0.1 {client.sock.getsockname()[1]} http"
            assert client.read_response().text == expected


def test_whoever_is_not_believed_is_served_and_a_header_is_none_there(serve: Serve) -> None:
    server = serve(APPLICATION, "--http-enable-proxy-protocol", "--proxy-allow-from", "192.0.2.7", "--gevent", "20")
    with HttpClient(("127.0.0.1", server.port)) as client:
        assert client.request("GET", "/", [("Host", "x")]).text.startswith("127.0.0.1 ")
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.send(LINE + REQUEST)
        assert client.read_response().status == 400
