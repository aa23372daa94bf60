"""The wheel of due times, told the time."""

from __future__ import annotations

import tracemalloc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.hub.wheel import Wheel

RESOLUTION = 0.05


class Item:
    """Notes when it was asked, and answers with the times it was given."""

    def __init__(self, *answers: float | None) -> None:
        self.wheel_slot = 0
        self.answers = list(answers)
        self.asked_at: list[float] = []

    def tick(self, now: float) -> float | None:
        self.asked_at.append(now)
        return self.answers.pop(0) if self.answers else None


def test_an_empty_wheel_has_nothing_due() -> None:
    wheel = Wheel()
    assert wheel.next_due() is None
    wheel.advance(1000.0)


def test_an_item_is_asked_at_its_due_time_and_not_before() -> None:
    wheel, item = Wheel(RESOLUTION), Item()
    wheel.schedule(item, 10.0)
    wheel.advance(9.999)
    assert item.asked_at == []
    due = wheel.next_due()
    assert due is not None
    assert 10.0 <= due <= 10.0 + RESOLUTION
    wheel.advance(due)
    assert item.asked_at == [due]
    assert wheel.next_due() is None


def test_an_item_that_answers_none_leaves_the_wheel() -> None:
    wheel, item = Wheel(), Item(None)
    wheel.schedule(item, 1.0)
    wheel.advance(2.0)
    wheel.advance(100.0)
    assert len(item.asked_at) == 1
    assert item.wheel_slot == 0


def test_an_item_that_answers_a_time_is_asked_again_then() -> None:
    wheel, item = Wheel(), Item(20.0)
    wheel.schedule(item, 10.0)
    wheel.advance(11.0)
    wheel.advance(19.9)
    assert item.asked_at == [11.0]
    wheel.advance(20.1)
    assert item.asked_at == [11.0, 20.1]


def test_a_later_time_does_not_replace_an_earlier_one() -> None:
    wheel, item = Wheel(), Item()
    wheel.schedule(item, 10.0)
    wheel.schedule(item, 50.0)
    wheel.advance(10.1)
    wheel.advance(60.0)
    assert item.asked_at == [10.1]


def test_an_earlier_time_replaces_a_later_one() -> None:
    wheel, item = Wheel(), Item()
    wheel.schedule(item, 50.0)
    wheel.schedule(item, 10.0)
    wheel.advance(10.1)
    assert item.asked_at == [10.1]
    wheel.advance(60.0)
    assert item.asked_at == [10.1], "its old place is empty"


def test_an_item_that_comes_back_to_a_place_it_has_left_is_asked_once_there() -> None:
    wheel, item = Wheel(), Item(50.0, None)
    wheel.schedule(item, 50.0)
    wheel.schedule(item, 10.0)
    wheel.advance(10.1)
    wheel.advance(60.0)
    assert item.asked_at == [10.1, 60.0]


def test_items_are_asked_in_the_order_of_their_times() -> None:
    wheel = Wheel()
    order: list[str] = []

    class Named(Item):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def tick(self, now: float) -> float | None:
            order.append(self.name)
            return None

    for name, due in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
        wheel.schedule(Named(name), due)
    wheel.advance(5.0)
    assert order == ["a", "b", "c"]


def test_an_item_may_schedule_others_while_it_is_asked() -> None:
    wheel, late, soon = Wheel(), Item(), Item()

    class Parent(Item):
        def tick(self, now: float) -> float | None:
            wheel.schedule(soon, now + 1)
            wheel.schedule(late, now + 10)
            return None

    wheel.schedule(Parent(), 1.0)
    wheel.advance(1.1)
    wheel.advance(2.2)
    assert (len(soon.asked_at), len(late.asked_at)) == (1, 0)


def test_an_item_that_fails_leaves_the_others_of_its_time_to_be_asked() -> None:
    class Failing(Item):
        def tick(self, now: float) -> float | None:
            raise RuntimeError("not today")

    wheel, before, failing, after = Wheel(RESOLUTION), Item(), Failing(), Item()
    for item in (before, failing, after):
        wheel.schedule(item, 1.0)
    with pytest.raises(RuntimeError, match="not today"):
        wheel.advance(2.0)
    wheel.advance(2.0)
    assert (before.asked_at, after.asked_at) == ([2.0], [2.0])
    wheel.schedule(before, 3.0)
    wheel.advance(10.0)
    assert before.asked_at == [2.0, 10.0]


def test_an_item_that_fails_takes_no_other_times_with_it() -> None:
    wheel, other = Wheel(), Item()

    class Broken(Item):
        def tick(self, now: float) -> float | None:
            raise RuntimeError("broken")

    wheel.schedule(Broken(), 1.0)
    wheel.schedule(other, 2.0)
    with pytest.raises(RuntimeError):
        wheel.advance(1.5)
    wheel.advance(2.5)
    assert other.asked_at == [2.5]


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 100)), max_size=30), st.lists(st.floats(0, 10), max_size=30))
def test_no_item_is_asked_early_or_more_than_one_slot_late(
    schedules: list[tuple[int, float]], steps: list[float]
) -> None:
    wheel = Wheel(RESOLUTION)
    items = [Item() for _ in range(5)]
    earliest: dict[int, float] = {}
    for number, due in schedules:
        wheel.schedule(items[number], due)
        earliest[number] = min(due, earliest.get(number, due))
    now = 0.0
    for step in [*steps, 200.0]:
        before, now = now, now + step
        wheel.advance(now)
        for number, due in earliest.items():
            if due + RESOLUTION + 1e-6 < before:
                assert items[number].asked_at, "it was due before"
            if now < due - 1e-6:
                assert not items[number].asked_at, "it is early"
    for number, item in enumerate(items):
        assert len(item.asked_at) == (number in earliest)
        assert item.wheel_slot == 0


def test_an_item_that_is_removed_is_neither_asked_nor_known() -> None:
    class Weak(Item):
        """A class of its own, so that a weak reference can be made."""

    wheel, gone, other = Wheel(), Weak(5.0), Item()
    wheel.schedule(gone, 1.0)
    wheel.schedule(other, 1.0)
    wheel.remove(gone)
    wheel.remove(gone)
    assert gone.wheel_slot == 0
    known = weakref.ref(gone)
    del gone
    assert known() is None
    wheel.advance(2.0)
    assert other.asked_at == [2.0]


def test_an_item_that_moves_to_an_earlier_time_is_known_there_only() -> None:
    wheel, item = Wheel(), Item()
    wheel.schedule(item, 50.0)
    wheel.schedule(item, 10.0)
    wheel.remove(item)
    wheel.advance(60.0)
    assert item.asked_at == []
    assert wheel.next_due() is None


def test_an_item_may_remove_itself_and_others_while_it_is_asked() -> None:
    wheel, other = Wheel(), Item()

    class Leaving(Item):
        def tick(self, now: float) -> float | None:
            wheel.remove(self)
            wheel.remove(other)
            return super().tick(now)

    leaving = Leaving()
    wheel.schedule(other, 1.0)
    wheel.schedule(leaving, 1.0)  # the last of a slot is asked first
    wheel.advance(2.0)
    assert (leaving.asked_at, other.asked_at) == ([2.0], [])


def test_what_comes_and_goes_leaves_no_memory_behind() -> None:
    """Thousands of connections in a second, each of which is gone long before it is due."""
    wheel = Wheel(RESOLUTION)

    def come_and_go() -> None:
        for number in range(20_000):
            item = Item()
            wheel.schedule(item, 30.0 + number % 7)
            wheel.remove(item)

    come_and_go()
    tracemalloc.start()
    try:
        come_and_go()
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()
