"""When a worker is overloaded, and when it is not any more."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from uwsgi_ws.server import overload
from uwsgi_ws.server.overload import Overload, reserve_of

MIB = 1 << 20


class Rig:
    """An overload with so many clients as a test says."""

    def __init__(self, max_memory: int = 0) -> None:
        self.clients: list[int] = []
        self.changes: list[bool] = []
        self.overload = Overload(self.clients, max_memory, lambda: self.changes.append(self.overload.is_on))  # type: ignore[arg-type]


@contextmanager
def limit_of(soft: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_sixteenth_of_the_descriptors_is_reserved_within_bounds() -> None:
    assert [reserve_of(limit) for limit in (64, 1024, 2048, 1 << 30)] == [16, 64, 128, 256]


def test_memory_is_compared_with_each_look_and_must_fall_well_below_the_bound() -> None:
    rig = Rig(100 * MIB)
    rig.clients += range(10)
    for rss, is_on in ((99, False), (100, True), (98, True), (95, True), (94, False), (99, False), (100, True)):
        rig.overload.look(rss * MIB)
        assert rig.overload.is_on is is_on, rss
        assert (rig.overload.first_refused == 0) is is_on
    assert rig.changes.count(False) == 1


def test_memory_that_no_client_takes_refuses_nobody_and_is_a_reason_to_be_replaced() -> None:
    rig = Rig(100 * MIB)
    rig.overload.look(200 * MIB)
    assert not rig.overload.is_on
    assert rig.overload.is_in_vain == "it holds 200 MiB of memory without a client (--max-memory)"
    rig.clients.append(1)
    rig.overload.look(200 * MIB)
    assert rig.overload.is_on
    assert rig.overload.is_in_vain is None
    rig.clients.clear()
    rig.overload.look(200 * MIB)
    assert not rig.overload.is_on


def test_a_limit_that_is_changed_counts_from_the_next_look_on() -> None:
    rig = Rig()
    with limit_of(512):
        rig.overload.look(0)
        assert rig.overload.first_refused == 512 - 32
    rig.overload.look(0)
    assert rig.overload.first_refused > 512


def test_it_ends_when_a_quarter_of_the_reserve_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    is_open = [0]
    monkeypatch.setattr(overload, "_open_descriptors", lambda: is_open[0])
    with limit_of(512):
        rig.overload.look(0)
        rig.overload.begin()
        for is_open[0], is_on in ((480, True), (472, True), (471, False)):
            rig.overload.look(0)
            assert rig.overload.is_on is is_on, is_open


def test_an_accept_that_fails_holds_the_others_until_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    monkeypatch.setattr(overload, "_open_descriptors", lambda: 0)
    rig.overload.fail("no client can be accepted (Too many open files)")
    assert (rig.overload.is_on, rig.overload.is_crowded) == (True, True)
    rig.overload.look(0)
    assert (rig.overload.is_on, rig.overload.is_crowded) == (True, False)  # the next attempt may fail, too
    rig.overload.look(0)
    assert not rig.overload.is_on


def test_one_that_begins_soon_after_another_is_not_told_again(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(100 * MIB)
    rig.clients.append(1)
    with caplog.at_level("INFO", "uwsgi_ws.overload"):
        for rss in (100, 10, 100, 10, 100):
            rig.overload.look(rss * MIB)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert caplog.records[0].getMessage() == (
        f"overloaded (pid: {os.getpid()}): 100 of 100 MiB of memory are in use (--max-memory); clients that stay: 1; "
        "new ones get 503"
    )
