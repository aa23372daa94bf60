"""Messages that wait for the application: all of them come in the end, and they take no more memory than is said."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from support.eventually import eventually
from support.server import APPLICATIONS, Server, finish
from support.websocket_client import BINARY, CONTINUATION, TEXT, RawClient, close_frame, frame, text

APPLICATION = APPLICATIONS / "waiting_messages.py"
FLOOD = 30_000


@pytest.fixture(scope="module", params=["--gevent", "--threads"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(APPLICATION, request.param, "30") as server:
        yield server
        finish(server, allow_traceback=False)


numbers = itertools.count()


def ask(server: Server, path: str) -> int:
    with urllib.request.urlopen(server.url(f"/{path}"), timeout=10) as answer:
        return int(json.load(answer))


def large(client: RawClient) -> None:
    """What has the server read much at once from now on."""
    client.send(frame(BINARY, b"x" * 500_000))


@pytest.mark.parametrize("way", ["blocking", "iterating", "timed", "polling", "streaming"])
@pytest.mark.parametrize(
    "message", [text("x"), text("x", fin=False) + frame(CONTINUATION)], ids=["whole", "in fragments"]
)
def test_a_flood_that_had_to_wait_comes_whole(server: Server, way: str, message: bytes) -> None:
    number = next(numbers)
    with RawClient.open(server.port, f"/{way}/{number}") as client:
        large(client)
        sender = threading.Thread(target=client.send, args=(message * FLOOD + text("last") + close_frame(1000),))
        sender.start()
        ask(server, f"wake/{number}")
        client.expect_text(str(FLOOD))
        client.expect_close(1000)
        sender.join()


@pytest.mark.parametrize(
    "message",
    [text("xy"), frame(BINARY), text("xy", fin=False) + frame(CONTINUATION), frame(TEXT, b"x" * 1_000)],
    ids=["short", "empty", "in fragments", "longer"],
)
def test_what_waits_takes_no_more_than_64_kib_and_one_read(server: Server, message: bytes) -> None:
    number = next(numbers)
    clients = 10
    with contextlib.ExitStack() as stack:
        sleeping = [stack.enter_context(RawClient.open(server.port, f"/nothing/{number}")) for _ in range(clients)]
        for client in sleeping:
            large(client)
        before = eventually(lambda: settled(server), 20)
        for client in sleeping:
            client.sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    client.sock.send(message * 10_000)
        after = eventually(lambda: settled(server), 20)
        assert (after - before) / clients < 65_536 + 262_144 + 20_000
        for client in sleeping:
            client.reset()
    ask(server, f"wake/{number}")


def settled(server: Server) -> int:
    """Return the bytes in use once they stay the same."""
    sizes = [ask(server, "memory/") for _ in range(3)]
    return sizes[0] if max(sizes) - min(sizes) < 40_000 else 0
