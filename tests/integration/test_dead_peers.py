"""Keepalive in the background: dead peers are found whatever the application does, and the living are left alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from support.server import APPLICATIONS, Server, finish
from support.websocket_client import CLOSE, PING, PONG, TEXT, Frame, RawClient, frame, text

APPLICATION = APPLICATIONS / "dead_peers.py"
FREQ = TOLERANCE = 0.2  # seconds
#: Where the peer is one of those that live: a machine that is busy may keep it from answering for longer than that.
CALM_FREQ, CALM_TOLERANCE = 0.6, 3.0


def served(freq: float, tolerance: float) -> Iterator[Server]:
    options = ("--websockets-ping-freq", str(freq), "--websockets-pong-tolerance", str(tolerance))
    with Server(APPLICATION, *options) as server:
        yield server
        finish(server, allow_traceback=False)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    yield from served(FREQ, TOLERANCE)


@pytest.fixture(scope="module")
def calm_server() -> Iterator[Server]:
    yield from served(CALM_FREQ, CALM_TOLERANCE)


@pytest.mark.parametrize("application", ["echo", "sleep"])
def test_a_peer_that_never_answers_a_ping_is_given_up(server: Server, application: str) -> None:
    """Blocked in recv, or asleep and far from it."""
    with RawClient.open(server.port, f"/{application}") as client:
        begun = time.monotonic()
        assert client.read_frame().opcode == PING
        client.expect_close(1011, "no answer to a ping")
        client.expect_eof()
        assert FREQ + TOLERANCE <= time.monotonic() - begun < FREQ + TOLERANCE + 0.7
    server.wait_for_log(f"{application} ended: unable to (receive|send) websocket message")


def test_an_empty_pong_or_any_other_byte_is_a_sign_of_life(calm_server: Server) -> None:
    with RawClient.open(calm_server.port, "/echo") as client:
        for answer in (frame(PONG), text("x")[:3], text("x")[3:], frame(PONG, b"what?")):
            assert client.read_frame().opcode == PING
            client.send(answer)
            if answer == text("x")[3:]:
                client.expect_text("x")
        client.finish()


def test_a_peer_that_answers_its_pings_stays(calm_server: Server) -> None:
    with RawClient.open(calm_server.port, "/echo") as client:
        for _ in range(3):
            _, opcode, payload = client.read_frame()
            assert opcode == PING
            client.send(frame(PONG, payload))
        client.finish()


def test_a_peer_that_only_sends_is_never_given_up_nor_pinged(calm_server: Server) -> None:
    with RawClient.open(calm_server.port, "/echo") as client:
        end = time.monotonic() + 2 * CALM_FREQ + CALM_TOLERANCE
        while time.monotonic() < end:
            client.send_text("busy")
            client.expect_text("busy")
            time.sleep(CALM_FREQ / 10)  # the peer's own pace, far quicker than the pings
        client.finish()


def test_a_reader_that_is_slow_but_reads_is_not_given_up(server: Server) -> None:
    """Its pong waits behind the data that it has not read yet."""
    with RawClient.open(server.port, "/big", receive_buffer=65_536) as client:
        header = client.read(10)
        assert header == b"\x82\x7f" + (12_000_000).to_bytes(8, "big")
        begun = time.monotonic()
        for _ in range(60):
            client.read(100_000)
            time.sleep(FREQ / 20)  # it takes long, but never FREQ without a byte
        assert time.monotonic() - begun > FREQ + TOLERANCE
        client.read(6_000_000)
        client.send_text("still there?")
        while (answer := client.read_frame()).opcode == PING:
            pass
        assert answer == (True, TEXT, b"still there?")


def test_a_reader_that_has_stopped_is_given_up_and_its_sender_wakes(server: Server) -> None:
    with RawClient.open(server.port, "/big", receive_buffer=4_096) as client:
        client.read(10)
        server.wait_for_log("big ended: unable to send websocket binary message")


def test_zero_switches_it_off(serve: Callable[..., Server]) -> None:
    server = serve(APPLICATION, "--websockets-ping-freq", "0", "--websockets-pong-tolerance", "0.1")
    with RawClient.open(server.port, "/echo") as client:
        client.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.read_frame()
        client.send_text("still here")
        client.expect_text("still here")
        client.finish()


def test_after_our_close_frame_nobody_is_pinged(server: Server) -> None:
    """The peer does not answer the close frame either: it is given up in bounded time."""
    with RawClient.open(server.port, "/sleep") as client:
        answers: list[Frame] = []
        for _ in range(20):
            answers.append(client.read_frame())
            if answers[-1].opcode == CLOSE:
                break
            client.send(frame(PONG, answers[-1].payload))
        assert [answer.opcode for answer in answers[-2:]] == [TEXT, CLOSE]
        client.send(frame(CLOSE, b"\x03\xe8"))
        client.expect_eof()
