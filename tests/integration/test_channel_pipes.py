"""The bus between forked workers: nothing comes twice or out of order, each loss is counted, whoever dies or sleeps."""

from __future__ import annotations

import itertools
import signal
import time

import pytest
from support.bus import Worker, Workers, silent_holes
from support.eventually import eventually

from uwsgi_ws.channels.inboxes import Inboxes
from uwsgi_ws.errors import BootError


def assert_in_order(numbers: list[int]) -> None:
    """No duplicate, no reordering; gaps are for the caller to account for."""
    assert all(before < after for before, after in itertools.pairwise(numbers))


def subscribe_all(workers: list[Worker], channel: str = "lobby") -> None:
    for worker in workers:
        worker.ask("subscribe", channel)


def test_everybody_gets_everything_once_and_in_order() -> None:
    with Workers(4) as bus:
        subscribe_all(bus.workers)
        for worker in bus.workers:
            worker.ask("publish_in_background", "lobby", 0, 2_000, 40, 50)
        for reader, publisher in itertools.product(bus.workers, repeat=2):
            eventually(lambda r=reader, p=publisher: r.numbers("lobby", p) == list(range(2_000)), 15)
        assert [worker.ask("drops") for worker in bus.workers] == [[0] * 4] * 4
        assert [worker.ask("stats")["channel_deliveries"] for worker in bus.workers] == [8_000] * 4


def test_messages_go_only_where_somebody_wants_them() -> None:
    with Workers(3) as bus:
        one, two, three = bus.workers
        two.ask("subscribe", "lobby")
        two.ask("subscribe", "end")
        three.ask("subscribe", "end")
        one.ask("publish", "lobby", 0, 10, 40, 1)
        one.ask("publish", "end", 0, 1, 40, 1)
        eventually(lambda: two.numbers("end", one) == three.numbers("end", one) == [0])
        assert two.numbers("lobby", one) == list(range(10))
        assert three.ask("received", "lobby") == []
        two.ask("unsubscribe", "lobby")
        one.ask("publish", "lobby", 10, 10, 40, 1)
        one.ask("publish", "end", 1, 1, 40, 1)
        eventually(lambda: two.numbers("end", one) == [0, 1])
        assert two.numbers("lobby", one) == list(range(10))


def test_counts_are_of_all_workers() -> None:
    with Workers(3) as bus:
        one, two, three = bus.workers
        subscribe_all([one, two])
        assert [worker.ask("count", "lobby") for worker in bus.workers] == [2, 2, 2]
        two = bus.replace(two)
        assert [worker.ask("count", "lobby") for worker in (one, two, three)] == [1, 1, 1]
        one.ask("close")
        assert three.ask("count", "lobby") == 0


@pytest.mark.parametrize("size", [4_000, 4_086, 4_100, 70_000, 1_000_000])
def test_messages_longer_than_a_packet_come_whole(size: int) -> None:
    with Workers(3, queue_size=32 << 20) as bus:
        subscribe_all(bus.workers)
        for worker in bus.workers:
            worker.ask("publish_in_background", "lobby", 0, 12, size, 1)
        for reader, publisher in itertools.product(bus.workers, repeat=2):
            eventually(lambda r=reader, p=publisher: r.numbers("lobby", p) == list(range(12)), 15)


def test_a_worker_that_stands_still_loses_what_is_counted_and_nothing_else() -> None:
    with Workers(3, queue_size=100_000, max_message_size=10_000) as bus:
        publisher, sleeper, other = bus.workers
        subscribe_all([sleeper, other])
        sleeper.send(signal.SIGSTOP)
        began = time.monotonic()
        for first in range(0, 8_000, 400):
            # Some 90 kB, which fit into the queue: the other one loses nothing, whenever it gets the processor.
            publisher.ask("publish", "lobby", first, 400, 200, 100)
            eventually(lambda first=first: other.count("lobby", publisher) == first + 400, 15)
        sleeper.send(signal.SIGCONT)
        eventually(lambda: sleeper.count("lobby", publisher) + publisher.ask("drops")[sleeper.seat] == 8_000, 15)
        publisher.ask("publish", "lobby", 8_000, 1, 200, 1)
        took = time.monotonic() - began
        eventually(lambda: other.numbers("lobby", publisher) == list(range(8_001)))
        eventually(lambda: sleeper.numbers("lobby", publisher)[-1:] == [8_000])
        came = sleeper.numbers("lobby", publisher)
        dropped = publisher.ask("drops")
        assert_in_order(came)
        assert dropped[sleeper.seat] > 0
        assert dropped[other.seat] == 0
        assert len(came) + dropped[sleeper.seat] == 8_001
        assert silent_holes(sleeper, publisher) == []
        assert "gap" not in other.ask("received", "lobby")
        assert publisher.ask("stats")["channel_drops"] == dropped[sleeper.seat]
    assert f"channel messages dropped: the worker in seat {sleeper.seat} does not read" in bus.log
    assert bus.log.count("channel messages dropped") <= took + 2, "at once, then once a second, and at the end"


