"""The interest map: sometimes too much, never too little, and counts that are exact."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from uwsgi_ws.channels import interest
from uwsgi_ws.channels.interest import Interest, InterestMap
from uwsgi_ws.shared import counts as tally

SEATS = 3
NAMES = [f"channel {number}".encode() for number in range(20)]


def new_map(seats: int = SEATS) -> InterestMap:
    return InterestMap(memoryview(bytearray(InterestMap.size(seats))), seats)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of 16 entries and 4 rows, so that everything collides."""
    shrink(monkeypatch)


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interest, "ROWS", 4)
    monkeypatch.setattr(tally, "ENTRIES", 16)
    monkeypatch.setattr(tally, "_MOST_USED", 12)


class Interests(RuleBasedStateMachine):
    """Against a counter, in a map where all names share few rows and searches are long."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        shrink(self.patch)
        self.shared = new_map()
        self.owners = [Interest(self.shared, seat) for seat in range(SEATS)]
        self.counts: list[Counter[bytes]] = [Counter() for _ in range(SEATS)]
        self.listened: list[set[bytes]] = [set() for _ in range(SEATS)]

    def teardown(self) -> None:
        self.patch.undo()

    @rule(seat=st.integers(0, SEATS - 1), name=st.sampled_from(NAMES[:12]))
    def add(self, seat: int, name: bytes) -> None:
        self.owners[seat].add(name)
        self.counts[seat][name] += 1

    @rule(seat=st.integers(0, SEATS - 1), name=st.sampled_from(NAMES[:12]))
    def remove(self, seat: int, name: bytes) -> None:
        if self.counts[seat][name]:
            self.owners[seat].remove(name)
            self.counts[seat][name] -= 1

    @rule(seat=st.integers(0, SEATS - 1), name=st.sampled_from(NAMES[:12]))
    def listen_or_not(self, seat: int, name: bytes) -> None:
        if name in self.listened[seat]:
            self.owners[seat].unlisten(name)
        else:
            self.owners[seat].listen(name)
        self.listened[seat] ^= {name}

    @rule(seat=st.integers(0, SEATS - 1))
    def replace(self, seat: int) -> None:
        before = self.shared.generations[seat]
        self.owners[seat] = Interest(self.shared, seat)
        assert self.owners[seat].generation == self.shared.generations[seat] == before + 1
        self.counts[seat].clear()
        self.listened[seat].clear()

    @invariant()
    def nobody_is_left_out(self) -> None:
        for name in NAMES:
            wanted = self.shared.wanted(name)
            assert len(wanted) == SEATS
            assert all(wanted[seat] for seat in range(SEATS) if self.counts[seat][name] or name in self.listened[seat])

    @invariant()
    def what_is_lost_is_told_to_all_who_want_it(self) -> None:
        for owner, counts, listened in zip(self.owners, self.counts, self.listened, strict=True):
            assert sorted(owner.names()) == sorted((+counts).keys() | listened)

    @invariant()
    def counts_are_exact(self) -> None:
        for name in NAMES:
            assert self.shared.count(name) == sum(counts[name] for counts in self.counts)
            assert self.shared.count(name, except_for=1) == self.counts[0][name] + self.counts[2][name]

    @invariant()
    def who_wants_nothing_leaves_no_trace(self) -> None:
        for seat, counts in enumerate(self.counts):
            if not +counts:
                assert not any(self.shared.subscribers.table(seat)[::2])
            if not +counts and not self.listened[seat]:
                assert not any(self.shared.wanted(name)[seat] for name in NAMES)


TestInterests = Interests.TestCase
TestInterests.settings = settings(max_examples=30, stateful_step_count=25)


def test_names_are_told_apart_at_full_size() -> None:
    shared = new_map(2)
    owner = Interest(shared, 1)
    owner.add(b"lobby")
    owner.add(b"lobby")
    assert (shared.wanted(b"lobby"), shared.wanted(b"room 1")) == (b"\0\1", b"\0\0")
    assert (shared.count(b"lobby"), shared.count(b"room 1")) == (2, 0)
    owner.remove(b"lobby")
    assert (shared.wanted(b"lobby"), shared.count(b"lobby")) == (b"\0\1", 1)
    owner.remove(b"lobby")
    assert (shared.wanted(b"lobby"), shared.count(b"lobby")) == (b"\0\0", 0)


@pytest.mark.usefixtures("small")
def test_channels_that_find_no_room_are_not_counted_but_never_missed() -> None:
    shared = new_map()
    owner = Interest(shared, 0)
    for name in NAMES:
        owner.add(name)
    assert [shared.count(name) for name in NAMES] == [1] * 12 + [0] * 8
    assert all(shared.wanted(name)[0] for name in NAMES)
    for name in NAMES:
        owner.remove(name)
    assert not any(shared.wanted(name)[0] for name in NAMES)
    for name in reversed(NAMES):
        owner.add(name)
    assert [shared.count(name) for name in reversed(NAMES)] == [1] * 12 + [0] * 8, "the room was given back"


def test_who_is_dead_can_be_forgotten() -> None:
    shared = new_map()
    Interest(shared, 2).add(b"lobby")
    shared.vacate(2)
    assert shared.wanted(b"lobby") == bytes(SEATS)
    assert shared.count(b"lobby") == 0
