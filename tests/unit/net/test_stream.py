"""The stream over a socket: whose turn it is to read, and in which order bytes come."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from time import monotonic

import gevent
import pytest

from uwsgi_ws.net.clock import Clock
from uwsgi_ws.net.poller import Poller, Receiver
from uwsgi_ws.net.stream import SocketStream


class Ear(Receiver):
    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def receive(self, data: bytes) -> None:
        self.heard.append(data)


@pytest.fixture
def pair() -> Iterator[tuple[SocketStream, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    hub = gevent.get_hub()
    poller = Poller(hub)
    stream = SocketStream(near, poller, Clock(hub))
    with far:
        yield stream, far
        stream.close()
    poller.close()


def test_bytes_that_were_read_for_the_hub_wait_for_whoever_reads_next(
    pair: tuple[SocketStream, socket.socket],
) -> None:
    """A greenlet has read them, and the stream is paused, or read otherwise, before the hub sees to them."""
    stream, far = pair
    ear = Ear()
    stream.start_receiving(ear)
    far.send(b"one")
    assert stream.hand_over() is None
    far.send(b"two")
    assert stream.recv_now() == b"one"
    assert stream.recv_now() == b"two"
    assert stream.recv_now() is None
    far.send(b"three")
    assert stream.hand_over() is None
    stream.pause_receiving()
    stream.readable()
    assert ear.heard == []
    stream.start_receiving(ear)
    far.send(b"four")
    gevent.sleep(0.01)
    assert b"".join(ear.heard) == b"threefour"


def test_bytes_that_were_read_for_the_hub_stay_before_those_that_come_with_another_event(
    pair: tuple[SocketStream, socket.socket],
) -> None:
    stream, far = pair
    ear = Ear()
    stream.start_receiving(ear)
    far.send(b"one")
    assert stream.hand_over() is None
    far.send(b"two")
    assert stream.hand_over() is None
    gevent.sleep(0.01)
    assert b"".join(ear.heard) == b"onetwo"


def test_the_end_is_told_once(pair: tuple[SocketStream, socket.socket]) -> None:
    stream, far = pair
    ear = Ear()
    stream.start_receiving(ear)
    far.send(b"last")
    far.close()
    gevent.sleep(0.01)
    assert ear.heard == [b"last", b""]
    stream.readable()
    assert ear.heard == [b"last", b""]


def test_each_wait_ends_at_its_own_time_whatever_the_clock_was_asked_for_before(
    pair: tuple[SocketStream, socket.socket],
) -> None:
    """A later wait may be a shorter one, and one that goes on past the time that the clock will call at."""
    stream, far = pair
    far.send(b"x")
    assert stream.recv(30.0) == b"x"
    for timeout in (0.2, 0.01, 0.3, 0.2, 0.05):
        gevent.spawn_later(timeout / 2, far.send, b"y")
        assert stream.recv(timeout) == b"y"
        began = monotonic()
        with pytest.raises(TimeoutError):
            stream.recv(timeout)
        assert timeout <= monotonic() - began < timeout + 5


def test_a_closed_stream_reads_and_writes_nothing(pair: tuple[SocketStream, socket.socket]) -> None:
    stream, _ = pair
    stream.close()
    for call in (lambda: stream.recv_now(), lambda: stream.send(b"x"), lambda: stream.sendmsg([b"x", b"y"])):
        with pytest.raises(OSError, match="descriptor"):
            call()
    assert stream.fileno() == -1
    assert stream.hand_over() is None
    stream.readable()
