"""Numbers that several processes keep together: exact as long as there is room, however crowded the tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.shared import counts as tally
from uwsgi_ws.shared.counts import SeatCounts, SharedCounts, digest_of

SEATS = 3
NAMES = [b"%d" % number for number in range(20)]


def new_tally() -> SharedCounts:
    return SharedCounts(memoryview(bytearray(SharedCounts.size(SEATS))), SEATS)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Tables of 16 entries, so that searches are long; 12 may be used."""
    patch = pytest.MonkeyPatch()
    patch.setattr(tally, "ENTRIES", 16)
    patch.setattr(tally, "_MOST_USED", 12)
    yield
    patch.undo()


@given(
    st.lists(
        st.tuples(st.integers(0, SEATS - 1), st.sampled_from(NAMES[:12]), st.sampled_from((0, 0, 1, 2))), max_size=80
    )
)
def test_a_names_number_is_the_sum_of_what_each_has_written(writes: list[tuple[int, bytes, int]]) -> None:
    shared = new_tally()
    owners = [SeatCounts(shared, seat) for seat in range(SEATS)]
    numbers: dict[tuple[int, bytes], int] = {}
    for seat, name, number in writes:
        owners[seat].write(name, number)
        numbers[seat, name] = number
        for each in NAMES:
            assert shared.total(each) == sum(numbers.get((seat, each), 0) for seat in range(SEATS))
            assert shared.total(each, except_for=1) == numbers.get((0, each), 0) + numbers.get((2, each), 0)
    for seat, name in numbers:
        owners[seat].write(name, 0)
    assert not any(any(shared.table(seat)[::2]) for seat in range(SEATS)), "nothing is left behind"


def test_a_slot_in_the_middle_of_a_search_is_used_again() -> None:
    shared = new_tally()
    owner = SeatCounts(shared, 0)
    candidates = [b"%d" % number for number in range(1_000)]
    empty = shared.table(0)
    starts = {name: tally.find(empty, digest_of(name)) for name in candidates}
    one, two, three = [name for name in candidates if starts[name] == starts[candidates[0]]][:3]
    owner.write(one, 1)
    owner.write(two, 1)
    owner.write(one, 0)
    assert (shared.total(one), shared.total(two)) == (0, 1), "the search goes on past a slot with the number 0"
    owner.write(three, 1)
    assert [shared.total(name) for name in (one, two, three)] == [0, 1, 1]
    assert sum(1 for digest in shared.table(0)[::2] if digest) == 2, "and it was used again"


def test_names_that_find_no_room_are_left_out_until_there_is_some() -> None:
    shared = new_tally()
    owner = SeatCounts(shared, 0)
    for name in NAMES:
        owner.write(name, 1)
    assert [shared.total(name) for name in NAMES] == [1] * 12 + [0] * 8
    for name in NAMES:
        owner.write(name, 0)
    for name in reversed(NAMES):
        owner.write(name, 1)
    assert [shared.total(name) for name in reversed(NAMES)] == [1] * 12 + [0] * 8


def test_who_is_dead_can_be_forgotten() -> None:
    shared = new_tally()
    for seat in range(SEATS):
        SeatCounts(shared, seat).write(b"a", 5)
    shared.vacate(1)
    assert shared.total(b"a") == 10
