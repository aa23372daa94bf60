"""Channels as applications use them: both APIs, from everywhere a message may be published."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.engines import Engine
from support.eventually import eventually
from support.server import APPLICATIONS, Server, finish
from support.websocket_client import RawClient

import uwsgi_ws

APPLICATION = APPLICATIONS / "channels.py"

Serve = Callable[..., Server]


CARRIERS = [
    (engine, mode)
    for engine in ("pipes", "redis", "valkey", "sentinel", "cluster")
    for mode in ("--gevent", "--threads")
]


@pytest.fixture(scope="module", params=CARRIERS, ids=" ".join)
def server(request: pytest.FixtureRequest, shared_engine: Callable[[str], Engine]) -> Iterator[Server]:
    name, mode = request.param
    options = ("--websockets-max-size", "256", "--channel", "lobby", *shared_engine(name).options)
    with Server(APPLICATION, mode, "100", *options) as server:
        yield server
        finish(server, allow_traceback=False)


class Client(RawClient):
    """Calls functions of the application by JSON."""

    def call(self, *call: object) -> Any:
        self.send_text(json.dumps(call))
        return json.loads(self.read_frame().payload)

    def say(self, *call: object) -> None:
        """Call what returns nothing."""
        self.send_text(json.dumps(call))


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[[], Client]]:
    clients: list[Client] = []

    def new(path: str = "/") -> Client:
        client = Client.open(server.port, path)
        assert isinstance(client, Client)
        clients.append(client)
        return client

    yield new
    for client in clients:
        client.close()
    eventually(lambda: get(server, "/count") == b"0")


def get(server: Server, path: str) -> bytes:
    with urllib.request.urlopen(server.url(path)) as response:
        return response.read()  # type: ignore[no-any-return]


def test_who_has_joined_gets_text_and_binary_messages_his_own_too(connect: Callable[..., Client]) -> None:
    ann, bob = connect(), connect()
    for client in (ann, bob):
        assert client.call("join", "lobby") == "joined"
    ann.say("publish", "lobby", "Grüße")
    ann.say("publish_bytes", "lobby", [0, 255])
    ann.say("publish_to_others", "lobby", "not to me")
    ann.say("publish", "lobby", "")
    for client, also in ((ann, []), (bob, ["not to me"])):
        client.expect_text("Grüße")
        client.expect_binary(b"\x00\xff")
        for message in also:
            client.expect_text(message)
        client.expect_text("")


def test_joining_twice_is_joining_once_and_leaving_twice_is_leaving(connect: Callable[..., Client]) -> None:
    client = connect()
    client.call("join", "lobby")
    client.call("join", "lobby", "drop")
    assert client.call("count", "lobby") == 1
    client.say("publish", "lobby", "once")
    client.expect_text("once")
    assert client.call("leave", "lobby") == "left"
    assert client.call("leave", "lobby") == "left"
    assert client.call("count", "lobby") == 0
    client.say("publish", "lobby", "to nobody")
    assert client.call("count", "lobby") == 0


def test_messages_come_while_the_application_is_elsewhere(connect: Callable[..., Client]) -> None:
    busy, other = connect("/busy"), connect()
    eventually(lambda: other.call("count", "lobby") == 1)
    other.say("publish", "lobby", "do not wait for recv")
    busy.expect_text("do not wait for recv")


@pytest.mark.parametrize(
    ("path", "message"),
    [("/publish", "from a request"), ("/greenlet", "from a greenlet"), ("/thread", "from a thread")],
)
def test_anything_in_a_worker_may_publish(
    server: Server, connect: Callable[..., Client], path: str, message: str
) -> None:
    client = connect()
    client.call("join", "lobby")
    get(server, path)
    client.expect_text(message)


def test_a_connection_that_ends_leaves_its_channels(server: Server, connect: Callable[..., Client]) -> None:
    client, other = connect(), connect()
    for channel in ("lobby", "room 1", "room 2"):
        client.call("join", channel)
    other.call("join", "lobby")
    client.finish()
    eventually(lambda: get(server, "/count") == b"1")
    assert other.call("count", "room 1") == 0


def test_a_client_that_has_gone_leaves_even_while_the_application_is_elsewhere(
    server: Server, connect: Callable[..., Client]
) -> None:
    for end in (Client.reset, lambda client: client.finish(1001)):
        busy = connect("/busy")
        eventually(lambda: get(server, "/count") == b"1")
        end(busy)
        eventually(lambda: get(server, "/count") == b"0")


def test_a_subscription_gives_messages_to_a_greenlet(connect: Callable[..., Client]) -> None:
    one, two = "{room} one", "{room} two"  # of one slot of a Cluster, or there would be no order between them
    client = connect()
    assert client.call("subscribe", one, two) == "subscribed"
    assert client.call("count", one) == 1
    assert client.call("recv", 0) == "nothing"
    assert client.call("recv", 0.01) == "nothing"
    client.say("publish", one, "first")
    client.say("publish_bytes", two, [1, 2])
    client.say("publish", "three", "elsewhere")
    assert client.call("recv", None) == "first"
    assert client.call("recv", None) == [1, 2]
    assert client.call("recv", 0) == "nothing"
    client.say("publish", one, "last")
    assert client.call("unsubscribe") == "closed"
    assert client.call("count", one) == 0


def test_a_subscription_that_is_too_slow_is_closed(connect: Callable[..., Client]) -> None:
    came, dropped = connect().call("flood", 20, 100, "close")
    assert came == [*range(10), "the subscription was closed: its messages were not taken in time"]
    assert dropped == 1


def test_or_loses_the_new_messages_or_the_old_ones(connect: Callable[..., Client]) -> None:
    assert connect().call("flood", 25, 100, "drop") == [[*range(10)], 15]
    assert connect().call("flood", 25, 100, "conflate") == [[20, 21, 22, 23, 24], 20]


def test_uwsgi_s_names(server: Server, connect: Callable[..., Client]) -> None:
    ann, bob = connect(), connect()
    assert ann.call("uwsgi", "websocket_channel_join", "lobby") == "done"
    assert bob.call("uwsgi", "channel_join", "lobby") == "done"
    assert bob.call("uwsgi", "channel_join", "lobby") == "done"
    assert bob.call("count", "lobby") == 2
    assert bob.call("uwsgi", "channel_send", "lobby", "hello") == "done"
    ann.expect_text("hello")
    assert bob.call("uwsgi", "channel_recv", "lobby") == list(b"hello")
    assert bob.call("uwsgi", "channel_recv", "lobby", 0.01) == "done", "None"
    bob.say("channel_send_bytes", "lobby", list("Grüße".encode()))
    ann.expect_text("Grüße")
    bob.say("channel_send_bytes", "lobby", [255])
    ann.expect_binary(b"\xff")
    assert bob.call("uwsgi", "channel_leave", "lobby") == "done"
    assert bob.call("uwsgi", "channel_recv", "lobby").endswith("unable to receive channel message")
    assert ann.call("uwsgi", "websocket_channel_leave", "lobby") == "done"
    assert bob.call("count", "lobby") == 0
    assert get(server, "/plain") == b""
    eventually(lambda: bob.call("count", "lobby") == 0)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (("publish_large", "lobby", 262_145), "ChannelError: message of 262145 bytes, 262144 allowed"),
        (("join", "lobby", "wait"), "ValueError: 'wait' is not a valid Overflow"),
        (("join", "n" * 65_536), "ValueError: the name of a channel has 65536 bytes, 65535 allowed"),
        (("join", 7), "TypeError: the name of a channel is a str, not int"),
        (("publish", 7, "message"), "TypeError: the name of a channel is a str, not int"),
        (("publish", "lobby", 7), "TypeError: a message is str or bytes-like, not int"),
        (("uwsgi", "channel_send", "lobby", 7), "TypeError: argument 2 must be str"),
        (("channel_send_large", "lobby", 262_145), "ChannelError: unable to send channel message"),
        (("uwsgi", "channel_recv", "lobby"), "ChannelError: unable to receive channel message"),
    ],
)
def test_what_cannot_be_done_is_said(connect: Callable[..., Client], call: tuple[Any, ...], problem: str) -> None:
    assert connect().call(*call).startswith(problem)


def test_outside_of_a_worker_there_is_no_bus() -> None:
    for call in (lambda: uwsgi_ws.publish("a", "b"), lambda: uwsgi_ws.subscribe("a"), lambda: uwsgi_ws.count("a")):
        with pytest.raises(uwsgi_ws.InvalidState, match="no worker runs in this process"):
            call()


def test_ten_subscribers_that_read_nothing_do_not_slow_a_thousand(serve: Serve) -> None:
    server = serve(APPLICATION, "--gevent", "1100", "--websockets-max-outbox", "64")
    stuck = [Client.open(server.port, receive_buffer=4_096) for _ in range(10)]
    quick = [Client.open(server.port) for _ in range(990)]
    publisher = Client.open(server.port)
    for client in (*stuck, *quick):
        assert client.call("join", "lobby") == "joined"
    for client in stuck:
        client.call("join", "flood")
    before = memory(server)
    for _ in range(100):  # until the kernel's buffers are full, and the 64 KiB
        assert publisher.call("publish_many", "flood", 10, 10_000) == "published"
        publisher.say("publish", "lobby", "meanwhile")
        for client in quick[::90]:
            client.expect_text("meanwhile")
    assert publisher.call("count", "lobby") == 990
    assert memory(server) - before < 16 << 20
    for client in quick:
        client.reset()
    for client in (*stuck, publisher):
        client.close()


def memory(server: Server) -> int:
    """Resident bytes of the server's process."""
    with open(f"/proc/{server.pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4_096
