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
from support.server import Server, finish
from support.websocket_client import BINARY, CONTINUATION, TEXT, RawClient, close_frame, frame, text

APPLICATION = """\
import ctypes, json, time
import uwsgi, uwsgi_ws

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2
AWAKE = set()

def sleep(number):
    while number not in AWAKE:
        time.sleep(0.01)

def blocking(ws):
    count = 0
    while len(ws.recv()) < 4:
        count += 1
    return count

def nothing(ws):
    return 0

def iterating(ws):
    count = 0
    for message in ws:
        if len(message) == 4:
            return count
        count += 1

def timed(ws):
    count = 0
    while (message := ws.recv(0.5)) is None or len(message) < 4:
        count += message is not None
    return count

def polling(ws):
    count = 0
    while (message := uwsgi.websocket_recv_nb()) == b"" or len(message) < 4:
        if message:
            count += 1
        else:
            time.sleep(0.001)
    return count

def streaming(ws):
    count = 0
    while len("".join(ws.recv_streaming())) < 4:
        count += 1
    return count

def application(environ, start_response):
    path, number = environ["PATH_INFO"][1:].split("/")
    if path in ("memory", "wake"):
        info = mallinfo2()
        AWAKE.add(number)
        body = json.dumps(info.uordblks + info.hblkhd).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    ws = uwsgi_ws.accept(environ)
    ws.recv()
    sleep(number)
    ws.send(str(globals()[path](ws)))
    ws.recv(5)
    return []
"""
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
