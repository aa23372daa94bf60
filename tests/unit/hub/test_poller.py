"""The poller, on real sockets and greenlets: who gets the thread, and past whom."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import gevent
import greenlet
import pytest

from uwsgi_ws.hub.poller import Poller, Receiver, Watched


class Party(Watched):
    """One end of a pair of sockets; a greenlet waits for what the other end sends."""

    def __init__(self, poller: Poller, log: list[str], name: str) -> None:
        self.near, self.far = socket.socketpair()
        self.poller = poller
        self.log = log
        self.name = name
        self.is_simple = True
        self.came = b""
        self.waiter: Any = None
        self.watcher = poller.watcher(self.near.fileno())
        poller.watch(self.watcher, self)

    def wait(self, times: int = 1) -> None:
        for _ in range(times):
            self.waiter = greenlet.getcurrent()
            self.poller.wait()
            self.waiter = None
            self.log.append(self.name)

    def next_greenlet(self) -> Any:
        self.came = self.near.recv(1)  # and nobody else can read it again
        return self.waiter if self.is_simple else None

    def readable(self) -> None:
        assert greenlet.getcurrent() is self.poller.hub
        self.log.append(f"{self.name} in the hub")
        if self.came == b"!":
            raise RuntimeError("on purpose")

    def close(self) -> None:
        self.watcher.stop()
        self.watcher.close()
        self.near.close()
        self.far.close()


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller(gevent.get_hub())
    yield poller
    poller.close()


@pytest.fixture
def parties(poller: Poller, log: list[str]) -> Iterator[list[Party]]:
    parties = [Party(poller, log, name) for name in "abc"]
    yield parties
    for party in parties:
        party.close()


def switches(run: Any) -> list[tuple[Any, Any]]:
    """Run something and return the switches between greenlets that it takes."""
    seen: list[tuple[Any, Any]] = []
    before = greenlet.settrace(lambda event, pair: seen.append(pair) if event == "switch" else None)
    try:
        run()
    finally:
        greenlet.settrace(before)
    return seen


def test_within_a_batch_the_thread_goes_past_the_hub(parties: list[Party], log: list[str], poller: Poller) -> None:
    waiting = [gevent.spawn(party.wait, 2) for party in parties]
    gevent.sleep(0)
    for party in parties:
        party.far.send(b"x")
    seen = switches(lambda: gevent.sleep(0.01))
    assert sorted(log) == ["a", "b", "c"]
    among_themselves = [pair for pair in seen if poller.hub not in pair]
    assert len(among_themselves) == 2, seen
    for party in parties:
        party.far.send(b"x")
    gevent.joinall(waiting, timeout=5, raise_error=True)
    assert sorted(log) == ["a", "a", "b", "b", "c", "c"]


def test_what_is_not_simple_is_left_to_the_hub_and_the_batch_goes_on(parties: list[Party], log: list[str]) -> None:
    waiting = [gevent.spawn(parties[0].wait, 2), gevent.spawn(parties[2].wait, 2)]
    gevent.sleep(0)
    parties[1].is_simple = False
    for _ in range(2):
        for party in parties:
            party.far.send(b"x")
        gevent.sleep(0.01)
    gevent.joinall(waiting, timeout=5, raise_error=True)
    assert sorted(log) == ["a", "a", "b in the hub", "b in the hub", "c", "c"]


def test_the_hub_may_have_more_to_do_before_it_sees_to_what_was_left_to_it(
    parties: list[Party], log: list[str], poller: Poller
) -> None:
    """As one HTTP/2 connection has for several streams."""
    ears = [gevent.spawn(lambda: (poller.hub.switch(), poller.wait())) for _ in range(2)]
    gevent.sleep(0)
    for party in parties:
        party.is_simple = False
    parties[2].readable = lambda: [ear.switch() for ear in ears]  # type: ignore[method-assign]
    for party in parties:
        party.far.send(b"x")
    gevent.sleep(0.01)
    assert sorted(log) == ["a in the hub", "b in the hub"]
    gevent.killall(ears)


def test_one_s_trouble_is_told_and_the_others_are_served(
    parties: list[Party], log: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = [gevent.spawn(parties[0].wait), gevent.spawn(parties[2].wait)]
    gevent.sleep(0)
    parties[1].is_simple = False
    parties[1].far.send(b"!")
    for party in parties[::2]:
        party.far.send(b"x")
    gevent.joinall(waiting, timeout=5, raise_error=True)
    assert "RuntimeError: on purpose" in capsys.readouterr().err


def test_a_greenlet_may_find_its_own_bytes(parties: list[Party], log: list[str], poller: Poller) -> None:
    """Something else has woken it, while its bytes were in the batch already."""
    own, other = parties[:2]

    def run() -> None:
        poller.hub.switch()
        own.wait()

    waiting = gevent.spawn(run)
    gevent.sleep(0)
    other.is_simple = False
    other.readable = waiting.switch  # type: ignore[method-assign]
    for party in (own, other):
        party.watcher.stop()
        party.far.send(b"x")
    poller.ready += [own, other]  # the last one is taken first
    poller.hub.loop.run_callback(poller._dispatch)
    waiting.join(5)
    assert log == ["a"]


def test_waiting_in_the_hub_returns_at_once(poller: Poller) -> None:
    done = []
    poller.hub.loop.run_callback(lambda: done.append(poller.wait()))
    gevent.sleep(0)
    assert done == [()]


def test_a_killed_waiter_is_gone(parties: list[Party], log: list[str]) -> None:
    waiter = gevent.spawn(parties[0].wait)
    gevent.sleep(0)
    waiter.kill()
    assert log == []


def test_what_must_be_said() -> None:
    assert Receiver().take_if_simple(b"x") is None
    with pytest.raises(NotImplementedError):
        Receiver().receive(b"x")
    with pytest.raises(NotImplementedError):
        Watched().next_greenlet()
    with pytest.raises(NotImplementedError):
        Watched().readable()
