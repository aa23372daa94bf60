"""Channels of two instances of two workers over real engines, while these stop, die, move, and refuse."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from support.bus import Worker, Workers, silent_holes
from support.engines import HOST, Engine, EngineServer, running
from support.eventually import eventually
from support.relay import Relay, relay_to

import uwsgi_ws

_probes = itertools.count(1_000_000)
#: What a server may be silent, where a test makes it silent.
QUICK = "?socket_timeout=1"
#: Bytes that a relay passes on at once: messages are cut in the middle.
PIECE = 1_000


@contextlib.contextmanager
def instances(url: str, count: int = 2, **settings: int) -> Iterator[list[Worker]]:
    """Run instances of two workers each; yield all workers."""
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(Workers(2, url=url, **settings)) for _ in range(count)]
        yield [worker for workers in started for worker in workers.workers]


def subscribe_all(workers: list[Worker], channel: str = "lobby") -> None:
    """Subscribe, and wait until the engine has it."""
    for worker in workers:
        worker.ask("subscribe", channel)
    wait_until_live(workers, channel)


def wait_until_live(workers: list[Worker], channel: str = "lobby") -> None:
    """Publish until a message of the first has come to all."""
    attempts = 0
    for number in _probes:
        workers[0].ask("publish", channel, number, 1, 20, 1)
        try:
            eventually(lambda n=number: all(has(worker, workers[0], n, channel) for worker in workers), 0.5)
        except AssertionError:
            attempts += 1
            assert attempts < 30, "a worker hears nothing"
        else:
            return


def has(worker: Worker, publisher: Worker, number: int, channel: str = "lobby") -> bool:
    return number in worker.numbers(channel, publisher)


def received(worker: Worker, channel: str = "lobby") -> list[str]:
    """What has come, but for what ``wait_until_live`` has sent."""
    return [each for each in worker.ask("received", channel) if ":1000" not in each]


def stat(worker: Worker, name: str) -> int:
    return int(worker.ask("stats")[name])


def assert_no_duplicate_or_reordering(worker: Worker) -> None:
    by_publisher: dict[str, list[int]] = {}
    for text in received(worker):
        publisher, _, number = text.partition(":")
        if number:
            by_publisher.setdefault(publisher, []).append(int(number))
    for numbers in by_publisher.values():
        assert all(before < after for before, after in itertools.pairwise(numbers))


@pytest.mark.parametrize("name", ["redis", "valkey", "sentinel", "cluster"])
def test_all_subscribers_everywhere_get_all_messages_in_one_order(
    name: str, shared_engine: Callable[[str], Engine]
) -> None:
    with instances(shared_engine(name).url) as workers:
        subscribe_all(workers)
        for worker in workers:
            worker.ask("publish_in_background", "lobby", 0, 500, 60, 7)
        for worker in workers:
            eventually(lambda w=worker: len(received(w)) == 2_000, 20)
        first, *others = [received(worker) for worker in workers]
        assert "gap" not in first
        assert others == [first] * 3
        assert [stat(worker, "channel_drops") for worker in workers] == [0] * 4
        assert_no_duplicate_or_reordering(workers[0])


def test_messages_of_a_megabyte_and_of_no_byte_come_whole(redis: Engine) -> None:
    with instances(redis.url, queue_size=32 << 20) as workers:
        subscribe_all(workers[::3])
        workers[0].ask("publish", "lobby", 0, 5, 1_000_000, 1)
        for worker in workers[::3]:
            eventually(lambda w=worker: len(received(w)) == 5, 10)


def test_the_engine_is_asked_only_for_channels_with_subscribers_by_the_first_and_the_last(redis: Engine) -> None:
    server = redis.servers[0]
    with instances(redis.url + "?prefix=only:", 1) as (one, two):
        one.ask("subscribe", "a")
        one.ask("subscribe", "b")
        two.ask("subscribe", "b")
        eventually(lambda: server.ask("PUBSUB", "NUMSUB", "only:a", "only:b") == ["only:a", 1, "only:b", 2])
        assert sorted(server.ask("PUBSUB", "CHANNELS", "only:*")) == ["only:a", "only:b"]
        eventually(lambda: (one.ask("count", "b"), two.ask("count", "a")) == (2, 1))
        one.ask("unsubscribe", "a")
        one.ask("unsubscribe", "b")
        eventually(lambda: server.ask("PUBSUB", "NUMSUB", "only:a", "only:b") == ["only:a", 0, "only:b", 1])
        two.ask("close")
        eventually(lambda: server.ask("PUBSUB", "CHANNELS", "only:*") == [])
        eventually(lambda: one.ask("count", "b") == 0)


def test_other_programs_publish_by_a_plain_command(redis: Engine) -> None:
    client = redis.servers[0]
    with instances(redis.url, 1) as (worker, _):
        subscribe_all([worker])
        for data in (
            "Grüße".encode(),
            b"",
            b"\xff\x00",
            b"\x00wsbbinary",
            b"\x00wsttext",
            b"\x00wsg",
            b"\x00ws?",
            b"\x00",
        ):
            client.ask("PUBLISH", "uwsgi_ws:lobby", data)
        expected = ["Grüße", "", r"b'\xff\x00'", "b'binary'", "text", "gap", "\x00"]
        # Of two gaps that nothing lies between a subscriber that has not taken the first gets one.
        eventually(lambda: [each for each, _ in itertools.groupby(received(worker))] == expected)
        assert stat(worker, "channel_drops") == 1, "what has a head that nobody knows"
        client.ask("PUBLISH", "uwsgi_ws:lobby", "x" * ((1 << 20) + 1))
        eventually(lambda: stat(worker, "channel_drops") == 2)
        uwsgi_ws.publish_to(redis.url, "lobby", "from outside")
        uwsgi_ws.publish_to(redis.url, "lobby", b"bytes")
        eventually(lambda: received(worker)[-2:] == ["from", "b'bytes'"])


def test_a_killed_engine_costs_what_is_counted_and_every_subscriber_is_told(own_redis: Engine) -> None:
    [server] = own_redis.servers
    with instances(own_redis.url) as workers:
        subscribe_all(workers)
        workers[0].ask("publish", "lobby", 0, 100, 40, 10)
        for worker in workers:
            eventually(lambda w=worker: len(received(w)) == 100)
        server.stop()
        for worker in workers:
            worker.ask("publish_in_background", "lobby", 100, 50, 40, 1)
        server.start()
        wait_until_live(workers)
        workers[0].ask("publish", "lobby", 200, 10, 40, 1)
        for worker in workers:
            eventually(lambda w=worker: w.numbers("lobby", workers[0])[-1] == 209, 10)
            assert "gap" in received(worker)
            assert stat(worker, "channel_gaps") >= 1
            assert_no_duplicate_or_reordering(worker)
            come = received(worker)
            assert come.index("gap") > 99, "what came before is whole"
            assert come[:100] == come[:100][:1] + come[1:100]
        assert "gap" not in come[come.index(f"0.{workers[0].pid}:200") :]


def test_a_stopped_engine_is_noticed_though_its_kernel_takes_everything(own_redis: Engine) -> None:
    [server] = own_redis.servers
    with instances(own_redis.url + QUICK, 1) as workers:
        subscribe_all(workers)
        server.signal(signal.SIGSTOP)
        workers[0].ask("publish", "lobby", 0, 20, 40, 1)
        eventually(lambda: stat(workers[0], "channel_drops") == 20, 5)
        workers[0].ask("publish", "lobby", 20, 20, 40, 1)
        workers[0].send(signal.SIGSTOP)  # until the other has surely subscribed again
        server.signal(signal.SIGCONT)
        wait_until_live(workers[1:])
        workers[0].send(signal.SIGCONT)
        for worker in workers:
            # What was under way came or not; what waited here comes.
            eventually(lambda w=worker: w.numbers("lobby", workers[0])[-20:] == list(range(20, 40)), 10)
            eventually(lambda w=worker: "gap" in received(w))
            assert_no_duplicate_or_reordering(worker)


def test_what_the_queue_has_no_room_for_is_dropped_and_signalled(own_redis: Engine) -> None:
    [server] = own_redis.servers
    with instances(own_redis.url, queue_size=100_000, max_message_size=10_000) as workers:
        subscribe_all(workers)
        server.signal(signal.SIGSTOP)
        for first in range(0, 4_000, 1_000):
            workers[0].ask("publish", "lobby", first, 1_000, 5_000, 10)
        drops = stat(workers[0], "channel_drops")
        assert drops > 0
        server.signal(signal.SIGCONT)
        for worker in workers:
            eventually(lambda w=worker: w.count("lobby", workers[0]) >= 4_000 - drops, 10)
            eventually(lambda w=worker: received(w)[-1] == "gap")
            assert len(received(worker)) == 4_000 - drops + 1
            assert_no_duplicate_or_reordering(worker)


def test_a_cut_connection_tears_no_message_and_is_a_gap_for_its_worker_and_its_readers(redis: Engine) -> None:
    with (
        relay_to((HOST, redis.servers[0].port), PIECE) as relay,
        instances(f"redis://{HOST}:{relay.address[1]}", 1) as (cut, _),
        instances(redis.url, 1) as (whole, _),
    ):
        subscribe_all([cut, whole])
        for number in range(5):
            cut.ask("publish_in_background", "lobby", number * 100, 100, 20_000, 5)
            eventually(lambda n=number: whole.numbers("lobby", cut)[-1:] >= [n * 100 + 10], 10)
            relay.cut()
            wait_until_live([cut, whole])
        for worker in (cut, whole):
            assert_no_duplicate_or_reordering(worker)
            assert "gap" in received(worker), "one lost its connection, the other what came over that"
        assert stat(whole, "channel_drops") == 0


def test_a_reader_that_the_engine_cuts_off_as_too_slow_is_told(own_redis: Engine) -> None:
    [server] = own_redis.servers
    server.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 200000 0 0")
    with instances(own_redis.url, 1) as (publisher, sleeper):
        subscribe_all([publisher, sleeper])
        sleeper.send(signal.SIGSTOP)
        for first in range(0, 4_000, 100):
            publisher.ask("publish", "lobby", first, 100, 5_000, 5)
            eventually(lambda f=first: publisher.count("lobby", publisher) > f)
        sleeper.send(signal.SIGCONT)
        wait_until_live([publisher, sleeper])
        assert "gap" in received(sleeper)
        assert len(received(sleeper)) < 4_000
        assert_no_duplicate_or_reordering(sleeper)


class Nemesis:
    """Does harm to an engine, its connections and its workers, in an order that a seed draws."""

    def __init__(self, seed: int, engine: EngineServer, relay: Relay, workers: list[Worker]) -> None:
        self._random = random.Random(seed)
        self._engine = engine
        self._relay = relay
        self._workers = workers
        self.done: list[str] = []

    def strike(self) -> None:
        fault = self._random.choice([self.kill, self.stop, self.cut, self.expel, self.stand_still])
        self.done.append(fault.__name__)
        fault()

    def kill(self) -> None:
        self._engine.stop()
        self._publish()
        self._engine.start()

    def stop(self) -> None:
        self._engine.signal(signal.SIGSTOP)
        self._publish()
        time.sleep(self._random.choice([0.1, 1.5]))  # the fault: shorter, or longer, than it may be silent
        self._engine.signal(signal.SIGCONT)

    def cut(self) -> None:
        self._relay.cut()

    def expel(self) -> None:
        self._engine.ask("CLIENT", "KILL", "TYPE", "pubsub")

    def stand_still(self) -> None:
        worker = self._random.choice(self._workers)
        worker.send(signal.SIGSTOP)
        time.sleep(0.1)  # the fault: it grows a backlog
        worker.send(signal.SIGCONT)

    def _publish(self) -> None:
        for worker in self._workers:
            worker.ask("publish_next", "lobby", 20, 60, 5)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("seed", "rounds"), [(1, 3), *(pytest.param(seed, 6, marks=pytest.mark.long) for seed in range(2, 20))]
)
def test_no_hole_is_silent_whatever_happens(own_redis: Engine, seed: int, rounds: int) -> None:
    [server] = own_redis.servers
    server.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 300000 0 0")
    with (
        relay_to((HOST, server.port), PIECE) as relay,
        instances(f"redis://{HOST}:{relay.address[1]}{QUICK}", 1, queue_size=100_000, max_message_size=10_000) as cut,
        instances(own_redis.url + QUICK, 1, queue_size=100_000, max_message_size=10_000) as direct,
    ):
        workers = [*cut, *direct]
        for worker in workers:
            worker.ask("subscribe", "lobby")
        eventually(lambda: server.ask("PUBSUB", "NUMSUB", "uwsgi_ws:lobby")[1] == len(workers))
        nemesis = Nemesis(seed, server, relay, workers)
        for _ in range(rounds):
            for worker in workers:
                worker.ask("publish_next_in_background", "lobby", 400, 600, 4)
            nemesis.strike()
        wait_for_end(workers)
        assert holes(workers) == {}, f"after {nemesis.done}"


def holes(workers: list[Worker]) -> dict[str, list[str]]:
    return {
        f"{reader.pid} of {publisher.pid}": found
        for reader, publisher in itertools.product(workers, repeat=2)
        if (found := silent_holes(reader, publisher))
    }


def wait_for_end(workers: list[Worker]) -> None:
    """Publish until everybody has got a message of everybody that was published after all that went before."""

    def has_last() -> bool:
        last = {worker: worker.ask("publish_next", "lobby", 1, 60, 1) for worker in workers}
        for reader, publisher in itertools.product(workers, repeat=2):
            eventually(lambda r=reader, p=publisher: last[p] in r.numbers("lobby", p), 2)
        return True

    eventually(has_last, 40)


def test_a_failover_by_sentinel_is_followed() -> None:
    with running("sentinel") as engine, instances(engine.url + QUICK) as workers:
        master, replica, _ = engine.servers
        eventually(lambda: master.ask("INFO", "replication")["slave0"]["state"] == "online", 10)
        subscribe_all(workers)
        master.signal(signal.SIGSTOP)  # for Sentinel the same as dead; for its clients worse
        eventually(lambda: replica.ask("ROLE")[0] == "master", 20)
        wait_until_live(workers)
        assert replica.ask("PUBSUB", "NUMSUB", "uwsgi_ws:lobby") == ["uwsgi_ws:lobby", 4]
        for worker in workers:
            assert "gap" in received(worker)
            assert_no_duplicate_or_reordering(worker)


def test_what_was_lost_before_a_failover_is_signalled_after_it() -> None:
    with (
        running("sentinel") as engine,
        instances(engine.url + QUICK, queue_size=100_000, max_message_size=10_000) as workers,
    ):
        master, _, watcher = engine.servers
        eventually(lambda: master.ask("INFO", "replication")["slave0"]["state"] == "online", 10)
        for worker in workers:
            worker.ask("subscribe", "lobby")
        eventually(lambda: master.ask("PUBSUB", "NUMSUB", "uwsgi_ws:lobby")[1] == len(workers))
        for worker in workers:
            worker.ask("publish_next", "lobby", 100, 60, 10)
        watcher.signal(signal.SIGSTOP)
        master.stop()
        workers[0].ask("publish_next", "lobby", 1, 60, 1)
        for size in (1_000, 60):  # until there is no room for the smallest
            workers[0].ask("publish_next", "lobby", 200, size, 10)
        assert stat(workers[0], "channel_drops") > 200
        watcher.signal(signal.SIGCONT)
        wait_for_end(workers)
        assert holes(workers) == {}


def test_a_channel_that_moves_within_a_cluster_is_followed() -> None:
    with running("cluster") as engine, instances(engine.url) as workers:
        subscribe_all(workers)
        slot = engine.servers[0].ask("CLUSTER", "KEYSLOT", "uwsgi_ws:lobby")
        [home] = [s for s in engine.servers if s.ask("PUBSUB", "SHARDCHANNELS")]
        target = next(server for server in engine.servers if server is not home)
        node = target.ask("CLUSTER", "MYID")
        for server in (target, home, *engine.servers):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", node)
        wait_until_live(workers)
        assert target.ask("PUBSUB", "SHARDNUMSUB", "uwsgi_ws:lobby") == ["uwsgi_ws:lobby", 4]
        for worker in workers:
            assert "gap" in received(worker)
            assert_no_duplicate_or_reordering(worker)
