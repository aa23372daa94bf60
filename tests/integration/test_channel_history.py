"""What channels keep, and what those get that come back: over pipes and engines, while workers die and data goes."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.bus import Worker, Workers
from support.engines import Engine, EngineServer, running
from support.eventually import eventually

pytestmark = pytest.mark.matrix

_names = itertools.count()
Own = tuple[EngineServer, list[Worker]]


@pytest.fixture
def channel() -> str:
    """A channel of the test's own."""
    return f"kept {next(_names)}"


@contextlib.contextmanager
def workers(engine: Engine) -> Iterator[list[Worker]]:
    """Two instances of two workers where there is an engine, or one of them."""
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(Workers(2, url=engine.url)) for _ in range(2 if engine.url else 1)]
        yield [worker for each in started for worker in each.workers]


@pytest.fixture(scope="module", params=["pipes", "redis", "valkey", "sentinel", "cluster"])
def everywhere(request: pytest.FixtureRequest) -> Iterator[list[Worker]]:
    with running(request.param) as engine, workers(engine) as started:
        yield started


@pytest.fixture(scope="module")
def redis() -> Iterator[Own]:
    with running("redis") as engine, workers(engine) as started:
        yield engine.servers[0], started


def numbers(worker: Worker, channel: str) -> list[str]:
    return [text.partition(":")[2] or text for text in worker.ask("received", channel)]


def up_to(first: int, end: int) -> list[str]:
    return [str(number) for number in range(first, end)]


def test_one_that_comes_back_gets_what_it_has_missed_and_goes_on(everywhere: list[Worker], channel: str) -> None:
    first, *others = everywhere
    other = others[-1]
    recovered, begin = first.ask("subscribe", channel, "latest")
    assert (recovered, begin is not None) == (True, True)
    other.ask("publish", channel, 0, 20, 60, 7)
    eventually(lambda: numbers(first, channel) == up_to(0, 20))
    position = first.ask("position", channel)
    assert position.isascii()
    assert not set(position) & set(" \r\n")
    first.ask("unsubscribe", channel)
    other.ask("publish", channel, 20, 30, 60, 7)
    for worker in (first, *others):  # each worker knows, and goes on without a hole or a duplicate
        assert worker.ask("subscribe", channel, position)[0] is True
        eventually(lambda w=worker: numbers(w, channel)[-30:] == up_to(20, 50))
    other.ask("publish", channel, 50, 50, 60, 3)
    for worker in (first, *others):
        eventually(lambda w=worker: numbers(w, channel)[-80:] == up_to(20, 100))
    # From the beginning, by the position that there was before the first message.
    others[0].ask("unsubscribe", channel)
    before = len(numbers(others[0], channel))
    assert others[0].ask("subscribe", channel, begin)[0] is True
    eventually(lambda: numbers(others[0], channel)[before:] == up_to(0, 100))


def test_those_that_join_during_publishing_miss_nothing(everywhere: list[Worker], channel: str) -> None:
    first, *others = everywhere
    begin = first.ask("subscribe", channel, "latest")[1]
    others[-1].ask("publish_in_background", channel, 0, 90, 60, 3)
    for worker in others:
        assert worker.ask("subscribe", channel, begin)[0] is True
    for worker in (first, *others):
        eventually(lambda w=worker: numbers(w, channel) == up_to(0, 90))


def test_what_is_gone_is_not_said_to_be_recovered(everywhere: list[Worker], channel: str) -> None:
    first, second, *_ = everywhere
    first.ask("subscribe", channel, "latest")
    first.ask("publish", channel, 0, 1, 20, 1)
    eventually(lambda: numbers(first, channel) == ["0"])
    position = first.ask("position", channel)
    first.ask("publish", channel, 1, 150, 20, 10)
    eventually(lambda: len(numbers(first, channel)) == 151)
    assert second.ask("subscribe", channel, position)[0] is False, "trimmed: 100 are kept"
    eventually(lambda: numbers(second, channel) == up_to(51, 151))
    for nonsense in ("", "x", "0-0", "f" * 100, "ffff-1", position.partition("-")[0] + "-9999", "é-1"):
        second.ask("unsubscribe", channel)
        assert second.ask("subscribe", channel, nonsense)[0] is False, nonsense
    first.ask("publish", channel, 151, 1, 20, 1)
    eventually(lambda: numbers(second, channel)[-1] == "151")
    assert second.ask("subscribe", "other", position)[0] is False


def test_a_message_says_for_itself_that_it_is_kept(everywhere: list[Worker], channel: str) -> None:
    first, second, *_ = everywhere
    first.ask("subscribe", "by hand", "latest")
    first.ask("publish_with_history", "by hand", "a", 10)
    first.ask("publish_with_history", "by hand", "b", 10)
    first.ask("publish_with_history", "by hand", "c", 0)
    eventually(lambda: numbers(first, "by hand") == ["a", "b", "c"])
    assert second.ask("subscribe", "by hand", "oldest")[0] is True
    eventually(lambda: numbers(second, "by hand") == ["a", "b"])


def test_the_log_of_an_instance_outlives_its_workers(channel: str) -> None:
    with running("pipes") as engine, Workers(2, url=engine.url) as started:
        one, two = started.workers
        one.ask("subscribe", channel, "latest")
        one.ask("publish", channel, 0, 10, 60, 3)
        eventually(lambda: numbers(one, channel) == up_to(0, 10))
        position = one.ask("position", channel)
        two.ask("publish", channel, 10, 10, 60, 3)
        started.replace(two)
        started.replace(one)
        for worker in started.workers:
            assert worker.ask("subscribe", channel, position)[0] is True
            eventually(lambda w=worker: numbers(w, channel) == up_to(10, 20))


