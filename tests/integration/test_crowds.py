"""Limits on how many WebSockets come in and how fast they may send, told to the clients that pass them."""

from __future__ import annotations

from collections.abc import Callable

from support.eventually import eventually
from support.server import EXAMPLES, Server
from support.websocket_client import CLOSE, TEXT, RawClient, close_frame, frame, handshake, text


def status(server: Server) -> int:
    with RawClient(server.port) as client:
        client.send(handshake("/"))
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
