"""One behaviour, whatever carries it: a suite over every way from a client to an application (support/carriers.py)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.carriers import CARRIERS, DEPLOY, OPTIONS, Carrier
from support.event_source import Event
from support.eventually import eventually
from support.languages import LANGUAGES
from support.server import APPLICATIONS, ROOT, Server, finish
from support.websocket_client import BINARY, CONTINUATION, PING, PONG, TEXT, close_frame, frame, text

APPLICATION = APPLICATIONS / "carriers.py"
#: Where no program stands in between: these alone are tried with threads in the quick run.
DIRECT = {"http1", "uwsgi", "tls", "http2"}
#: Behind programs that not everybody has installed, and some of which take long to start.
HEAVY = {"envoy", "caddy", "traefik"}


def ways() -> Iterator[Any]:
    """Every carrier, with an application on greenlets and in native threads, and in other processes and languages."""
    for carry in CARRIERS:
        name = carry.__name__
        yield pytest.param((carry, "--gevent", None), id=name, marks=[pytest.mark.long] if name in HEAVY else [])
        if name == "gunicorn" or name in HEAVY:
            continue  # its worker has greenlets only; what is behind a proxy of HTTP is tried by the others
        marks = [] if name in DIRECT else [pytest.mark.long]
        yield pytest.param((carry, "--threads", None), id=f"{name}-threads", marks=marks)
        for language in LANGUAGES:
            marks = [] if name in DIRECT and language is not LANGUAGES[0] else [pytest.mark.long]
            yield pytest.param((carry, "--gevent", language), id=f"{name}-{language.__name__}", marks=marks)


@pytest.fixture(scope="module", params=ways())
def carrier(request: Any, tmp_path_factory: Any) -> Iterator[Carrier]:
    carry, concurrency, language = request.param
    application, more = (APPLICATION, ()) if language is None else (None, language(tmp_path_factory.mktemp("built")))
    with contextlib.ExitStack() as stack:

        def start(*options: str, **others: Any) -> Server:
            ours = () if "program" in others else (concurrency, "50", *OPTIONS, *more)
            server = Server(application, *ours, *options, **others)
            stack.callback(finish, server, allow_traceback=False)
            return server

        folder = tmp_path_factory.mktemp(carry.__name__)
        yield stack.enter_context(carry(start, folder))


# Lengths on both sides of the frame header's three forms (RFC 6455 5.2).
@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_messages_come_back(carrier: Carrier, length: int) -> None:
    with carrier.open("/echo") as client:
        client.send_text("x" * length)
        client.expect_text("x" * length)
        client.send(frame(BINARY, bytes(length)))
        client.expect_binary(bytes(length))
        client.finish()


def test_the_largest_message_comes_back(carrier: Carrier) -> None:
    message = os.urandom(1 << 20)
    with carrier.open("/echo") as client:
        client.send(frame(BINARY, message))
        client.expect_binary(message)
        client.finish()


def test_fragments_come_back_as_one_message_and_a_ping_between_them_at_once(carrier: Carrier) -> None:
    with carrier.open("/echo") as client:
        client.send(frame(TEXT, b"Gr\xc3", fin=False))
        client.send(frame(PING, b"still there?"))
        client.expect(PONG, b"still there?")
        client.send(frame(CONTINUATION, b"\xbc\xc3\x9f", fin=False) + frame(CONTINUATION, b"e"))
        client.expect_text("Grüße")
        client.finish()


def test_what_is_sent_with_the_handshake_is_the_first_message(carrier: Carrier) -> None:
    """A frame and a half: the rest comes when the connection is open."""
    if not carrier.takes_early:
        pytest.skip("the program in front loses it")
    with carrier.open("/echo", early=text("early") + text("late")[:4]) as client:
        client.expect_text("early")
        client.send(text("late")[4:])
        client.expect_text("late")
        client.finish()


@pytest.mark.parametrize("code", [1000, 3001, 4999])
def test_the_clients_close_code_reaches_the_application_and_comes_back(carrier: Carrier, code: int) -> None:
    with carrier.open(f"/echo?{code}") as client:
        client.send(close_frame(code, b"that was it"))
        client.expect_close(code)
        client.expect_eof()
    carrier.server.wait_for_log(f"{code} ended {code} that was it$")


def test_the_applications_close_code_reaches_the_client(carrier: Carrier) -> None:
    with carrier.open("/close") as client:
        client.send_text("go on")
        client.expect_close(4001, "enough")
        client.send(close_frame(4001))
        client.expect_eof()


def test_a_subprotocol_is_agreed_on(carrier: Carrier) -> None:
    with carrier.open("/echo", {"Sec-WebSocket-Protocol": "chat.v1, chat.v2"}) as client:
        assert client.response.headers["sec-websocket-protocol"] == "chat.v2"
        client.finish()


def test_a_half_closed_connection_ends(carrier: Carrier) -> None:
    with carrier.open("/echo?half") as client:
        client.send_text("one")
        client.expect_text("one")
        client.half_close()
        client.expect_end()
    carrier.server.wait_for_log("half ended 1006 $")


def test_a_client_that_is_gone_ends_its_application(carrier: Carrier) -> None:
    client = carrier.open("/echo?gone")
    client.send_text("one")
    client.expect_text("one")
    client.reset()
    carrier.server.wait_for_log("gone ended 1006 $")


def test_one_call_of_recv_nb_per_readiness_of_connection_fd_gets_every_message(carrier: Carrier) -> None:
    with carrier.open("/nonblocking") as client:
        client.send(b"".join(text(f"message {number}") for number in range(20)))
        for number in range(20):
            client.expect_text(f"message {number}")
        client.finish()


def test_pings_keep_an_idle_connection_longer_than_anybody_on_the_way_has_patience(carrier: Carrier) -> None:
    with carrier.open("/echo") as client:
        client.stay_idle(1.5 * carrier.patience, pings=2)
        client.send_text("awake")
        client.expect_text("awake")
        client.finish()


# Nobody reads while he sends here, so what is under way must fit into what the kernel and the server take: a unix
# socket holds no more than a dozen messages of 10,000 bytes in each direction.


def test_fifty_messages_may_be_under_way(carrier: Carrier) -> None:
    with carrier.open("/echo") as client:
        client.send(b"".join(frame(BINARY, bytes((number,)) * 1_000) for number in range(50)))
        for number in range(50):
            client.expect_binary(bytes((number,)) * 1_000)
        client.finish()


def test_some_messages_are_under_way_all_the_time(carrier: Carrier) -> None:
    ahead = 8
    with carrier.open("/echo") as client:
        for number in range(100 + ahead):
            if number < 100:
                client.send(frame(BINARY, bytes((number,)) * 10_000))
            if number >= ahead:
                client.expect_binary(bytes((number - ahead,)) * 10_000)
        client.finish()


@pytest.mark.parametrize(("method", "size"), [("GET", 0), ("POST", 1), ("PUT", 100_000)])
def test_ordinary_requests_are_answered(carrier: Carrier, method: str, size: int) -> None:
    body = os.urandom(size)
    response, came, _ = carrier.fetch(method, "/body", body)
    assert (response.status, response.headers["x-method"]) == (200, method)
    assert came == body


def test_a_body_in_chunks_is_read(carrier: Carrier) -> None:
    response, came, _ = carrier.fetch("POST", "/body", b"in chunks", chunked=True)
    assert response.status == 200
    assert came == b"in chunks"


def test_the_application_learns_who_the_client_is(carrier: Carrier) -> None:
    _, who, port = carrier.fetch("GET", "/client")
    if carrier.tells_client:
        assert who.decode() == f"127.0.0.1 {port}"


#: Event streams are Python's.
OF_PYTHON = [way for way in ways() if way.values[0][2] is None]


@pytest.mark.parametrize("carrier", OF_PYTHON, indirect=True)
def test_an_event_stream_brings_what_is_published_and_ends_with_its_client(carrier: Carrier) -> None:
    """Its comments keep it open where a program on the way gives up after some silence."""

    def publish(text: str) -> int:
        return int(carrier.fetch("POST", "/publish?news", text.encode())[1])

    with carrier.events("/events?news") as events:
        assert (events.status, events.headers["content-type"]) == (200, "text/event-stream")
        assert "content-encoding" not in events.headers
        eventually(lambda: publish("first\r\nline two") == 1)
        assert events.next() == Event("first\nline two")
        until = time.monotonic() + carrier.patience * 1.2
        while time.monotonic() < until or not events.comments:
            events.wait_for_comment()
        assert publish("second") == 1
        assert events.next() == Event("second")
    eventually(lambda: publish("nobody hears it") == 0)


def test_a_stop_closes_with_1001(carrier: Carrier) -> None:
    """The last test of a carrier: afterwards its server is gone."""
    with carrier.open("/echo?drained") as client:
        client.send_text("one")
        client.expect_text("one")
        os.kill(carrier.server.pid, signal.SIGINT)
        client.expect_close(1001, "server stops")
        client.send(close_frame(1001))
        client.expect_end()
    eventually(lambda: "drained ended 1001 " in carrier.server.log)
    assert carrier.server.wait() == 0


def test_every_server_in_front_is_a_carrier_and_stands_in_the_page() -> None:
    page = (ROOT / "docs" / "proxies.md").read_text()
    support = (ROOT / "tests" / "support" / "carriers.py").read_text()
    for path in DEPLOY.iterdir():
        if path.suffix not in (".conf", ".cfg", ".ini"):
            continue
        assert f'"{path.name}"' in support
        assert f"(../examples/deploy/{path.name})" in page
