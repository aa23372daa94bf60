"""Due times: what is due after the loop was blocked waits until what came meanwhile was read."""

from __future__ import annotations

import os
import time

import gevent
from gevent import get_hub

from uwsgi_ws.hub.timers import Timers


class Item:
    """Notes when it is asked."""

    wheel_slot = 0

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def tick(self, now: float) -> None:
        self.told.append("due")


def block(seconds: float) -> None:
    """Keep the loop from running."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_what_came_while_the_loop_was_blocked_is_read_first() -> None:
    told: list[str] = []
    hub = get_hub()
    timers = Timers(hub)
    reader, writer = os.pipe()
    watcher = hub.loop.io(reader, 1)

    def read() -> None:
        os.read(reader, 1)
        told.append("read")

    watcher.start(read)
    try:
        gevent.sleep(0)
        timers.schedule(Item(told), time.monotonic() + 0.05)
        os.write(writer, b"x")
        block(0.5)
        begun = time.monotonic()
        while "due" not in told and time.monotonic() < begun + 5:
            gevent.sleep(0.01)
        assert told == ["read", "due"]
    finally:
        watcher.stop()
        watcher.close()
        os.close(reader)
        os.close(writer)


def test_a_loop_that_is_always_late_goes_on() -> None:
    told: list[str] = []
    timers = Timers(get_hub())
    timers.schedule(Item(told), time.monotonic() + 0.05)
    for _ in range(3):
        block(0.3)
        gevent.sleep(0.001)
    assert told == ["due"]
