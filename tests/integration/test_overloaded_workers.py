"""A worker near a bound of its process refuses new clients; those that it has notice nothing."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.gunicorn import gunicorn_program
from support.http2_client import Http2Client
from support.http_client import HttpClient, fetch
from support.server import APPLICATIONS, Program, Server, free_port
from support.tls import Authority
from support.uwsgi_client import packet, variables
from support.websocket_client import handshake, text

from uwsgi_ws.server.overload import reserve_of

APPLICATION = APPLICATIONS / "overload.py"
BEGUN, ENDED = r"(?<!longer )overloaded \(pid", r"no longer overloaded \(pid"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(server: Server, stack: ExitStack, request: bytes) -> tuple[socket.socket, bytes]:
    """Connect and ask; return the connection and how the answer begins, b"" for none in time."""
    sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
    sock.sendall(request)
    try:
        return sock, sock.recv(4096)
    except TimeoutError:
        return sock, b""


def crowd(server: Server, stack: ExitStack, size: int, query: str = "") -> tuple[list[socket.socket], list[bytes]]:
    """Open WebSockets one by one; return those that are in, and the answers to the others."""
    inside, refusals = [], []
    for _ in range(size):
        sock, answer = connect(server, stack, handshake(f"/?{query}"))
        if answer.startswith(b"HTTP/1.1 101 "):
            inside.append(sock)
        else:
            refusals.append(answer)
            sock.close()
    return inside, refusals


def all_echo(inside: list[socket.socket]) -> None:
    for sock in inside:
        sock.sendall(text("hello"))
    for sock in inside:
        assert sock.recv(7) == b"\x81\x05hello"


def lines(server: Server, pattern: str) -> int:
    return len(re.findall(pattern, server.log))


def serves(server: Server) -> bool:
    return fetch(("127.0.0.1", server.port)).status == 200


def few_descriptors(*arguments: str) -> Program:
    """Return gunicorn with so few that some clients fill it."""
    program = gunicorn_program(*arguments)
    prlimit = shutil.which("prlimit") or pytest.skip("no prlimit")
    return Program((prlimit, "--nofile=4096:4096", *program.command), program.ready, program.application)


@pytest.mark.parametrize("way", ["greenlets", "threads", "gunicorn"])
def test_a_worker_short_of_descriptors_keeps_its_clients_and_refuses_others(
    serve: Any, stack: ExitStack, way: str
) -> None:
    if way == "gunicorn":
        server = serve(APPLICATION, program=few_descriptors())
        # It starts with many only; now they are taken but for those of a hundred clients.
        assert fetch(server.addresses[0], f"/fill?{4096 - reserve_of(4096) - 100}").status == 200
    else:
        many = {"greenlets": ["--gevent", "1000"], "threads": ["--threads", "100"]}[way]
        server = serve(APPLICATION, "--max-fd", "64", "--disable-logging", *many)
    inside, refusals = crowd(server, stack, 200)
    assert len(inside) > 5
    assert len(inside) + len(refusals) == 200
    for answer in refusals:
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 5\r\n" in answer
        assert b"\r\nConnection: close\r\n" in answer
    all_echo(inside)
    assert (lines(server, BEGUN), lines(server, ENDED)) == (1, 0)
    for sock in inside[5:]:
        sock.close()
    eventually(lambda: serves(server))
    server.wait_for_log(rf"{ENDED}.* [0-9]+ clients were refused")
    all_echo(inside[:5])
    assert (lines(server, BEGUN), lines(server, ENDED)) == (1, 1)


def test_a_worker_short_of_memory_does_the_same(serve: Any, stack: ExitStack) -> None:
    server = serve(APPLICATION, "--max-memory", "150", "--disable-logging")
    inside: list[socket.socket] = []
    refusals: list[bytes] = []

    def is_full() -> bool:
        more, refused = crowd(server, stack, 4, "4")
        inside.extend(more)
        refusals.extend(refused)
        return bool(refused)

    eventually(is_full)
    assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in refusals)
    server.wait_for_log(rf"{BEGUN}.* of 150 MiB of memory are in use \(--max-memory\)")
    all_echo(inside)
    for sock in inside[3:]:
        sock.close()
    eventually(lambda: serves(server))
    all_echo(inside[:3])
    assert (lines(server, BEGUN), lines(server, ENDED)) == (1, 1)


def test_every_dialect_is_refused_in_its_own_words(serve: Any, stack: ExitStack, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    uwsgi, https, http2 = (("127.0.0.1", free_port()) for _ in range(3))
    server = serve(
        APPLICATION,
        *("--max-fd", "96", "--disable-logging", "--uwsgi-socket", f"127.0.0.1:{uwsgi[1]}"),
        *("--https", f"127.0.0.1:{https[1]},{authority.issue()}", "--http2-socket", f"127.0.0.1:{http2[1]}"),
    )
    port = server.addresses[0]
    # The application itself takes them; its own connection may go on.
    kept = stack.enter_context(HttpClient(port))
    assert kept.request("GET", "/fill?80").status == 200
    answer = fetch(port)
    assert (answer.status, answer.get("Retry-After"), answer.get("Connection")) == (503, "5", "close")
    with socket.create_connection(uwsgi, 5) as behind:
        behind.sendall(packet(variables()))
        assert b"503 Service Unavailable" in behind.recv(4096)
    with HttpClient(https, tls=authority.client_context()) as secure:
        assert secure.request("GET", "/").status == 503
    with Http2Client(http2) as client:
        assert client.request("GET", "/").status == 503
    assert lines(server, BEGUN) == 1


def test_a_worker_leaves_new_clients_to_those_that_have_room(serve_many: Any, stack: ExitStack) -> None:
    server = serve_many(APPLICATION, "--max-fd", "64", "--disable-logging")
    inside, refusals = crowd(server, stack, 60)
    # Each has room for some 20: none is refused before both are full.
    assert len(inside) >= 30
    assert refusals
    all_echo(inside)
    assert lines(server, BEGUN) == 2
