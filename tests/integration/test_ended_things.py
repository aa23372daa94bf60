"""What has ended holds nothing: no bytes of the peer's, no object, whatever ended it, over every carrier."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from support.carriers import CARRIERS, Carrier, PoliteClient
from support.eventually import eventually
from support.http2_client import Http2Client, StreamSocket
from support.server import APPLICATIONS, Server
from support.tls import Authority
from support.websocket_client import BINARY, CLOSE, CONTINUATION, PING, TEXT, RawClient, close_frame, frame

pytestmark = pytest.mark.matrix

APPLICATION = APPLICATIONS / "ended_things.py"
#: Those that a worker has none of while no WebSocket is open.
WEBSOCKETS = {
    "Connection",
    "ThreadConnection",
    "WebSocket",
    "Assembler",
    "Outbox",
    "ThreadOutbox",
    "RateLimit",
    "Tunnel",
}
PIECE = 262_144  # bytes of a message that never ends
CLIENTS = 6

# Each is one client's end, in the middle of a message: it gets the open client, and what orders its application about.
Order = Callable[[str], object]
ENDS: dict[str, Callable[[PoliteClient, Order], None]] = {}


def expect_code(client: PoliteClient, code: int) -> None:
    _, opcode, payload = client.read_frame()
    assert (opcode, payload[:2]) == (CLOSE, code.to_bytes(2, "big")), payload[:80]


def end(function: Callable[[PoliteClient, Order], None]) -> Callable[[PoliteClient, Order], None]:
    ENDS[function.__name__] = function
    return function


@end
def by_eof(client: PoliteClient, order: Order) -> None:
    client.send(frame(CONTINUATION, b"y" * 100, fin=False, length=PIECE))  # and in the middle of a frame
    client.close()


@end
def by_reset(client: PoliteClient, order: Order) -> None:
    client.reset()


@end
def by_fault(client: PoliteClient, order: Order) -> None:
    client.send(frame(TEXT, b"inside another message"))
    expect_code(client, 1002)
    client.close()


@end
def by_text_that_is_none(client: PoliteClient, order: Order) -> None:
    client.send(frame(CONTINUATION) + frame(TEXT, b"x" * PIECE + b"\xff"))
    expect_code(client, 1007)
    client.close()


@end
def by_closing_handshake(client: PoliteClient, order: Order) -> None:
    client.send(close_frame(1000))
    expect_code(client, 1000)
    client.close()


@end
def by_close_without_an_answer(client: PoliteClient, order: Order) -> None:
    order("close")
    expect_code(client, 4000)
    client.send(frame(CONTINUATION, b"y" * PIECE, fin=False))
    client.close()


@end
def by_return(client: PoliteClient, order: Order) -> None:
    order("return")
    expect_code(client, 1000)
    client.close()


@end
def by_exception(client: PoliteClient, order: Order) -> None:
    order("raise")
    expect_code(client, 1011)
    client.close()


@end
def by_exit(client: PoliteClient, order: Order) -> None:
    order("exit")
    expect_code(client, 1011)
    client.close()


@end
def by_abort(client: PoliteClient, order: Order) -> None:
    order("abort")
    client.expect_end()
    client.close()


@end
def by_silence(client: PoliteClient, order: Order) -> None:
    while (came := RawClient.read_frame(client)).opcode == PING:
        pass
    assert came.opcode == CLOSE
    client.close()


@contextlib.contextmanager
def routed(start: Callable[..., Server], folder: object) -> Iterator[Carrier]:
    """The way through another instance, of which what it holds itself is asked."""
    server = start("--gevent", "100")
    host, port = server.addresses[0]
    front = start("--route", f"^/([0-9]|order) http:{host}:{port}")
    yield Carrier(front, front.addresses[0])


@contextlib.contextmanager
def http2_connections(start: Callable[..., Server], folder: Path) -> Iterator[Carrier]:
    """Each WebSocket in an HTTP/2 connection of its own, which ends with it."""
    authority = Authority(folder)
    server = start("--https", f"127.0.0.1:0,{authority.issue()}")
    yield SeparateConnections(server, authority)


class SeparateConnections(Carrier):
    """Makes an HTTP/2 connection for each WebSocket.

    Args:
        server: Where it leads.
        authority: Whose certificate it shows.
    """

    def __init__(self, server: Server, authority: Authority) -> None:
        super().__init__(server, server.addresses[0])
        self._authority = authority

    def open(self, path: str, headers: Mapping[str, str] | None = None, early: bytes = b"") -> PoliteClient:
        connection = Http2Client(self.server.addresses[1], tls=self._authority.client_context())
        return OnlyStreamClient(connection.websocket_stream(path, (headers or {}).items(), early))  # type: ignore[arg-type]


class OnlyStreamClient(PoliteClient):
    """A WebSocket whose stream takes its connection with it."""

    sock: StreamSocket  # type: ignore[assignment]

    def reset(self) -> None:
        RawClient(self.sock.client.sock).reset()

    def close(self) -> None:
        self.sock.client.sock.close()


WAYS = [
    ("http1", ("--gevent", "100")),
    ("tls", ("--gevent", "100")),
    ("http2", ("--gevent", "100")),
    ("http1", ("--threads", "16")),
]
#: They end by the same code, with another stream below it.
FURTHER_WAYS = [
    ("http1_unix", ("--gevent", "100")),
    ("http2_connections", ("--gevent", "100")),
    ("routed", ()),
    ("uwsgi", ("--gevent", "100")),
    ("tls", ("--threads", "16")),
    ("http2", ("--threads", "16")),
    ("http1", ("--websockets-messages-per-second", "1000")),
]


@pytest.fixture(
    scope="module",
    params=[*WAYS, *(pytest.param(way, marks=pytest.mark.long) for way in FURTHER_WAYS)],
    ids=lambda way: f"{way[0]} {' '.join(way[1])}",
)
def carrier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carrier]:
    name, options = request.param
    ways = [*CARRIERS, routed, http2_connections]
    carry = next(each for each in ways if each.__name__ == name)
    with contextlib.ExitStack() as stack:

        def start(*more: str) -> Server:
            ping = ("--websockets-ping-freq", "1", "--websockets-pong-tolerance", "0.2")
            return stack.enter_context(Server(APPLICATION, *options, *ping, *more))

        with carry(start, tmp_path_factory.mktemp("carrier")) as carrier:
            yield carrier


def held(carrier: Carrier) -> tuple[dict[str, int], int]:
    report = json.loads(carrier.fetch("GET", "/held")[1])
    return report["counts"], report["bytes"]


numbers = itertools.count()


def live_and_die(carrier: Carrier, how: str, keep: str) -> None:
    """Have some clients open at the same time; each begins a message, and ends."""
    with contextlib.ExitStack() as stack:
        clients = []
        for number in itertools.islice(numbers, CLIENTS):
            client = stack.enter_context(carrier.open(f"/{number}/{keep}"))
            client.send(frame(BINARY, b"x" * PIECE, fin=False) + frame(PING, b"here?"))
            clients.append((client, number))
        for client, _ in clients:
            client.expect_pong(b"here?")  # the worker has it all
        for client, number in clients:
            ENDS[how](client, lambda order, number=number: carrier.fetch("GET", f"/order/{number}/{order}"))  # type: ignore[misc]


@pytest.mark.parametrize("keep", ["forgotten", "kept"])
@pytest.mark.parametrize("how", ENDS)
def test_it_holds_nothing(carrier: Carrier, how: str, keep: str) -> None:
    """By the application either: one that knows its connections for longer keeps small objects, and no payload."""
    live_and_die(carrier, how, "forgotten")  # what is made once is made
    counts, size = eventually(lambda: settled(carrier), 10)
    live_and_die(carrier, how, keep)

    def is_gone(*, entirely: bool) -> bool:
        now, size_now = held(carrier)
        assert size_now - size < PIECE / 2
        if entirely:
            assert {kind: count for kind, count in now.items() if count > counts.get(kind, 0)} == {}
        return True

    if keep == "kept":
        eventually(lambda: is_gone(entirely=False), 10)
        carrier.fetch("GET", "/forget")
    eventually(lambda: is_gone(entirely=True), 10)


def settled(carrier: Carrier) -> tuple[dict[str, int], int] | None:
    """Return what is held once that does not change any more."""
    before, now = held(carrier), held(carrier)
    return now if before[0] == now[0] and WEBSOCKETS.isdisjoint(now[0]) else None
