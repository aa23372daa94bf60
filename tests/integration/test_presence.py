"""Members of channels, over pipes and real engines: known everywhere, in order, and gone with their workers."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time
from collections.abc import Iterator

import pytest
from support.bus import Worker, Workers
from support.engines import HOST, Engine, running
from support.eventually import eventually
from support.peers import require_module

pytestmark = pytest.mark.matrix

#: Seconds between beats, where a test need not see how long they are in truth.
QUICK = 0.25
GONE = 10.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UWSGI_WS_TEST_BEAT", str(QUICK))


@contextlib.contextmanager
def two_instances(engine: Engine, query: str = "") -> Iterator[tuple[Workers, Workers]]:
    """Run two instances of two workers; with pipes these are one of four."""
    if not engine.url:
        with Workers(4) as workers:
            yield workers, workers
    else:
        with Workers(2, url=engine.url + query) as one, Workers(2, url=engine.url + query) as two:
            yield one, two


def all_of(instances: tuple[Workers, Workers]) -> list[Worker]:
    return list(dict.fromkeys(worker for instance in instances for worker in instance.workers))


def members(worker: Worker, channel: str = "lobby") -> list[str]:
    return worker.ask("members", channel)  # type: ignore[no-any-return]


def believed(worker: Worker, channel: str = "lobby") -> list[str]:
    """Return who is there for an application that only listens to the events."""
    there: set[str] = set()
    for text in worker.ask("received", channel):
        kind, _, name = text.partition(" ")
        if kind == "joined":
            assert name not in there
            there.add(name)
        elif kind == "left":
            there.remove(name)
    return sorted(there)


def agree(workers: list[Worker], *names: str, within: float = 5.0) -> None:
    """Wait until all workers know just these members, and have told of them."""
    for worker in workers:
        eventually(lambda w=worker: members(w) == believed(w) == sorted(names), within)


def story(worker: Worker) -> list[str]:
    return [text for text in worker.ask("received", "lobby") if text != "gap"]


@pytest.mark.parametrize("name", ["pipes", "redis", "cluster", pytest.param("valkey", marks=pytest.mark.long)])
def test_members_are_known_everywhere_and_gone_with_their_worker(name: str, quick: None) -> None:
    with running(name) as engine, two_instances(engine) as instances:
        workers = all_of(instances)
        one, two, three, four = workers
        for worker in workers:
            worker.ask("subscribe", "lobby", None, True)
        one.ask("enter", "lobby", "ann", "bob")
        three.ask("enter", "lobby", "cid")
        agree(workers, "ann", "bob", "cid")
        one.ask("leave", "lobby", "bob")
        one.ask("enter", "lobby", "ann")  # once more, the same
        agree(workers, "ann", "cid")
        # Frozen: its members are given up, and back as soon as it is.
        three.send(signal.SIGSTOP)
        agree([one, two, four], "ann")
        three.send(signal.SIGCONT)
        agree(workers, "ann", "cid")
        # Killed, and replaced.
        new = instances[1].replace(three)
        workers = [one, two, new, four]
        new.ask("subscribe", "lobby", None, True)
        new.ask("enter", "lobby", "dan")
        agree(workers, "ann", "dan")
        # Ended in order.
        one.ask("close")
        agree([two, new, four], "dan", within=1.0)
        if engine.url:  # once they all listened, they all heard the same
            first, second = (heard[heard.index("left bob") :] for heard in (story(two), story(four)))
            assert first == second


@pytest.mark.parametrize("name", ["pipes", "redis", "cluster"])
def test_members_come_and_go_in_order_with_their_messages(name: str) -> None:
    with running(name) as engine, two_instances(engine) as instances:
        workers = all_of(instances)
        for worker in workers:
            worker.ask("subscribe", "lobby", None, True)
        workers[0].ask("enter", "lobby", "first")
        agree(workers, "first")
        speaker = workers[0]
        expected = ["joined first"]
        for number in range(50):
            speaker.ask("enter", "lobby", f"m{number}")
            speaker.ask("publish", "lobby", number, 1, 20, 1)
            speaker.ask("leave", "lobby", f"m{number}")
            expected += [f"joined m{number}", f"0.{speaker.pid}:{number}", f"left m{number}"]
        for worker in workers:
            eventually(lambda w=worker: len(story(w)) == len(expected))
            assert story(worker) == expected


def test_who_is_there_can_be_asked_where_nobody_has_joined_and_is_not_counted() -> None:
    with running("redis") as engine, two_instances(engine) as instances:
        one, two, three, _ = all_of(instances)
        one.ask("enter", "lobby", "ann")
        eventually(lambda: members(three) == ["ann"])
        eventually(lambda: members(two) == ["ann"])
        assert [one.ask("count", "lobby"), two.ask("count", "lobby"), three.ask("count", "lobby")] == [1, 1, 0]
        # Other programs ask, too.
        redis = require_module("redis")
        with redis.Redis(host=HOST, port=engine.servers[0].port) as client, client.pubsub() as subscription:
            subscription.subscribe("uwsgi_ws:lobby")
            question = {"kind": "question", "worker": "a program", "tick": 0, "known": {}, "all": True}
            client.publish("uwsgi_ws:lobby", b"\0wsp" + json.dumps(question).encode())
            answers = (message["data"] for message in subscription.listen() if message["type"] == "message")
            state = next(data for data in answers if b'"state"' in data)
            assert list(json.loads(state[4:])["members"].values()) == [{"name": "ann"}]
        one.ask("leave", "lobby", "ann")
        eventually(lambda: members(three) == [])


def test_members_of_a_killed_instance_are_gone_in_ten_seconds() -> None:
    with (
        running("redis") as engine,
        two_instances(engine) as (instance, dying),
        Workers(2) as piped,
    ):
        for workers in ([*instance.workers, *dying.workers], piped.workers):
            for number, worker in enumerate(workers):
                worker.ask("subscribe", "lobby", None, True)
                worker.ask("enter", "lobby", f"m{number}")
            agree(workers, *(f"m{number}" for number in range(len(workers))))
        began = time.monotonic()
        for worker in (*dying.workers, piped.workers[1]):
            worker.send(signal.SIGKILL)
        agree(instance.workers, "m0", "m1", within=GONE)
        agree(piped.workers[:1], "m0", within=GONE)
        assert time.monotonic() - began < GONE


def test_an_engine_that_dies_or_is_flushed_costs_no_member(quick: None) -> None:
    with running("redis") as engine, two_instances(engine) as instances:
        [server] = engine.servers
        workers = all_of(instances)
        for number, worker in enumerate(workers):
            worker.ask("subscribe", "lobby", None, True)
            worker.ask("enter", "lobby", f"m{number}")
        agree(workers, "m0", "m1", "m2", "m3")
        server.ask("FLUSHALL")
        server.stop()
        workers[0].ask("leave", "lobby", "m0")
        workers[1].ask("enter", "lobby", "new")
        workers[3].send(signal.SIGKILL)
        server.start()
        agree(workers[:3], "m1", "m2", "new", within=GONE)
        told = [text for text in story(workers[0]) if text.startswith("left")]
        assert sorted(told) == ["left m0", "left m3"], "nobody else has been away"


def test_a_failover_by_sentinel_costs_no_member(quick: None) -> None:
    with running("sentinel") as engine, two_instances(engine, "?socket_timeout=1") as instances:
        master, replica, _ = engine.servers
        eventually(lambda: master.ask("INFO", "replication")["slave0"]["state"] == "online", 10)
        workers = all_of(instances)
        for number, worker in enumerate(workers):
            worker.ask("subscribe", "lobby", None, True)
            worker.ask("enter", "lobby", f"m{number}")
        agree(workers, "m0", "m1", "m2", "m3")
        master.signal(signal.SIGSTOP)
        workers[0].ask("leave", "lobby", "m0")
        workers[1].ask("enter", "lobby", "new")
        eventually(lambda: replica.ask("ROLE")[0] == "master", 20)
        agree(workers, "m1", "m2", "m3", "new", within=GONE)


def test_a_channel_that_moves_within_a_cluster_keeps_its_members(quick: None) -> None:
    with running("cluster") as engine, two_instances(engine) as instances:
        workers = all_of(instances)
        for number, worker in enumerate(workers):
            worker.ask("subscribe", "lobby", None, True)
            worker.ask("enter", "lobby", f"m{number}")
        agree(workers, "m0", "m1", "m2", "m3")
        slot = engine.servers[0].ask("CLUSTER", "KEYSLOT", "uwsgi_ws:lobby")
        [home] = [s for s in engine.servers if "uwsgi_ws:lobby" in s.ask("PUBSUB", "SHARDCHANNELS")]
        target = next(server for server in engine.servers if server is not home)
        node = target.ask("CLUSTER", "MYID")
        for server in (target, home, *engine.servers):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", node)
        workers[0].ask("leave", "lobby", "m0")
        workers[3].ask("enter", "lobby", "new")
        agree(workers, "m1", "m2", "m3", "new", within=GONE)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("name", "seed", "rounds"),
    [
        ("redis", 1, 5),
        ("pipes", 1, 5),
        *(pytest.param("redis", seed, 12, marks=pytest.mark.long) for seed in range(2, 20)),
        *(pytest.param("pipes", seed, 12, marks=pytest.mark.long) for seed in range(2, 20)),
    ],
)
def test_no_member_is_lost_or_stays_whatever_happens(name: str, seed: int, rounds: int, quick: None) -> None:
    chance = random.Random(seed)
    with running(name) as engine, two_instances(engine, "?socket_timeout=1") as instances:
        there: dict[Worker, set[str]] = {}
        for worker in all_of(instances):
            worker.ask("subscribe", "lobby", None, True)
            there[worker] = set()
        done = []
        for number in range(rounds):
            worker = chance.choice(list(there))
            fault = chance.choice(["kill", "stop", "expel", "restart", "flush"])
            done.append(fault)
            for each in there:
                _come_and_go(each, there[each], chance, number)
            if fault == "kill":
                instance = next(each for each in instances if worker in each.workers)
                del there[worker]
                successor = instance.replace(worker)
                successor.ask("subscribe", "lobby", None, True)
                there[successor] = set()
            elif fault == "stop":
                worker.send(signal.SIGSTOP)
                time.sleep(chance.choice([0.1, 6 * QUICK]))  # the fault: shorter, or longer, than it may be silent
                worker.send(signal.SIGCONT)
            elif engine.servers and fault == "expel":
                engine.servers[0].ask("CLIENT", "KILL", "TYPE", "pubsub")
            elif engine.servers and fault == "flush":
                engine.servers[0].ask("FLUSHALL")
            elif engine.servers and fault == "restart":
                engine.servers[0].stop()
                for each in there:
                    _come_and_go(each, there[each], chance, number + 1_000)
                engine.servers[0].start()
        try:
            agree(list(there), *set().union(*there.values()), within=20.0)
        except AssertionError as exc:
            raise AssertionError(f"after {done}") from exc


def _come_and_go(worker: Worker, names: set[str], chance: random.Random, number: int) -> None:
    new = [f"{worker.pid}-{number}-{each}" for each in range(chance.randrange(3))]
    old = [name for name in sorted(names) if chance.random() < 0.4]
    worker.ask("enter", "lobby", *new)
    worker.ask("leave", "lobby", *old)
    names.update(new)
    names.difference_update(old)