def test_what_a_killed_worker_has_kept_but_not_told_comes_all_the_same(channel: str) -> None:
    with Workers(2) as started:
        one, two = started.workers
        one.ask("subscribe", channel)
        one.ask("publish", channel, 0, 1, 20, 1)
        with contextlib.suppress(ValueError):  # it does not answer any more
            two.ask("die_before_the_bell", channel, "last words")
        started.note_death()
        eventually(lambda: numbers(one, channel) == ["0", "last"], 5)
        started.replace(two)


def test_flushed_data_is_a_gap_for_those_that_listen_and_no_recovery_for_others(redis: Own, channel: str) -> None:
    server, (first, second, *_) = redis
    first.ask("subscribe", channel, "latest")
    first.ask("publish", channel, 0, 5, 20, 1)
    eventually(lambda: numbers(first, channel) == up_to(0, 5))
    position = first.ask("position", channel)
    server.ask("FLUSHALL")
    first.ask("publish", channel, 5, 5, 20, 1)
    eventually(lambda: numbers(first, channel) == [*up_to(0, 5), "gap", *up_to(5, 10)])
    assert second.ask("subscribe", channel, position)[0] is False
    assert second.ask("subscribe", "kept otherwise", "oldest")[0] is True


def test_more_than_redis_shall_send_at_once_counts_as_gone(redis: Own, channel: str) -> None:
    _, (first, second, *_) = redis
    begin = first.ask("subscribe", channel, "latest")[1]
    first.ask("publish", channel, 0, 30, 100_000, 5)
    eventually(lambda: numbers(first, channel) == up_to(0, 30))
    assert second.ask("subscribe", channel, begin)[0] is False
    eventually(lambda: numbers(second, channel) == up_to(10, 30))


def test_a_hole_in_what_comes_is_a_gap(redis: Own, channel: str) -> None:
    server, (first, *_) = redis
    first.ask("subscribe", channel, "latest")
    first.ask("publish", channel, 0, 2, 20, 1)
    eventually(lambda: numbers(first, channel) == ["0", "1"])
    epoch, _, number = first.ask("position", channel).partition("-")
    before = first.ask("stats")["channel_gaps"]
    server.ask("PUBLISH", f"uwsgi_ws:{channel}", f"\0wsk{epoch}-{int(number) + 2} x:later")
    eventually(lambda: numbers(first, channel) == ["0", "1", "gap", "later"])
    assert first.ask("stats")["channel_gaps"] == before + 1


def test_what_finds_no_room_in_redis_is_a_gap_in_the_history_too(redis: Own, channel: str) -> None:
    server, (first, second, *_) = redis
    first.ask("subscribe", channel, "latest")
    first.ask("publish", channel, 0, 1, 20, 1)
    eventually(lambda: numbers(first, channel) == ["0"])
    position = first.ask("position", channel)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        first.ask("publish", channel, 1, 3, 20, 3)
        eventually(lambda: list(dict.fromkeys(numbers(first, channel))) == ["0", "gap"])
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")
    eventually(lambda: server.ask("XLEN", f"uwsgi_ws:{channel}") >= 3, 15)
    first.ask("publish", channel, 4, 1, 20, 1)
    eventually(lambda: numbers(first, channel)[-1] == "4")
    assert second.ask("subscribe", channel, position)[0] is False
    eventually(lambda: numbers(second, channel) == ["4"])


def test_ten_thousand_that_come_back_read_once_a_worker_and_channel(redis: Own, channel: str) -> None:
    server, all_of_them = redis
    first = all_of_them[0]
    first.ask("subscribe", channel, "latest")
    first.ask("publish", channel, 0, 1, 20, 1)
    eventually(lambda: numbers(first, channel) == ["0"])
    position = first.ask("position", channel)
    first.ask("publish", channel, 1, 30, 20, 5)
    eventually(lambda: len(numbers(first, channel)) == 31)
    server.ask("CONFIG", "RESETSTAT")
    with ThreadPoolExecutor(len(all_of_them)) as pool:
        outcomes = list(pool.map(lambda worker: worker.ask("subscribe_many", channel, position, 2_500), all_of_them))
    assert [outcome for outcome, _ in outcomes] == [[[30, True]]] * len(all_of_them)
    reads = server.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"]
    assert reads <= 2 * len(all_of_them), outcomes
    # Positions that nobody knows cost no more than two reads a second.
    server.ask("CONFIG", "RESETSTAT")
    outcome, _ = all_of_them[1].ask("subscribe_many", channel, "0" * 16 + "-7", 2_500)
    assert outcome == [[0, False]]
    assert server.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"] <= 4


def test_a_failover_may_have_lost_something_even_where_nothing_shows(channel: str) -> None:
    with running("sentinel") as engine, workers(engine) as (first, second, *_):
        master, replica, _ = engine.servers
        first.ask("subscribe", channel, "latest")
        first.ask("publish", channel, 0, 5, 20, 1)
        eventually(lambda: numbers(first, channel) == up_to(0, 5))
        position = first.ask("position", channel)
        eventually(lambda: replica.ask("XLEN", f"uwsgi_ws:{channel}") == 6)
        master.stop()
        eventually(lambda: replica.ask("ROLE")[0] == "master", 20)
        # Nothing is missing; but the new master may know less than the old one did, and nobody would know that.
        eventually(lambda: second.ask("subscribe", channel, position)[1] not in (None, position), 10)
        assert second.ask("subscribe", channel, position)[0] is False
