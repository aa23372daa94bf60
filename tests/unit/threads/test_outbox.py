"""What threads write by: the lock must be open while the hub does what is its own to do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import gevent
from gevent import get_hub
from support.streams import FailingStream, MemoryStream

from uwsgi_ws.hub.cork import Cork
from uwsgi_ws.hub.hub_calls import HubCalls, in_hub
from uwsgi_ws.stats import Stats
from uwsgi_ws.threads.outbox import ThreadOutbox, make_lock, outside
from uwsgi_ws.websocket.outbox import Overflow


class Endless:
    """A loop whose turns never end: what is held stays held."""

    def run_callback(self, callback: Callable[[], None]) -> None:
        pass


class Owner:
    def __init__(self) -> None:
        self.lock = make_lock()
        self.told: list[str] = []

    def enter(self) -> None:
        assert self.lock.acquire(timeout=5), "the thread has kept the lock"
        self.lock.release()

    def outbox_lost(self) -> None:
        with outside(self.lock):
            in_hub(self.enter)
        self.told.append("lost")

    def outbox_waits(self) -> None:
        self.told.append("waits")

    def outbox_is_empty(self) -> None:
        self.told.append("empty")

    def outbox_overflows(self) -> None:
        raise AssertionError


def outbox_of(stream: MemoryStream) -> tuple[ThreadOutbox, Owner]:
    owner = Owner()
    written_to: Any = stream  # in memory: it has what an outbox calls, and no more
    return ThreadOutbox(owner, written_to, get_hub(), Cork(Endless()), Stats(), 1_000, owner.lock), owner


def in_thread(owner: Owner, function: Callable[..., object], *args: object) -> list[object]:
    """Have a thread call a function inside the lock; return a list that will have what it returns."""
    outcome: list[object] = []

    def work() -> None:
        with owner.lock:
            result = function(*args)
        outcome.append(result)

    threading.Thread(target=work, daemon=True).start()
    return outcome


def awaited(outcome: list[object]) -> list[object]:
    """Run the hub, which is this thread's, until there is an outcome."""
    with gevent.Timeout(10):
        while not outcome:
            gevent.sleep(0.001)
    return outcome


def test_what_the_hub_holds_goes_first_and_in_the_same_write(hub_calls: HubCalls) -> None:
    stream = MemoryStream(room=100)
    outbox, owner = outbox_of(stream)
    assert outbox.offer(b"first", Overflow.CLOSE)
    assert awaited(in_thread(owner, outbox.send, b"second")) == [True]
    assert stream.sent == b"firstsecond"
    assert outbox.is_empty


def test_a_thread_whose_peer_has_gone_leaves_the_lock_to_the_hub(hub_calls: HubCalls) -> None:
    outbox, owner = outbox_of(FailingStream(at=1))
    assert outbox.offer(b"first", Overflow.CLOSE)
    assert awaited(in_thread(owner, outbox.send, b"second")) == [False]
    assert owner.told == ["lost"]


def test_the_hub_writes_what_a_thread_could_not_and_wakes_it(hub_calls: HubCalls) -> None:
    stream = MemoryStream(room=4)
    outbox, owner = outbox_of(stream)
    outcome = in_thread(owner, outbox.send, b"halfway")
    with gevent.Timeout(5):
        while stream.writable is None:
            gevent.sleep(0.001)
    assert not outcome
    assert owner.told == ["waits"]
    owner.enter()
    stream.room = 100
    assert stream.writable is not None
    get_hub().loop.run_callback(stream.writable)
    assert awaited(outcome) == [True]
    assert stream.sent == b"halfway"
    assert owner.told == ["waits", "empty"]


def test_a_connection_that_ends_before_the_hub_is_asked_to_wait_is_not_waited_for(hub_calls: HubCalls) -> None:
    stream = MemoryStream(room=0)
    outbox, owner = outbox_of(stream)
    thread = threading.Thread(target=outbox.put_rest, args=(memoryview(b"rest"),))
    thread.start()
    thread.join()  # the hub, which is this thread's, has had no turn
    outbox.close()
    later: list[object] = []
    get_hub().loop.run_callback_threadsafe(later.append, "after what the thread has left")
    awaited(later)
    assert stream.writable is None
    assert owner.told == []
