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


def test_bytes_a_wake_or_the_deadline_end_the_wait(pair: tuple[socket.socket, socket.socket]) -> None:
    wakeup = Wakeup(pair[0].fileno())
    begun = time.monotonic()
    wakeup.wait(begun + 0.02)
    assert time.monotonic() >= begun + 0.02
    wakeup.wake()
    wakeup.wait(None)
    wakeup.wait(None)  # it holds
    wakeup.clear()
    wakeup.clear()
    pair[1].send(b"x")
    wakeup.wait(None)


def test_its_descriptor_goes_with_it(pair: tuple[socket.socket, socket.socket]) -> None:
    before = os.listdir("/proc/self/fd")
    wakeup = Wakeup(pair[0].fileno())
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    del wakeup
    assert os.listdir("/proc/self/fd") == before


def test_who_waits_there_can_be_interrupted_and_nobody_else(pair: tuple[socket.socket, socket.socket]) -> None:
    hub_calls = HubCalls(get_hub())
    wakeup = Wakeup(pair[0].fileno())
    caught: list[BaseException] = []

    def work() -> None:
        for _ in range(2):
            try:
                hub_calls.wait(wakeup, time.monotonic() + 10)
            except KeyError as exc:
                caught.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    assert thread.ident is not None
    for number in range(2):
        eventually(lambda: hub_calls.interrupt(thread.ident or 0, KeyError(number)))  # noqa: B023  # called at once
        eventually(lambda: len(caught) > number)  # noqa: B023
    thread.join()
    assert not hub_calls.interrupt(thread.ident, KeyError("late"))
    gevent.sleep(0)
    hub_calls.close()
