"""Channels of two instances of two workers, while engine, network and workers fail: ``make chaos SEEDS=100``.

A seed draws an engine and a schedule of faults. Publishers number their messages, readers write down what comes, and
afterwards all is checked: nothing came twice or in another order, and where something is missing it was signalled.
``make chaos SEED=17`` does again what seed 17 has done.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import random
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.engines import HOST, Engine, running  # noqa: E402
from support.eventually import eventually  # noqa: E402
from support.http_client import fetch  # noqa: E402
from support.relay import Relay  # noqa: E402
from support.server import APPLICATIONS, ROOT, UWSGI_WS, Program, Server, faults  # noqa: E402
from support.stepped_clock import SteppedClock  # noqa: E402

from chaos.checker import Verdict, check  # noqa: E402  # a script finds the tests' helpers only after the line above
from chaos.clients import Publisher, Reader, Returning  # noqa: E402
from chaos.faults import Fault, draw, signal_instance, strike  # noqa: E402

#: How often each engine is drawn.
ENGINES = {"redis": 4, "valkey": 2, "sentinel": 4, "cluster": 2, "pipes": 1}
#: Bytes that wait for a worker in an engine before it is cut off, without history and with it: what is kept is read at
#: once. Valkey takes 16 KiB for each message on its way back to its own publisher.
OUTPUT_LIMITS = {"valkey": (4_000_000, 8_000_000)}
OUTPUT_LIMIT = (300_000, 4_000_000)
#: Seconds within which publishers send and faults happen.
SECONDS = 8.0
#: Seconds until everybody gets everything again, once there are no more faults.
HEALED_WITHIN = 60.0
#: Seconds after that until members are right: those of a killed worker leave within 10 seconds.
MEMBERS_WITHIN = 15.0
#: What must not be, in the words of the summary: what always stands there, and what only when it was found.
PROMISED = {
    "duplicate": "duplicates",
    "reordering": "reorderings",
    "silent hole": "unsignalled holes",
    "zombie": "zombie members",
}
OTHERS = ("another order", "torn message", "deaf reader", "lost member", "traceback", "broken off")


def lasting_port() -> int:
    """Return a port for a server that is to come back to it: none that the kernel gives to connections meanwhile."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server((HOST, port)):
            return port


