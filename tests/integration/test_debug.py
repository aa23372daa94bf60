"""``--debug``: a browser of this machine sees the traceback, by any carrier and however applications run."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from support.http2_client import Http2Client
from support.http_client import HttpClient, fetch
from support.server import Server
from support.uwsgi_client import packet, variables
from support.websocket_client import RawClient

from uwsgi_ws.addresses import parse_address
from uwsgi_ws.process.assembly import _serves_this_machine

APPLICATION = """
import uwsgi_ws

def application(environ, start_response):
    if environ["PATH_INFO"] == "/late":
        start_response("200 OK", [])(b"begun")
    if environ["PATH_INFO"] == "/ws":
        uwsgi_ws.accept(environ)
    if environ["PATH_INFO"] == "/exit":
        raise SystemExit("bye")
    return greet(environ)

def greet(environ):
    password = "hun" + "ter2"
    return environ["nobody has this"]
"""
HERE = [("Host", "localhost:8080"), ("Accept", "text/html")]


def is_page(body: bytes) -> bool:
    assert b"hunter2" not in body
    return b'<span class="at">' in body and b"nobody has this" in body and b"def greet(environ):" in body


@pytest.mark.parametrize("how", [("--gevent", "10"), ("--threads", "2"), ("--processes", "1")], ids=lambda how: how[0])
def test_a_page_for_this_machine(serve: Callable[..., Server], how: tuple[str, str]) -> None:
    sockets = ("--http2-socket", "127.0.0.1:0", "--uwsgi-socket", "127.0.0.1:0")
    server = serve(APPLICATION, "--debug", *sockets, *how, allow_traceback=True, concurrency=())
    addresses = {option: ("127.0.0.1", int(port)) for option, port in _ports(server)}
    address = addresses["http"]
    answer = fetch(address, headers=HERE)
    assert answer.status == 500
    assert answer.get("Content-Type") == "text/html; charset=utf-8"
    assert is_page(answer.body)
    assert fetch(address, headers=HERE, method="HEAD").status == 500
    assert fetch(address, headers=HERE[:1]).text.endswith("KeyError: 'nobody has this'\n")
    assert "SystemExit: bye" in fetch(address, "/exit", headers=HERE[:1]).text
    with Http2Client(addresses["http2-socket"]) as client:
        assert is_page(bytes(client.request(headers=[("accept", "text/html")]).body))
    for headers in ([("Host", "shop.example"), HERE[1]], [*HERE, ("X-Forwarded-For", "127.0.0.1")]):
        assert fetch(address, headers=headers).body == b"500 Internal Server Error\n"
    with HttpClient(addresses["uwsgi-socket"]) as client:
        client.send(packet(variables(headers=HERE, more=[("REMOTE_ADDR", "127.0.0.1")])))
        assert b"nobody" not in client.read_to_end()
    with HttpClient(address) as client:  # what has begun just ends
        client.send_request("GET", "/late", HERE)
        assert b"greet" not in client.read_to_end()
    with RawClient.open(address[1], "/ws") as websocket:
        websocket.expect_close(1011)
    assert server.log.count("in greet\n") >= 5


def _ports(server: Server) -> list[tuple[str, str]]:
    return re.findall(r"^(\S+) bound on 127\.0\.0\.1:(\d+)", server.log, re.MULTILINE)


def test_no_page_without_the_option(serve: Callable[..., Server]) -> None:
    server = serve(APPLICATION, allow_traceback=True)
    assert fetch(("127.0.0.1", server.port), headers=HERE).body == b"500 Internal Server Error\n"


@pytest.mark.parametrize(
    ("addresses", "follows"),
    [
        (["127.0.0.1:80", "localhost:80", "[::1]:80", "/run/app.sock"], True),
        (["127.0.0.1:80", ":80"], False),
        (["192.168.0.1:80"], False),
        (["[::]:80"], False),
    ],
)
def test_it_is_not_followed_where_others_can_reach_the_server(
    addresses: list[str], follows: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoints = [SimpleNamespace(address=parse_address(text), option="http") for text in addresses]
    assert _serves_this_machine(SimpleNamespace(endpoints=endpoints)) is follows  # type: ignore[arg-type]
    assert ("WARNING: --debug is not followed: http " in capsys.readouterr().err) is not follows
