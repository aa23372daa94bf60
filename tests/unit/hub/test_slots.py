"""Slots: a bounded number of greenlets."""

from __future__ import annotations

from typing import Any

import gevent
from gevent.event import Event

from uwsgi_ws.hub.slots import Slots


def holder(slots: Slots, leave: Event) -> Any:
    def hold() -> None:
        try:
            leave.wait()
        finally:
            slots.give_back(gevent.getcurrent())

    return hold


def test_a_free_slot_goes_to_whoever_has_waited_for_longest_and_others_are_told_of_the_next() -> None:
    slots, leaves = Slots(2), [Event() for _ in range(5)]
    told: list[str] = []

    def take(number: int) -> None:
        told.append(f"{number}")
        slots.spawn(holder(slots, leaves[number]))

    for number in (0, 1):
        take(number)
    assert slots.full()
    slots.tell_free(lambda: told.append("free"))
    for number in (2, 3):
        slots.when_free(lambda number=number: take(number))
    leaves[0].set()
    gevent.sleep(0.01)
    assert (told, slots.full(), slots.has_waiting) == (["0", "1", "2"], True, True)
    leaves[1].set()
    gevent.sleep(0.01)
    assert (told[3:], slots.has_waiting) == (["3"], False)
    leaves[2].set()
    gevent.sleep(0.01)
    assert (told[4:], len(slots)) == (["free"], 1)
    leaves[3].set()
    gevent.sleep(0.01)
    assert (told[5:], len(slots)) == ([], 0)


def test_a_greenlet_that_is_killed_before_it_runs_gives_its_slot_back() -> None:
    slots, leave = Slots(2), Event()
    running = slots.spawn(holder(slots, leave))
    gevent.sleep(0)
    fresh = slots.spawn(holder(slots, leave))
    assert set(slots.kill()) == {running, fresh}
    gevent.joinall([running, fresh], timeout=5)
    assert (running.dead, fresh.dead, len(slots)) == (True, True, 0)
