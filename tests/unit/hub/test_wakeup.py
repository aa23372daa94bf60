"""Where native threads wait for descriptors by themselves."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator

import gevent
import pytest
from gevent import get_hub
from support.eventually import eventually

from uwsgi_ws.hub.hub_calls import HubCalls
from uwsgi_ws.hub.wakeup import Wakeup


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_bytes_a_ring_or_the_deadline_end_the_wait(pair: tuple[socket.socket, socket.socket]) -> None:
    bell = Wakeup(pair[0].fileno())
    begun = time.monotonic()
    bell.wait(begun + 0.02)
    assert time.monotonic() >= begun + 0.02
    bell.ring()
    bell.wait(None)
    bell.wait(None)  # it stays rung
    bell.silence()
    bell.silence()
    pair[1].send(b"x")
    bell.wait(None)


def test_its_descriptor_goes_with_it(pair: tuple[socket.socket, socket.socket]) -> None:
    before = os.listdir("/proc/self/fd")
    bell = Wakeup(pair[0].fileno())
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    del bell
    assert os.listdir("/proc/self/fd") == before


def test_who_waits_there_can_be_interrupted_and_nobody_else(pair: tuple[socket.socket, socket.socket]) -> None:
    crossing = HubCalls(get_hub())
    bell = Wakeup(pair[0].fileno())
    caught: list[BaseException] = []

    def work() -> None:
        for _ in range(2):
            try:
                crossing.wait(bell, time.monotonic() + 10)
            except KeyError as exc:
                caught.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    assert thread.ident is not None
    for number in range(2):
        eventually(lambda: crossing.interrupt(thread.ident or 0, KeyError(number)))  # noqa: B023  # called at once
        eventually(lambda: len(caught) > number)  # noqa: B023
    thread.join()
    assert not crossing.interrupt(thread.ident, KeyError("late"))
    gevent.sleep(0)
    crossing.close()