class World:
    """All that runs for one seed.

    Attributes:
        kind: The engine's name.
        relay: What one instance reaches it through, where it is a single server.
        clock: That of both instances.
    """

    def __init__(self, kind: str, engine: Engine, folder: str, kept: int) -> None:
        self.kind = kind
        self._kept = kept
        self.engine = engine
        self.relay = Relay((HOST, engine.servers[0].port), 4_096) if kind in ("redis", "valkey") else None
        self.clock = SteppedClock(Path(folder))
        self._ports = [lasting_port() for _ in range(1 if kind == "pipes" else 2)]
        self.instances: list[Server] = []
        self.publishers: list[Publisher] = []
        self.readers: list[Reader] = []
        self.begun: dict[str, float] = {}
        self.logs: list[str] = []

    def instance(self, target: int) -> Server:
        return self.instances[target % len(self.instances)]

    def start_instance(self, target: int) -> None:
        """Start an instance, perhaps in the place of a dead one."""
        number = target % len(self._ports)
        url = self.engine.url
        if self.relay is not None and number == 0:
            url = f"redis://{HOST}:{self.relay.address[1]}"
        command = ("setsid", *UWSGI_WS.command[:3], "--http", f"{HOST}:{self._ports[number]}")
        options = ["--processes", str(4 // len(self._ports)), "--gevent", "100", "--disable-logging"]
        options += ["--channel-queue", "200", "--websockets-max-size", "400"]
        if url:
            options += ["--channels-optional", "--channels", f"{url}?socket_timeout=1"]
        if self._kept:
            options += ["--channel-history", f"room={self._kept}"]
        path = os.pathsep.join([str(self.clock.folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
        if number < len(self.instances):
            self.instances[number].wait()
            self.logs.append(self.instances[number].log)
        server = Server(
            APPLICATIONS / "chaos.py",
            *options,
            env={"PYTHONPATH": path},
            program=Program(command, UWSGI_WS.ready),
            deadline=HEALED_WITHIN,
        )
        self.instances[number : number + 1] = [server]

    def populate(self, messages: int) -> None:
        for number in range(len(self._ports)):
            self.start_instance(number)
        for number in range(2):
            port = self._ports[number % len(self._ports)]
            for which in range(2):
                self.publishers.append(Publisher(f"p{number}{which}", port, messages // 4, SECONDS, self.begun))
            roles = ("join", "subscribe", "return", "strict") if self._kept else 2 * ("join", "subscribe")
            for place, how in enumerate(roles):
                kind = Returning if how in ("return", "strict") else Reader
                self.readers.append(kind(f"{how}-{number}.{place}", port, f"/{how}"))
        for client in (*self.readers, *self.publishers):
            client.start()

    def is_healed(self) -> bool:
        """Whether everybody gets what everybody publishes now."""
        marks = [publisher.last for publisher in self.publishers]
        eventually(lambda: all(now.last > mark for now, mark in zip(self.publishers, marks, strict=True)), 3)
        marks = [publisher.last for publisher in self.publishers]
        eventually(lambda: all(reader.last.get(life, -1) >= n for reader in self.readers for life, n in marks), 3)
        return True

    def members(self) -> Counter[str]:
        """Return who is there, and how often at least one worker says so."""
        found: Counter[str] = Counter()
        for _ in range(6):  # so that each worker is asked
            for port in self._ports:
                with contextlib.suppress(OSError, AssertionError):
                    found |= Counter(json.loads(fetch((HOST, port), "/members").body))
        return found

    def check_members(self, verdict: Verdict) -> None:
        """All who have joined are members, once each, and nobody else."""
        expected = Counter(reader.label for reader in self.readers if reader.label.startswith("join"))
        try:
            eventually(lambda: self.members() == expected, MEMBERS_WITHIN)
        except AssertionError:
            there = self.members()
            if zombies := there - expected:
                verdict.blame("zombie", f"{sorted(zombies)} are members and have gone")
            if lost := expected - there:
                verdict.blame("lost member", f"{sorted(lost)} have joined and are no members")

    def close(self) -> None:
        for client in (*self.publishers, *self.readers):
            client.end()
        for server in self.instances:
            signal_instance(server, signal.SIGCONT)
            server.stop()
            signal_instance(server, signal.SIGKILL)  # workers whose master has been killed alone
            self.logs.append(server.log)
        if self.relay is not None:
            self.relay.close()


@dataclass
class Outcome:
    """What a seed has come to."""

    seed: int
    engine: str
    kept: int = 0
    faults: list[Fault] = field(default_factory=list)
    published: int = 0
    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0
    log: str = ""

    def line(self) -> str:
        verdict = self.verdict
        found = ", ".join(f"{count} x {kind} ({verdict.examples[kind]})" for kind, count in verdict.problems.items())
        return (
            f"seed {self.seed}, {self.engine}, {self.kept} kept: {self.published} published, "
            f"{verdict.delivered} delivered, {verdict.missed} missed, {verdict.gaps} gaps, "
            f"{verdict.recovered} recovered, {self.seconds:.0f} s: {found or 'ok'}"
        )


def play(seed: int, messages: int) -> Outcome:
    """Do what a seed draws, and check what has come."""
    rng = random.Random(seed)
    kind = rng.choices(list(ENGINES), list(ENGINES.values()))[0]
    kept = rng.choice((0, 100, 2_000))
    outcome = Outcome(seed, kind, kept, draw(rng, kind, SECONDS, is_kept=bool(kept)))
    began = time.monotonic()
    with running(kind) as engine, tempfile.TemporaryDirectory(prefix="uwsgi_ws-chaos-") as folder:
        limit = OUTPUT_LIMITS.get(kind, OUTPUT_LIMIT)[bool(kept)]
        for server in engine.servers[: 2 if kind == "sentinel" else None]:
            server.ask("CONFIG", "SET", "client-output-buffer-limit", f"pubsub {limit} 0 0")
        world = World(kind, engine, folder, kept)
        try:
            world.populate(messages)
            _suffer(world, outcome.faults)
            try:
                eventually(lambda: all(each.sent >= messages // 4 for each in world.publishers), HEALED_WITHIN)
                eventually(world.is_healed, HEALED_WITHIN)
                world.check_members(outcome.verdict)
            except AssertionError:
                deaf = [(reader.label, reader.last) for reader in world.readers]
                outcome.verdict.blame("deaf reader", f"not healed after {HEALED_WITHIN:.0f} s: {deaf}")
        finally:
            world.close()
        verdict = check(
            (session for reader in world.readers for session in reader.sessions),
            world.begun,
            is_one_order=kind != "pipes" or bool(kept),
        )
        verdict.problems += outcome.verdict.problems
        verdict.examples |= outcome.verdict.examples
        outcome.log = "\n".join(world.logs)
        for found in faults(outcome.log):
            verdict.blame("traceback", found)
        outcome.published = sum(publisher.sent for publisher in world.publishers)
        outcome.verdict = verdict
    outcome.seconds = time.monotonic() - began
    return outcome


def _suffer(world: World, schedule: list[Fault]) -> None:
    start = time.monotonic()
    events: list[tuple[float, int, Fault]] = []
    for number, fault in enumerate(schedule):
        events += [(fault.at, number, fault), (fault.at + fault.seconds, number, fault)]
    ends: dict[int, Callable[[], None]] = {}
    for at, number, fault in sorted(events, key=lambda event: event[:2]):
        time.sleep(max(0.0, start + at - time.monotonic()))
        if number in ends:
            ends.pop(number)()
        else:
            ends[number] = strike(world, fault)


def play_safely(seed: int, messages: int) -> Outcome:
    """Do the same, and take what breaks for an outcome."""
    try:
        return play(seed, messages)
    except Exception:
        outcome = Outcome(seed, "?")
        outcome.verdict.blame("broken off", traceback.format_exc())
        return outcome


def table(outcomes: list[Outcome]) -> str:
    """Return what came of each seed as Markdown."""
    rows = [
        "| seed | engine | kept | faults | published | delivered | missed | gaps | recovered | found |",
        "|--:|---|--:|---|--:|--:|--:|--:|--:|---|",
    ]
    for outcome in outcomes:
        verdict = outcome.verdict
        done = ", ".join(f"{fault.name} ({fault.seconds} s)" for fault in outcome.faults)
        found = ", ".join(f"{count} {kind}" for kind, count in verdict.problems.items()) or "nothing"
        figures = (outcome.published, verdict.delivered, verdict.missed, verdict.gaps, verdict.recovered)
        counts = " | ".join(f"{figure:,}" for figure in figures)
        rows.append(f"| {outcome.seed} | {outcome.engine} | {outcome.kept} | {done} | {counts} | {found} |")
    return "\n".join([*rows, "", summary(outcomes), ""])


def summary(outcomes: list[Outcome]) -> str:
    problems: Counter[str] = sum((outcome.verdict.problems for outcome in outcomes), Counter())
    found = ", ".join(
        [f"{problems[kind]} {words}" for kind, words in PROMISED.items()]
        + [f"{problems[kind]} x {kind}" for kind in OTHERS if problems[kind]]
    )
    return (
        f"chaos: {len(outcomes)} seeds, {sum(outcome.published for outcome in outcomes):,} messages, "
        f"{sum(outcome.verdict.delivered for outcome in outcomes):,} deliveries: {found}; "
        f"{sum(outcome.verdict.missed for outcome in outcomes):,} deliveries missed, all of them signalled by "
        f"{sum(outcome.verdict.gaps for outcome in outcomes):,} gaps; "
        f"{sum(outcome.verdict.recovered for outcome in outcomes):,} connections came back and missed nothing"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Channels while engine, network and workers fail.")
    parser.add_argument("--seeds", type=int, default=4, help="how many, from 1 on")
    parser.add_argument("--seed", type=int, help="only this one, with its log")
    parser.add_argument("--messages", type=int, default=10_000, help="of each seed")
    parser.add_argument("--jobs", type=int, default=1, help="seeds at the same time")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write what came of each seed as Markdown")
    arguments = parser.parse_args()
    outcomes = []
    seeds = [arguments.seed] if arguments.seed else list(range(1, arguments.seeds + 1))
    executor = ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn"))
    for outcome in executor.map(play_safely, seeds, itertools.repeat(arguments.messages)):
        print(outcome.line(), flush=True)
        outcomes.append(outcome)
        if arguments.table:
            arguments.table.write_text(table(outcomes))
        if outcome.verdict.problems or arguments.seed:
            print("\n".join(["", *map(str, outcome.faults), "", outcome.log]))
            print(f"again: make chaos SEED={outcome.seed} MESSAGES={arguments.messages}", flush=True)
    print(summary(outcomes))
    return 1 if any(outcome.verdict.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
