"""Limits on how many WebSockets come in, told to the clients that must wait."""

from __future__ import annotations

from collections.abc import Callable

from support.eventually import eventually
from support.server import EXAMPLES, Server
from support.websocket_client import RawClient, handshake


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
