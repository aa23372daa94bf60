"""A connection that threads read for themselves: what happens between two of their steps."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import get_hub
from support.breaking import ReadableStream, break_everywhere, ways_to_fail, working
from support.eventually import eventually
from support.limits import make_connection_settings
from support.streams import FailingStream
from support.websocket_client import PING, close_frame, frame, handshake, text

import uwsgi_ws
from uwsgi_ws.errors import ConnectionClosed
from uwsgi_ws.hub.hub_calls import HubCalls, use_hub_calls
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.net.stream import SocketStream
from uwsgi_ws.stats import Stats
from uwsgi_ws.threads.connection import ThreadConnection
from uwsgi_ws.threads.standby import StandbyReader

HELLO = bytes.fromhex("818500000000") + b"hello"
UNKNOWN_OPCODE = bytes.fromhex("838000000000")


class Halting(ThreadConnection):
    """Lets a test in after its close frame has gone, and before whoever receives is told."""

    __slots__ = ("halt",)

    def _on_close(self) -> None:
        self.halt()
        super()._on_close()


class Instance:
    """A connection, the peer's socket, and what a connection needs."""

    def __init__(self) -> None:
        hub = get_hub()
        self.hub_calls = HubCalls(hub)
        use_hub_calls(self.hub_calls)
        self.poller = Poller(hub)
        timers = Timers(hub)
        near, self.far = socket.socketpair()
        near.setblocking(False)
        self.stream = SocketStream(near, self.poller, timers, has_threads=True)
        settings = make_connection_settings(max_message_size=1_024, max_outbox=65_536)
        self.connection = Halting(
            self.stream,
            settings,
            self.poller,
            timers,
            Stats(),
            hub_calls=self.hub_calls,
            standby=StandbyReader(self.hub_calls),
        )
        self.connection.halt = lambda: None
        self.connection.start()

    def close(self) -> None:
        self.far.close()
        self.connection.abort()
        self.poller.close()
        use_hub_calls(None)
        self.hub_calls.close()


@pytest.fixture
def instance() -> Iterator[Instance]:
    instance = Instance()
    yield instance
    instance.close()


def in_thread(function: Callable[[], object]) -> list[Any]:
    """Have a thread call a function; return a list that will have what it returns or raises."""
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(function())
        except ConnectionClosed as exc:
            outcome.append(exc)

    threading.Thread(target=work, daemon=True).start()
    return outcome


def until(condition: Callable[[], object]) -> None:
    """Run the hub, which is this thread's, until something holds."""
    with gevent.Timeout(5):
        while not condition():
            gevent.sleep(0.001)


def test_whoever_is_woken_by_the_peer_s_going_is_told_that_we_have_closed(instance: Instance) -> None:
    """It goes as soon as it has our close frame: the socket may wake the thread before we do."""
    outcome = in_thread(instance.connection.recv)

    def halt() -> None:
        instance.connection.halt = lambda: None
        instance.far.close()
        eventually(lambda: not instance.hub_calls._wakeups)

    until(lambda: instance.hub_calls._wakeups)
    instance.connection.halt = halt
    instance.connection.close(4001, "from elsewhere")
    until(lambda: outcome)
    assert (outcome[0].code, outcome[0].reason) == (4001, "from elsewhere")


def test_its_descriptors_go_with_it_though_a_traceback_of_the_peer_s_fault_knows_who_received(
    instance: Instance,
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    outcome = in_thread(instance.connection.recv)
    until(lambda: instance.hub_calls._wakeups)
    instance.far.send(UNKNOWN_OPCODE)
    until(lambda: outcome)
    assert outcome[0].code == 1002
    instance.connection.abort()
    outcome.clear()
    until(lambda: len(os.listdir("/proc/self/fd")) < before)  # the socket is closed as well


def test_what_was_read_for_the_hub_reaches_the_thread_that_reads_for_itself(instance: Instance) -> None:
    instance.far.send(HELLO)
    assert instance.stream.next_greenlet() is None
    outcome = in_thread(instance.connection.recv)
    until(lambda: outcome)
    assert outcome == ["hello"]


def test_an_answer_is_not_held_for_a_turn_that_is_not_the_thread_s(instance: Instance) -> None:
    def work() -> None:
        for _ in range(200):
            instance.connection.send("x")

    instance.connection._engine.messages.append((1, b"more to be answered"))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()  # the hub, which is this thread's, has had no turn
    assert instance.far.recv(1_000) == b"\x81\x01x" * 200


@ways_to_fail
@pytest.mark.parametrize("is_plain", [True, False], ids=["lent", "by the hub"])
@pytest.mark.parametrize("end", [close_frame(1000), text("close") + close_frame(4001), b"\x83\x80\0\0\0\0"])
def test_a_websocket_that_breaks_anywhere_leaves_nothing(end: bytes, is_plain: bool, how: dict[str, Any]) -> None:
    """A thread reads a plain stream for itself; what is not one, as TLS, is read by the hub."""

    def echo(environ: dict[str, Any], start_response: Any) -> Any:
        connection = uwsgi_ws.accept(environ)
        for message in connection:
            if message == "close":
                connection.close(4001)
            else:
                connection.send("x" * 200_000 if message == "large" else message)
        return []

    def make_stream(*pieces: bytes, **how: Any) -> FailingStream:
        stream = ReadableStream(*pieces, **how)
        stream.is_plain = is_plain
        return stream

    talk = [text("hello"), text("in ", fin=False), frame(PING) + frame(0, b"two"), text("large"), text("more")]
    with working(echo, has_threads=True) as worker:
        stream = break_everywhere(worker, worker.http1, handshake(), *talk, end, make=make_stream, room=100_000, **how)
    sent = bytes(stream.sent)
    assert all(part in sent for part in (b"hello", b"in two", b"x" * 200_000, b"more"))
