"""Who has to go for somebody who waits, and in which order."""

from __future__ import annotations

import math
from time import monotonic
from typing import Any

import gevent
import pytest

from uwsgi_ws.request.base import Request
from uwsgi_ws.server.eviction import Evictor


class Client:
    """A front whose client has kept us waiting for so many seconds."""

    has_streams = False

    def __init__(self, waits: float = math.inf, *, idle: bool = False, moments: bool = False) -> None:
        self.owes_since = monotonic() - waits if waits < math.inf else math.inf
        self.is_idle = idle
        self.has_moments = moments
        self.request: Request | None = None
        self.moved: int | None = None
        self.is_evicted = False

    def progress(self) -> int | None:
        return self.moved

    def evict(self) -> None:
        self.is_evicted = True


class Worker:
    """One that is full, and where somebody waits until a client has left for each who does."""

    def __init__(self, *clients: Client, waiting: int = 1) -> None:
        self.slots = dict(enumerate(clients))
        self.waiting = waiting
        self.calm = 0
        self.evictor = Evictor(
            gevent.get_hub(),
            lambda: list(self.slots.items()),  # type: ignore[arg-type]  # what it asks of a front is there
            lambda greenlet, front: self.slots.get(greenlet) is front,  # type: ignore[comparison-overlap]
            lambda: self.waiting > 0,
            self.be_calm,
            lambda request: request.websocket is not None,
        )

    def be_calm(self) -> None:
        self.calm += 1

    def evicted(self) -> list[Client]:
        """Press until nobody waits, each evicted client's place being taken by one who does; return them in turn."""
        found: list[Client] = []
        for _ in range(self.waiting):
            self.evictor.press()
            for number, client in list(self.slots.items()):
                if client.is_evicted:
                    found.append(self.slots.pop(number))
                    self.waiting -= 1
        return found


def request(*, is_over: bool = False, websocket: Any = None) -> Request:
    made = Request({"REQUEST_METHOD": "GET"}, 0, 0)
    made.websocket = websocket
    if is_over:
        made.end()
    return made


def test_idle_clients_go_first_then_those_without_a_request_and_the_oldest_of_each() -> None:
    young, old = Client(1.5), Client(9)
    idle_young, idle_old = Client(0.1, idle=True), Client(5, idle=True)
    fresh = Client(0.5)
    worker = Worker(young, idle_young, fresh, old, idle_old, waiting=5)
    assert worker.evicted() == [idle_old, idle_young, old, young]
    assert not fresh.is_evicted


def test_a_connection_that_many_share_is_not_idle_for_a_moment() -> None:
    moment, idle = Client(0.1, idle=True, moments=True), Client(3, idle=True, moments=True)
    assert Worker(moment, idle, waiting=2).evicted() == [idle]


def test_nobody_goes_while_nobody_waits() -> None:
    client = Client(9)
    assert Worker(client, waiting=0).evicted() == []
    worker = Worker(client)
    worker.waiting = 0
    worker.evictor.press()
    assert not client.is_evicted


def test_who_has_left_already_does_not_go_in_the_place_of_another() -> None:
    clients = [Client(9 - number) for number in range(4)]
    worker = Worker(*clients)
    assert worker.evicted() == clients[:1]
    del worker.slots[1]
    worker.waiting = 1
    assert worker.evicted() == [clients[2]]
    assert not clients[1].is_evicted


@pytest.mark.parametrize(
    ("moved", "is_over", "websocket", "goes"),
    [
        pytest.param([0, 0], False, None, True, id="nothing comes"),
        pytest.param([0, 100], False, None, True, id="next to nothing comes"),
        pytest.param([0, None], False, None, False, id="the application is at work"),
        pytest.param([0, 0], True, None, True, id="the answer is not taken"),
        pytest.param([0, 0], False, object(), False, id="a WebSocket"),
    ],
)
def test_a_request_goes_when_it_waits_for_a_client_that_does_nothing(
    moved: list[int | None], is_over: bool, websocket: Any, goes: bool
) -> None:
    client = Client()
    client.request = request(is_over=is_over, websocket=websocket)
    worker = Worker(client)
    client.moved = moved[0]
    worker.evictor.press()
    client.moved = moved[1]
    with gevent.Timeout(10 if goes else 2.6, False):
        while not client.is_evicted:
            gevent.sleep(0.05)
    assert client.is_evicted == goes
    worker.waiting = 0


def test_what_comes_steadily_is_enough() -> None:
    client = Client()
    client.request = request()
    client.moved = 0
    worker = Worker(client)
    worker.evictor.press()
    for _ in range(30):
        client.moved += 500
        gevent.sleep(0.1)
    assert not client.is_evicted
    worker.waiting = 0


def test_it_says_when_nobody_waits_any_more() -> None:
    worker = Worker(Client(9))
    worker.evicted()
    with gevent.Timeout(5):
        while not worker.calm:
            gevent.sleep(0.01)