def test_a_killed_reader_s_successor_gets_only_what_was_published_since() -> None:
    """The predecessor leaves a full inbox, and publishers that have the rest of a long message in their queues."""
    with Workers(3) as bus:
        one, two, reader = bus.workers
        reader.ask("subscribe", "lobby")
        reader.send(signal.SIGSTOP)
        for publisher in (one, two):
            publisher.ask("publish", "lobby", 0, 5, 900_000, 1)
        successor = bus.replace(reader)
        successor.ask("subscribe", "lobby")
        for publisher in (one, two):
            publisher.ask("publish", "lobby", 5, 200, 900, 7)
        for publisher in (one, two):
            eventually(lambda p=publisher: successor.numbers("lobby", p) == list(range(5, 205)))


def test_a_killed_publisher_tears_one_message_at_most_and_it_is_counted() -> None:
    with Workers(3, queue_size=32 << 20) as bus:
        publisher, reader, other = bus.workers
        reader.ask("subscribe", "lobby")
        reader.send(signal.SIGSTOP)
        publisher.ask("publish", "lobby", 0, 4, 900_000, 1)  # more than the inbox holds: cut in the middle
        successor = bus.replace(publisher)
        reader.send(signal.SIGCONT)
        successor.ask("publish", "lobby", 0, 20, 900_000, 1)
        other.ask("publish", "lobby", 0, 20, 50, 1)
        eventually(lambda: reader.numbers("lobby", successor) == list(range(20)), 15)
        eventually(lambda: reader.numbers("lobby", other) == list(range(20)))
        came = reader.numbers("lobby", publisher)
        assert came == list(range(len(came)))
        assert len(came) < 4
        assert reader.ask("stats")["channel_drops"] == 1
        assert reader.ask("received", "lobby").index("gap") == len(came)


@pytest.mark.parametrize("number", [16, pytest.param(64, marks=pytest.mark.long)])
def test_many_workers_reach_each_other(number: int) -> None:
    with Workers(number) as bus:
        subscribe_all(bus.workers)
        for worker in bus.workers:
            worker.ask("publish_in_background", "lobby", 0, 20, 300, 5)
        for reader in bus.workers:
            eventually(lambda r=reader: len(r.ask("received", "lobby")) == 20 * number, 30)
            for publisher in bus.workers:
                assert reader.numbers("lobby", publisher) == list(range(20))


def test_there_are_no_more_seats_than_are_said() -> None:
    with pytest.raises(BootError, match="512 workers at most"):
        Inboxes(1025)


def nemesis(pause: float, rounds: int) -> None:
    """Four workers publish to all; one is killed again and again, one is stopped and continued."""
    with Workers(4, queue_size=200_000, max_message_size=10_000) as bus:
        one, two, sleeper, victim = bus.workers
        subscribe_all(bus.workers)
        published = 0

        def lost(publisher: Worker, reader: Worker) -> int:
            return 0 if publisher is reader else int(publisher.ask("drops")[reader.seat])

        def has_settled(reader: Worker) -> bool:
            """Whether all that one and two have published has come, or is counted as lost."""
            return all(reader.count("lobby", p) + lost(p, reader) == published for p in (one, two))

        for number in range(rounds):
            if number == rounds // 3:
                sleeper.send(signal.SIGSTOP)
            # Some 180 kB, which fit into a queue: only who is stopped loses any, whoever gets the processor.
            for worker in (one, two):
                worker.ask("publish", "lobby", published, 800, 200, 20)
            published += 800
            victim.ask("publish_in_background", "lobby", 0, 5_000, 3_000, 3)
            victim = bus.replace(victim)
            victim.ask("subscribe", "lobby")
            for reader in (one, two):
                eventually(lambda r=reader: has_settled(r), 30)
            if number == 2 * rounds // 3:
                end_of_pause(sleeper, pause)
        eventually(lambda: has_settled(sleeper), 30)
        for worker in (one, two):
            worker.ask("publish", "lobby", published, 1, 200, 1)
        published += 1
        for reader, publisher in itertools.product((one, two, sleeper), (one, two)):
            eventually(lambda r=reader, p=publisher: r.numbers("lobby", p)[-1:] == [published - 1], 30)
            came = reader.numbers("lobby", publisher)
            assert_in_order(came)
            losses = lost(publisher, reader)
            assert len(came) + losses == published, f"{publisher.seat} to {reader.seat}: {losses} counted as lost"
            if reader is not sleeper:
                assert losses == 0
            assert silent_holes(reader, publisher) == []
        for reader in (one, two, sleeper):
            per_process: dict[str, list[int]] = {}
            for text in reader.ask("received", "lobby"):
                process, _, number_text = text.partition(":")
                if text == "gap":
                    continue
                per_process.setdefault(process, []).append(int(number_text))
            for numbers in per_process.values():
                assert_in_order(numbers)


def end_of_pause(sleeper: Worker, pause: float) -> None:
    if pause:
        time.sleep(pause)  # what is tested is a process that stands still for so long
    sleeper.send(signal.SIGCONT)


def test_order_and_counts_hold_while_workers_are_killed_and_stopped() -> None:
    nemesis(pause=0.0, rounds=9)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_order_and_counts_hold_for_long() -> None:
    nemesis(pause=20.0, rounds=60)
