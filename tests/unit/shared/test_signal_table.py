"""The table of signals: what is registered, what raises signals, and what waits for whom."""

from __future__ import annotations

import pytest

from uwsgi_ws.shared.signals import ALL, ANY, MOST_WAITING, Kind, SignalTable, Source


@pytest.fixture
def table() -> SignalTable:
    return SignalTable(memoryview(bytearray(SignalTable.size(3))), 3)


def takers(table: SignalTable, number: int) -> list[int]:
    """The workers that take a signal, asked one after the other."""
    return [worker for worker in (1, 2, 3) if table.take(worker, number)]


@pytest.mark.parametrize(("target", "workers"), [(ANY, [1]), (ALL, [1, 2, 3]), (2, [2]), (3, [3])])
def test_a_signal_is_taken_by_those_whom_it_is_for(table: SignalTable, target: int, workers: list[int]) -> None:
    table.register(255, target)
    assert not table.waits(workers[0], 255)
    assert table.raise_signal(255)
    assert table.waits(workers[0], 255)
    assert not table.waits(workers[0], 254)
    assert takers(table, 255) == workers
    assert takers(table, 255) == []
    assert not table.waits(workers[0], 255)


@pytest.mark.parametrize("target", [0, 4, 0x7FFF])
def test_a_signal_for_nobody_is_not_kept(table: SignalTable, target: int) -> None:
    table.register(1, target)
    assert not table.raise_signal(1)
    assert not table.raise_signal(1, is_tick=True)
    assert takers(table, 1) == []


def test_signals_are_counted_and_ticks_are_not(table: SignalTable) -> None:
    table.register(1, ANY)
    for _ in range(3):
        assert table.raise_signal(1, is_tick=True)
    assert takers(table, 1) == [1]
    for _ in range(3):
        assert table.raise_signal(1)
    assert table.raise_signal(1, is_tick=True)
    assert (takers(table, 1), takers(table, 1)) == ([1, 2, 3], [])


def test_one_worker_that_is_slow_costs_the_others_nothing(table: SignalTable) -> None:
    table.register(1, ALL)
    table.raise_signal(1, is_tick=True)
    assert table.take(1, 1)
    table.raise_signal(1, is_tick=True)
    assert [table.take(worker, 1) for worker in (1, 2, 3, 2)] == [True, True, True, False]


def test_too_many_are_dropped(table: SignalTable) -> None:
    table.register(1, ANY)
    assert all(table.raise_signal(1) for _ in range(MOST_WAITING))
    assert not table.raise_signal(1)
    assert table.take(2, 1)
    assert table.raise_signal(1)


def test_what_was_registered_last_counts(table: SignalTable) -> None:
    table.register(1, 2)
    table.register(1, 3)
    table.raise_signal(1)
    assert takers(table, 1) == [3]


TIMER = Source(Kind.TIMER, 7, (-5, 2**31 - 1, 0, 0, 0))
FILE = Source(Kind.FILE, 255, path=b"/" + 1021 * b"x")


def test_sources_are_read_as_they_were_added_and_the_same_twice_is_one(table: SignalTable) -> None:
    before = table.version
    assert table.add(TIMER)
    assert table.add(FILE)
    assert table.version != before
    version = table.version
    assert table.add(TIMER)
    assert table.version == version
    assert [source for _, source in table.sources()] == [TIMER, FILE]


def test_one_that_is_removed_makes_room_and_may_come_again(table: SignalTable) -> None:
    sources = [Source(Kind.TIMER, 1, (number, 0, 0, 0, 0)) for number in range(512)]
    assert all(table.add(source) for source in sources)
    assert not table.add(TIMER)
    (serial, first), *_ = table.sources()
    table.remove(serial)
    assert table.add(first)
    assert dict(table.sources())[table.version] == first
    assert table.version > serial


def test_one_that_is_closed_tells_what_waits_and_gives_nothing_any_more(table: SignalTable) -> None:
    for number, target in ((1, ANY), (2, ALL), (3, 3), (4, ANY)):
        table.register(number, target)
        table.raise_signal(number)
    table.raise_signal(1)
    assert table.take(1, 2)
    assert table.take(1, 4)
    assert list(table.close()) == [1, 1, 2, 3]
    assert takers(table, 1) == []
    assert not table.waits(1, 1)
