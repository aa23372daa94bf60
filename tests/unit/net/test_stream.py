"""The stream over a socket: whose turn it is to read, and in which order bytes come."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import gevent
import pytest

from uwsgi_ws.hub.poller import Poller, Receiver
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.net.stream import SocketStream


class Ear(Receiver):
    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def receive(self, data: bytes) -> None:
        self.heard.append(data)


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller(gevent.get_hub())
    yield poller
    poller.close()


@pytest.fixture
def pair(poller: Poller) -> Iterator[tuple[SocketStream, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.settimeout(5)
    stream = SocketStream(near, poller, Timers(gevent.get_hub()))
    with far:
        yield stream, far
        stream.close()


def test_bytes_that_were_read_for_the_hub_wait_for_whoever_reads_next(
    pair: tuple[SocketStream, socket.socket],
) -> None:
    """A greenlet has read them, and the stream is paused, or read otherwise, before the hub sees to them."""
    stream, far = pair
    ear = Ear()
    stream.start_receiving(ear)
    far.send(b"one")
    assert stream.next_greenlet() is None
    far.send(b"two")
    assert stream.recv_now() == b"one"
    assert stream.recv_now() == b"two"
    assert stream.recv_now() is None
    far.send(b"three")
    assert stream.next_greenlet() is None
    stream.pause_receiving()
    stream.readable()
    assert ear.heard == []
    stream.start_receiving(ear)
    far.send(b"four")
    gevent.sleep(0.01)
    assert b"".join(ear.heard) == b"threefour"


def test_a_greenlet_that_parks_after_the_stream_was_found_readable_is_woken(
    pair: tuple[SocketStream, socket.socket],
) -> None:
    """It had been elsewhere when its turn came, so the rest was left to the hub."""
    stream, far = pair
    far.send(b"one")
    assert stream.recv(5) == b"one"
    assert stream.next_greenlet() is None
    reader = gevent.spawn(stream.recv, 5)
    gevent.sleep(0)
    gevent.get_hub().loop.run_callback(stream.readable)
    gevent.sleep(0)
    far.send(b"two")
    assert reader.get(timeout=5) == b"two"


def test_bytes_that_were_read_for_the_hub_stay_before_those_that_come_with_another_event(
    pair: tuple[SocketStream, socket.socket],
) -> None:
    stream, far = pair
    ear = Ear()
    stream.start_receiving(ear)
    far.send(b"one")
    assert stream.next_greenlet() is None
    far.send(b"two")
    assert stream.next_greenlet() is None
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
    """A later wait may be a shorter one, and one that goes on past the time that the timers will call at."""
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
    assert stream.next_greenlet() is None
    stream.readable()


# Answers that may go out at the end of the turn


@pytest.fixture
def busy(
    poller: Poller, pair: tuple[SocketStream, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[SocketStream, socket.socket]]:
    """A pair in a turn in which others wait to be answered, by an application that takes no time."""
    poller.now = 1.0
    monkeypatch.setattr("uwsgi_ws.hub.cork.monotonic", lambda: 1.0)
    while not poller.cork.may_cork(1.0):
        pass
    poller.ready.append(pair[0])
    yield pair
    poller.ready.clear()


def end_of_turn(poller: Poller) -> None:
    poller.ready.clear()
    gevent.sleep(0)


def received(far: socket.socket) -> bytes:
    far.setblocking(False)
    try:
        return far.recv(1_000_000)
    except BlockingIOError:
        return b""


def test_an_answer_waits_for_the_end_of_the_turn(poller: Poller, busy: tuple[SocketStream, socket.socket]) -> None:
    stream, far = busy
    stream.answer(b"one", 5.0)
    assert stream.has_unsent
    assert received(far) == b""
    end_of_turn(poller)
    assert not stream.has_unsent
    assert received(far) == b"one"


def test_an_answer_goes_at_once_where_nobody_else_waits(pair: tuple[SocketStream, socket.socket]) -> None:
    stream, far = pair
    for _ in range(20):
        stream.answer(b"one", 5.0)
        assert received(far) == b"one"


@pytest.mark.parametrize("way", ["answer", "send_all", "sendfile", "shutdown", "close"])
def test_what_comes_after_an_answer_takes_it_along(
    poller: Poller, busy: tuple[SocketStream, socket.socket], way: str, tmp_path: Path
) -> None:
    stream, far = busy
    file = tmp_path / "file"
    file.write_bytes(b"two")
    stream.answer(b"one", 5.0)
    if way == "sendfile":
        with file.open("rb") as opened:
            stream.sendfile(opened.fileno(), 0, 3, 5.0)
    elif way in ("shutdown", "close"):
        getattr(stream, way)()
    else:
        getattr(stream, way)(b"two", 5.0)
    assert received(far) == (b"one" if way in ("shutdown", "close") else b"onetwo")
    assert not stream.has_unsent
    end_of_turn(poller)
    assert received(far) == b""


def test_what_the_kernel_does_not_take_of_an_answer_goes_when_it_does(
    poller: Poller, busy: tuple[SocketStream, socket.socket]
) -> None:
    stream, far = busy
    full = 0
    while sent := stream.send(b"x" * 1_000):
        full += sent
    stream.answer(b"one", 5.0)
    end_of_turn(poller)
    assert stream.has_unsent
    taken = b""
    with gevent.Timeout(5):
        while not taken.endswith(b"one"):
            taken += received(far)
            gevent.sleep(0)
    assert taken == b"x" * full + b"one"
    assert not stream.has_unsent


def test_an_answer_to_somebody_who_has_gone_is_forgotten(
    poller: Poller, busy: tuple[SocketStream, socket.socket]
) -> None:
    stream, far = busy
    stream.answer(b"one", 5.0)
    far.close()
    end_of_turn(poller)
    assert not stream.has_unsent
    with pytest.raises(BrokenPipeError):
        stream.send_all(b"two", 5.0)


@pytest.mark.parametrize(("is_writing", "timeout"), [(False, None), (False, 60), (True, 60)])
def test_whoever_waits_for_a_stream_is_told_when_another_greenlet_closes_it(
    pair: tuple[SocketStream, socket.socket], is_writing: bool, timeout: float | None
) -> None:
    stream, _ = pair
    if is_writing:
        waiting = gevent.spawn(stream.send_all, bytes(10_000_000), timeout)
    else:
        waiting = gevent.spawn(stream.recv, timeout)
    gevent.sleep(0)
    assert not waiting.ready()
    stream.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        waiting.get(timeout=5)


def test_a_closed_stream_is_known_to_nobody(poller: Poller) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    timers = Timers(gevent.get_hub())
    stream = SocketStream(near, poller, timers)

    def wait_in_vain() -> None:
        try:
            stream.recv(0.001)
        except TimeoutError:
            pass

    with far:
        gevent.spawn(wait_in_vain).get(timeout=5)
    timers.schedule(stream, monotonic() + 60)
    stream.close()
    assert stream.wheel_slot == 0
    assert sys.getrefcount(stream) == 2
