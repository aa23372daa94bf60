"""WebSockets that applications have left to the server: what their functions get, what ends them, what is held."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.carriers import CARRIERS, OPTIONS, Carrier
from support.eventually import eventually
from support.http_client import fetch
from support.server import APPLICATIONS, Server, finish
from support.websocket_client import BINARY, PING, RawClient, close_frame, frame, handshake, text

APPLICATION = APPLICATIONS / "detached.py"
DIRECT = {"http1", "uwsgi", "tls", "http2"}
GREENLETS, THREADS = ("--gevent", "20"), ("--threads", "20")


def ways() -> Iterator[Any]:
    for carry in CARRIERS:
        if carry.__name__ in DIRECT:
            for concurrency in (GREENLETS, THREADS):
                yield pytest.param((carry, concurrency), id=f"{carry.__name__}{concurrency[0]}")


@pytest.fixture(scope="module", params=ways())
def carrier(request: Any, tmp_path_factory: Any) -> Iterator[Carrier]:
    carry, concurrency = request.param
    with contextlib.ExitStack() as stack:

        def start(*options: str) -> Server:
            server = Server(APPLICATION, *concurrency, *OPTIONS, *options)
            stack.callback(finish, server, allow_traceback=True)
            return server

        yield stack.enter_context(carry(start, tmp_path_factory.mktemp(carry.__name__)))


def asked(carrier: Carrier, path: str) -> Any:
    return json.loads(carrier.fetch("GET", path)[1])


def expect_end(carrier: Carrier, code: int, reason: str = "") -> None:
    """Wait until the application has been told of an end, once."""
    before = [code, reason, False]
    eventually(lambda: before in asked(carrier, "/ends"))


def test_messages_are_answered_in_their_order(carrier: Carrier) -> None:
    with carrier.open("/") as client:
        client.send(b"".join(text(str(number)) for number in range(50)))
        for number in range(50):
            client.expect_text(str(number))
        client.send(frame(BINARY, bytes(70_000)))
        client.expect_binary(bytes(70_000))
        client.finish(3001)
    expect_end(carrier, 3001)


@pytest.mark.parametrize("path", ["/", "/middle", "/late"])
def test_what_comes_with_the_handshake_is_answered(carrier: Carrier, path: str) -> None:
    early = text("for recv") if path == "/late" else b""
    with carrier.open(path, early=early + text("a") + text("b")) as client:
        client.expect_text("a")
        client.expect_text("b")
        client.finish()


def test_a_function_may_receive(carrier: Carrier) -> None:
    with carrier.open("/") as client:
        client.send_text("ask")
        client.expect_text("well?")
        client.send_text("this")
        client.expect_text("so this")
        client.finish()


def test_a_function_may_be_replaced(carrier: Carrier) -> None:
    with carrier.open("/") as client:
        client.send(text("turn") + text("loud"))
        client.expect_text("turned")
        client.expect_text("LOUD")
        client.finish(3004)
    expect_end(carrier, 3004)


def test_messages_before_a_close_frame_are_answered(carrier: Carrier) -> None:
    with carrier.open("/") as client:
        client.send(text("a") + text("b") + close_frame(3002, b"enough"))
        client.expect_text("a")
        client.expect_text("b")
        client.expect_close(3002)
    expect_end(carrier, 3002, "enough")


@pytest.mark.parametrize("order", ["raise", "exit", "raise what another end raises"])
def test_a_function_that_raises_ends_its_connection_alone(carrier: Carrier, order: str) -> None:
    with carrier.open("/") as other, carrier.open("/") as client:
        client.send(text(order) + text("this is not answered"))
        client.expect_close(1011)
        client.send(close_frame(1011))
        other.send_text("still here")
        other.expect_text("still here")
        other.finish()
    expect_end(carrier, 1011)


def test_a_function_may_close(carrier: Carrier) -> None:
    with carrier.open("/") as client:
        client.send(text("close") + text("this is not answered"))
        client.expect_close(4000, "as ordered")
        client.send(close_frame(4000))
    expect_end(carrier, 4000, "as ordered")


def test_one_that_waits_keeps_its_own_messages_alone(carrier: Carrier) -> None:
    with carrier.open("/") as waiting, carrier.open("/") as other:
        waiting.send(text("wait") + text("behind it"))
        other.send_text("a")
        other.expect_text("a")
        other.send_text("mark")
        waiting.expect_text("waited")
        waiting.expect_text("behind it")
        waiting.finish()
        other.finish()


def test_a_copy_of_the_process_has_no_part_in_it(carrier: Carrier) -> None:
    with carrier.open("/") as client:
        client.send(text("fork") + text("a"))
        client.expect_text("forked")
        client.expect_text("a")
        client.send_text("b")
        client.expect_text("b")
        client.finish(3003)
    expect_end(carrier, 3003)
    assert len(set(re.findall(r"an end in (\d+)", carrier.server.log))) == 1


def test_channels_and_pings_go_on(carrier: Carrier) -> None:
    with carrier.open("/deaf") as client:
        client.send_text("nobody wants it")
        client.stay_idle(0.7, pings=1)
        carrier.fetch("POST", "/publish", b"news")
        client.expect_text("news")
        client.send(frame(PING, b"are you there"))
        client.expect_pong(b"are you there")
        client.finish()


@pytest.mark.parametrize("path", ["/failing", "/mistaken"])
def test_an_application_that_raises_has_detached_nothing(carrier: Carrier, path: str) -> None:
    before = asked(carrier, "/ends")
    with carrier.open(path) as client:
        client.expect_close(1011)
    assert asked(carrier, "/ends") == before


def test_nothing_of_the_request_is_held_and_of_an_ended_one_nothing_at_all(carrier: Carrier) -> None:
    def held() -> dict[str, int]:
        counts: dict[str, int] = asked(carrier, "/held")
        return counts

    none = eventually(lambda: (counts := held())["Detached"] == 0 and counts)
    clients = [carrier.open("/") for _ in range(6)]
    for client in clients:
        client.send_text("a")
        client.expect_text("a")
    with_clients = eventually(lambda: (counts := held())["_BorrowedGreenlet"] == 0 and counts)
    assert with_clients["Detached"] == 6
    assert with_clients["StreamRequest"] + with_clients["Http2Request"] <= 1, "the one that asks"
    ends = ("finish", "reset", "close")
    for number, client in enumerate(clients):
        getattr(client, ends[number % 3])()
        client.close()
    after = eventually(lambda: (counts := held())["Detached"] == 0 and counts)
    eventually(lambda: held()["Connection"] + held()["ThreadConnection"] == 0)
    assert after["greenlets"] <= none["greenlets"] + 1


# One worker at a time


@pytest.fixture(params=[GREENLETS, THREADS], ids=["greenlets", "threads"])
def concurrency(request: Any) -> tuple[str, str]:
    return request.param  # type: ignore[no-any-return]


def test_one_that_waits_keeps_no_request_where_those_run_one_at_a_time() -> None:
    with Server(APPLICATION, concurrency=()) as server, RawClient.open(server.port) as client:
        client.send_text("wait")
        client.send(frame(PING, b"taken"))
        client.expect_pong(b"taken")
        assert fetch(server.addresses[0], "/ends").status == 200
        with RawClient.open(server.port) as other:
            other.send_text("mark")
            client.expect_text("waited")


def test_a_function_may_use_gevent() -> None:
    with Server(APPLICATION, *GREENLETS) as server, RawClient.open(server.port) as client:
        client.send_text("spawn")
        client.expect_text("from a greenlet")
        client.send_text("timeout")
        client.expect_close(1011)


def test_each_keeps_its_place(concurrency: tuple[str, str]) -> None:
    with Server(APPLICATION, concurrency[0], "2") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient.open(server.port)) for _ in range(2)]
        for client in clients:
            client.send_text("a")
            client.expect_text("a")
        with RawClient(server.port) as third:
            third.send(handshake("/") + text("b"))
            clients[1].send_text("a")
            clients[1].expect_text("a")
            assert not select.select([third.sock], [], [], 0)[0]
            clients[0].finish()
            assert third.read_response().status == 101
            third.expect_text("b")
        clients[1].finish()


def test_a_server_that_stops_tells_the_clients_and_the_application(
    concurrency: tuple[str, str], tmp_path: Path
) -> None:
    with Server(APPLICATION, *concurrency) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient.open(server.port)) for _ in range(5)]
        os.kill(server.pid, signal.SIGINT)
        for client in clients:
            client.expect_close(1001, "server stops")
            client.close()
        assert server.wait() == 0
    finish(server, allow_traceback=False)


def test_a_function_that_never_returns_does_not_keep_the_server(concurrency: tuple[str, str]) -> None:
    with Server(APPLICATION, *concurrency, "--reload-mercy", "2") as server:
        with RawClient.open(server.port) as client:
            client.send(text("a") + text("never"))
            client.expect_text("a")
            os.kill(server.pid, signal.SIGINT)
            client.expect_close(1001, "server stops")
        assert server.wait(10) == 0


def test_a_function_that_waits_for_us_is_ended_with_the_server(concurrency: tuple[str, str]) -> None:
    with Server(APPLICATION, *concurrency, "--reload-mercy", "2") as server:
        with RawClient.open(server.port) as client:
            client.send(text("a") + text("listen"))
            client.expect_text("a")
            os.kill(server.pid, signal.SIGINT)
            client.expect_close(1001, "server stops")
        assert server.wait(10) == 0
    finish(server, allow_traceback=False)


def test_the_access_line_says_so() -> None:
    with Server(APPLICATION, *GREENLETS) as server:
        with RawClient.open(server.port) as client:
            client.finish()
        server.wait_for_log(r"websocket: received 0 messages .*, detached")
