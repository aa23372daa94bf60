"""Limits on how many WebSockets come in and how fast they may send, told to the clients that pass them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from support.carriers import CARRIERS, Carrier
from support.eventually import eventually
from support.server import EXAMPLES, Server
from support.websocket_client import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    RawClient,
    close_frame,
    frame,
    handshake,
    text,
)
from support.workers import APPLICATION, address, open_chat, whose


def status(server: Server, path: str = "/") -> int:
    with RawClient(address(server)[1]) as client:
        client.send(handshake(path))
        return client.read_response().status


def test_an_address_has_its_share_and_gets_it_back(serve: Callable[..., Server]) -> None:
    server = serve(EXAMPLES / "seed.py", "--websockets-per-address", "2")
    first = RawClient.open(server.port)
    with RawClient.open(server.port):
        assert status(server) == 429
        first.finish()
        eventually(lambda: status(server) == 101)


def test_a_worker_takes_no_more_than_it_shall(serve: Callable[..., Server]) -> None:
    server = serve(EXAMPLES / "seed.py", "--websockets-max", "1")
    with RawClient.open(server.port) as client:
        assert status(server) == 503
        client.finish()
    eventually(lambda: status(server) == 101)


@pytest.mark.parametrize(("option", "refusal"), [("--websockets-max", 503), ("--websockets-per-address", 429)])
def test_all_workers_together_take_no_more_than_they_shall(
    serve_many: Callable[..., Server], option: str, refusal: int
) -> None:
    """Each of them refuses while one has a client; a killed one's clients count no more."""
    server = serve_many(APPLICATION, option, "1")
    with open_chat(server) as client:
        pid = whose(client)

        def refused_by() -> int:
            return len(set(re.findall(rf"pid: (\d+)\|.* GET /chat .* {refusal}\)", server.log)))

        def both_refuse() -> bool:
            assert status(server, "/chat") == refusal
            return refused_by() == 2

        eventually(both_refuse, 20)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: status(server, "/chat") == 101, 20)


def test_all_workers_together_let_in_no_faster_than_they_shall(serve_many: Callable[..., Server]) -> None:
    server = serve_many(APPLICATION, "--websockets-per-second", "1", processes=3)
    begun = time.monotonic()
    statuses = [status(server, "/chat") for _ in range(30)]
    assert 1 <= statuses.count(101) <= 2 + time.monotonic() - begun
    assert set(statuses) == {101, 503}


@pytest.mark.parametrize("model", ["--gevent", "--threads"])
def test_a_page_can_be_told_to_try_again_later(serve: Callable[..., Server], model: str) -> None:
    server = serve(EXAMPLES / "seed.py", "--websockets-max", "1", "--websockets-try-again-later", model, "9")
    with RawClient.open(server.port) as inside:
        for _ in range(2):  # who was turned away takes nobody's place
            with RawClient(server.port) as client:
                client.send(handshake("/", [("Sec-WebSocket-Protocol", "v2, v1")]) + text("hello"))
                response = client.read_response()
                assert (response.status, response.headers["sec-websocket-protocol"]) == (101, "v2")
                client.expect_close(1013, "too many WebSockets are open")
                client.send(close_frame(1013))
                client.expect_eof()
        inside.send_text("hello")
        inside.expect_text("hello")
        inside.finish()
    server.wait_for_log("GET / => .* sent 0 in 0, closed 1013")
    eventually(lambda: echoes(server))


def echoes(server: Server) -> bool:
    with RawClient.open(server.port) as client:
        client.send_text("hello")
        return client.read_frame().payload == b"hello"


def test_a_peer_that_sends_too_many_messages_is_told_so(serve: Callable[..., Server]) -> None:
    server = serve(EXAMPLES / "seed.py", "--websockets-messages-per-second", "5")
    with RawClient.open(server.port) as client:
        for number in range(5):
            client.send_text(f"{number}")
            client.expect_text(f"{number}")
        client.send(b"".join(text("too many") for _ in range(20)))
        while (came := client.read_frame()).opcode == TEXT:
            pass
        assert came == (True, CLOSE, b"\x03\xf0too many messages")
        client.send(close_frame(1008))
        client.expect_eof()
    server.wait_for_log("/: too many messages in a second")


def test_a_peer_that_sends_too_many_bytes_is_told_so(serve: Callable[..., Server]) -> None:
    server = serve(EXAMPLES / "seed.py", "--websockets-bytes-per-second", "1000")
    with RawClient.open(server.port) as client:
        client.send_text("x" * 800)
        client.expect_text("x" * 800)
        client.send(frame(TEXT, b"x" * 3_000))
        while (came := client.read_frame()).opcode == TEXT:
            pass
        assert came == (True, CLOSE, b"\x03\xf0too much data")


FLOODS = {
    "texts": text("too many") * 400,
    "fragments": text("t", fin=False) + frame(CONTINUATION, b"oo", fin=False) * 400,
    "empty fragments": frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 400,
    "pings": frame(PING, b"?") * 400,
    "pongs": frame(PONG, b"!") * 400,
    "pings in a message": text("t", fin=False) + frame(PING) * 400,
}
POLLING = """\
import time
import uwsgi

def application(environ, start_response):
    uwsgi.websocket_handshake()
    while True:
        while message := uwsgi.websocket_recv_nb():
            uwsgi.websocket_send(message)
        time.sleep(0.001)
"""


@pytest.fixture(
    scope="module",
    params=[
        *[(name, model) for name in ("http1", "tls", "http2", "uwsgi") for model in ("--gevent", "--threads")],
        ("http1", "polling"),
    ],
    ids=" ".join,
)
def limited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carrier]:
    name, model = request.param
    carry = next(each for each in CARRIERS if each.__name__ == name)
    with contextlib.ExitStack() as stack:

        def start(*more: str) -> Server:
            application = POLLING if model == "polling" else EXAMPLES / "seed.py"
            places = ("--gevent" if model == "polling" else model, "20")
            return stack.enter_context(Server(application, "--websockets-messages-per-second", "50", *places, *more))

        with carry(start, tmp_path_factory.mktemp("carrier")) as carrier:
            yield carrier


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_any_frames_is_ended(limited: Carrier, kind: str) -> None:
    with limited.open("/") as client:
        client.send(FLOODS[kind])
        while (came := RawClient.read_frame(client)).opcode in (TEXT, PONG):
            pass
        assert came == (True, CLOSE, b"\x03\xf0too many messages")


def test_a_peer_within_its_limit_may_send_frames_of_any_kind(limited: Carrier) -> None:
    with limited.open("/") as client:
        for _ in range(5):
            client.send(text("a", fin=False) + frame(PING, b"?") + frame(PONG) + frame(CONTINUATION, b"b"))
            client.expect(PONG, b"?")
            client.expect_text("ab")
        client.send(close_frame(1000))
        client.expect_close(1000)
