"""What channels keep, and what those get that come back: over pipes and engines, while workers die and data goes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from support.bus import Worker, Workers
from support.engines import Engine, running
from support.eventually import eventually

CHANNEL = "kept"


@contextlib.contextmanager
def workers(engine: Engine) -> Iterator[list[Worker]]:
    """Two instances of two workers where there is an engine, or one of them."""
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(Workers(2, url=engine.url)) for _ in range(2 if engine.url else 1)]
        yield [worker for each in started for worker in each.workers]


@pytest.fixture(params=["pipes", "redis", "valkey", "sentinel", "cluster"])
def engine(request: pytest.FixtureRequest, shared_engine: Callable[[str], Engine]) -> Engine:
    return shared_engine(request.param)


def numbers(worker: Worker, channel: str = CHANNEL) -> list[str]:
    return [text.partition(":")[2] or text for text in worker.ask("received", channel)]


def up_to(first: int, end: int) -> list[str]:
    return [str(number) for number in range(first, end)]


def fresh(engine: Engine) -> None:
    for server in engine.servers:
        with contextlib.suppress(Exception):  # a replica, or a Sentinel
            server.ask("FLUSHALL")


def test_one_that_comes_back_gets_what_it_has_missed_and_then_what_comes(engine: Engine) -> None:
    fresh(engine)
    with workers(engine) as (first, *others):
        other = others[-1]
        recovered, begin = first.ask("subscribe", CHANNEL, "latest")
        assert (recovered, begin is not None) == (True, True)
        other.ask("publish", CHANNEL, 0, 20, 60, 7)
        eventually(lambda: numbers(first) == up_to(0, 20))
        position = first.ask("position", CHANNEL)
        assert position.isascii()
        assert not set(position) & set(" \r\n")
        first.ask("unsubscribe", CHANNEL)
        other.ask("publish", CHANNEL, 20, 30, 60, 7)
        for worker in (first, *others):  # each worker knows, and goes on without a hole or a duplicate
            assert worker.ask("subscribe", CHANNEL, position)[0] is True
            eventually(lambda w=worker: numbers(w)[-30:] == up_to(20, 50))
        other.ask("publish", CHANNEL, 50, 50, 60, 3)
        for worker in (first, *others):
            eventually(lambda w=worker: numbers(w)[-80:] == up_to(20, 100))
        # From the beginning, by the position that there was before the first message.
        others[0].ask("unsubscribe", CHANNEL)
        before = len(numbers(others[0]))
        assert others[0].ask("subscribe", CHANNEL, begin)[0] is True
        eventually(lambda: numbers(others[0])[before:] == up_to(0, 100))


def test_those_that_join_during_publishing_miss_nothing_and_get_nothing_twice(engine: Engine) -> None:
    fresh(engine)
    with workers(engine) as (first, *others):
        begin = first.ask("subscribe", CHANNEL, "latest")[1]
        others[-1].ask("publish_in_background", CHANNEL, 0, 90, 60, 3)
        for worker in others:
            assert worker.ask("subscribe", CHANNEL, begin)[0] is True
        for worker in (first, *others):
            eventually(lambda w=worker: numbers(w) == up_to(0, 90))


def test_what_is_gone_is_not_said_to_be_recovered(engine: Engine) -> None:
    fresh(engine)
    with workers(engine) as (first, second, *_):
        first.ask("subscribe", CHANNEL, "latest")
        first.ask("publish", CHANNEL, 0, 1, 20, 1)
        eventually(lambda: numbers(first) == ["0"])
        position = first.ask("position", CHANNEL)
        first.ask("publish", CHANNEL, 1, 150, 20, 10)
        eventually(lambda: len(numbers(first)) == 151)
        assert second.ask("subscribe", CHANNEL, position)[0] is False, "trimmed: 100 are kept"
        eventually(lambda: numbers(second) == up_to(51, 151))
        for nonsense in ("", "x", "0-0", "f" * 100, "ffff-1", position.partition("-")[0] + "-9999", "é-1"):
            second.ask("unsubscribe", CHANNEL)
            assert second.ask("subscribe", CHANNEL, nonsense)[0] is False, nonsense
        first.ask("publish", CHANNEL, 151, 1, 20, 1)
        eventually(lambda: numbers(second)[-1] == "151")
        assert second.ask("subscribe", "other", position)[0] is False


def test_more_than_redis_shall_send_at_once_counts_as_gone(redis: Engine) -> None:
    fresh(redis)
    with workers(redis) as (first, second, *_):
        begin = first.ask("subscribe", CHANNEL, "latest")[1]
        first.ask("publish", CHANNEL, 0, 30, 100_000, 5)
        eventually(lambda: numbers(first) == up_to(0, 30))
        assert second.ask("subscribe", CHANNEL, begin)[0] is False
        eventually(lambda: numbers(second) == up_to(10, 30))


def test_a_message_says_for_itself_that_it_is_kept(engine: Engine) -> None:
    fresh(engine)
    with workers(engine) as (first, second, *_):
        first.ask("subscribe", "by hand", "latest")
        first.ask("publish_with_history", "by hand", "a", 10)
        first.ask("publish_with_history", "by hand", "b", 10)
        first.ask("publish_with_history", "by hand", "c", 0)
        eventually(lambda: numbers(first, "by hand") == ["a", "b", "c"])
        assert second.ask("subscribe", "by hand", "oldest")[0] is True
        eventually(lambda: numbers(second, "by hand") == ["a", "b"])


def test_the_log_of_an_instance_outlives_its_workers() -> None:
    with running("pipes") as engine, Workers(2, url=engine.url) as started:
        one, two = started.workers
        one.ask("subscribe", CHANNEL, "latest")
        one.ask("publish", CHANNEL, 0, 10, 60, 3)
        eventually(lambda: numbers(one) == up_to(0, 10))
        position = one.ask("position", CHANNEL)
        two.ask("publish", CHANNEL, 10, 10, 60, 3)
        started.replace(two)
        started.replace(one)
        for worker in started.workers:
            assert worker.ask("subscribe", CHANNEL, position)[0] is True
            eventually(lambda w=worker: numbers(w) == up_to(10, 20))


def test_what_a_killed_worker_has_kept_but_not_told_comes_all_the_same() -> None:
    with Workers(2) as started:
        one, two = started.workers
        one.ask("subscribe", CHANNEL)
        one.ask("publish", CHANNEL, 0, 1, 20, 1)
        with contextlib.suppress(ValueError):  # it does not answer any more
            two.ask("die_before_the_bell", CHANNEL, "last words")
        started.note_death()
        eventually(lambda: numbers(one) == ["0", "last"], 5)
        started.replace(two)


def test_flushed_data_is_a_gap_for_those_that_listen_and_no_recovery_for_others(redis: Engine) -> None:
    with workers(redis) as (first, second, *_):
        first.ask("subscribe", CHANNEL, "latest")
        first.ask("publish", CHANNEL, 0, 5, 20, 1)
        eventually(lambda: numbers(first) == up_to(0, 5))
        position = first.ask("position", CHANNEL)
        redis.servers[0].ask("FLUSHALL")
        first.ask("publish", CHANNEL, 5, 5, 20, 1)
        eventually(lambda: numbers(first) == [*up_to(0, 5), "gap", *up_to(5, 10)])
        assert second.ask("subscribe", CHANNEL, position)[0] is False
        assert second.ask("subscribe", "kept otherwise", "oldest")[0] is True


def test_a_hole_in_what_comes_is_a_gap(redis: Engine) -> None:
    fresh(redis)
    with workers(redis) as (first, *_):
        first.ask("subscribe", CHANNEL, "latest")
        first.ask("publish", CHANNEL, 0, 2, 20, 1)
        eventually(lambda: numbers(first) == ["0", "1"])
        epoch, _, number = first.ask("position", CHANNEL).partition("-")
        redis.servers[0].ask("PUBLISH", f"uwsgi_ws:{CHANNEL}", f"\0wsk{epoch}-{int(number) + 2} x:later")
        eventually(lambda: numbers(first) == ["0", "1", "gap", "later"])
        assert first.ask("stats")["channel_gaps"] == 1


def test_what_finds_no_room_in_redis_is_a_gap_in_the_history_too(redis: Engine) -> None:
    fresh(redis)
    server = redis.servers[0]
    with workers(redis) as (first, second, *_):
        first.ask("subscribe", CHANNEL, "latest")
        first.ask("publish", CHANNEL, 0, 1, 20, 1)
        eventually(lambda: numbers(first) == ["0"])
        position = first.ask("position", CHANNEL)
        server.ask("CONFIG", "SET", "maxmemory", "1")
        first.ask("publish", CHANNEL, 1, 3, 20, 3)
        eventually(lambda: numbers(first) == ["0", "gap"])
        server.ask("CONFIG", "RESETSTAT")
        server.ask("CONFIG", "SET", "maxmemory", "0")
        eventually(lambda: server.ask("XLEN", f"uwsgi_ws:{CHANNEL}") >= 3, 15)
        first.ask("publish", CHANNEL, 4, 1, 20, 1)
        eventually(lambda: numbers(first)[-1] == "4")
        assert second.ask("subscribe", CHANNEL, position)[0] is False
        eventually(lambda: numbers(second) == ["4"])


def test_ten_thousand_that_come_back_read_once_a_worker_and_channel(redis: Engine) -> None:
    fresh(redis)
    server = redis.servers[0]
    with workers(redis) as all_of_them:
        first = all_of_them[0]
        first.ask("subscribe", CHANNEL, "latest")
        first.ask("publish", CHANNEL, 0, 1, 20, 1)
        eventually(lambda: numbers(first) == ["0"])
        position = first.ask("position", CHANNEL)
        first.ask("publish", CHANNEL, 1, 30, 20, 5)
        eventually(lambda: len(numbers(first)) == 31)
        server.ask("CONFIG", "RESETSTAT")
        for worker in all_of_them:
            assert worker.ask("subscribe_many", CHANNEL, position, 2_500) == [[30, True]]
        reads = server.ask("INFO", "commandstats")["cmdstat_xrange"]["calls"]
        assert reads <= 2 * len(all_of_them)
        # Positions that nobody knows cost no more than two reads a second.
        server.ask("CONFIG", "RESETSTAT")
        assert all_of_them[1].ask("subscribe_many", CHANNEL, "0" * 16 + "-7", 2_500) == [[0, False]]
        assert server.ask("INFO", "commandstats")["cmdstat_xrange"]["calls"] <= 4


def test_a_failover_may_have_lost_something_even_where_nothing_shows() -> None:
    with running("sentinel") as engine, workers(engine) as (first, second, *_):
        master, replica, _ = engine.servers
        first.ask("subscribe", CHANNEL, "latest")
        first.ask("publish", CHANNEL, 0, 5, 20, 1)
        eventually(lambda: numbers(first) == up_to(0, 5))
        position = first.ask("position", CHANNEL)
        eventually(lambda: replica.ask("XLEN", f"uwsgi_ws:{CHANNEL}") == 6)
        master.stop()
        eventually(lambda: replica.ask("ROLE")[0] == "master", 20)
        # Nothing is missing; but the new master may know less than the old one did, and nobody would know that.
        eventually(lambda: second.ask("subscribe", CHANNEL, position)[1] not in (None, position), 10)
        assert second.ask("subscribe", CHANNEL, position)[0] is False
