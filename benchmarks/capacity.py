"""What a million connections need, simulated from measured costs: ``python benchmarks/capacity.py``.

Clients are put on workers at random, rooms on shards by the hash of their name. The simulation adds up what each worker
and each shard has to do in a second, adds workers and shards until none is busier than BUSY, and then has
messages queue at the busiest of each. ``--update`` writes the table into ``docs/capacity.md``.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
COSTS = HERE / "results/costs.json"
DOCUMENT = HERE.parent / "docs/capacity.md"
BEGIN, END = "<!-- capacity:begin -->\n", "<!-- capacity:end -->\n"

CONNECTIONS = 1_000_000
ROOMS = (10, 1_000, 100_000)
#: Messages a second in each room, whatever its size: so each client gets one a second.
RATE = 1.0
WORKERS_OF_AN_INSTANCE = 8
#: Connections of a worker at most. 10,000 were measured; and so many come back at once when a worker dies.
MOST_CONNECTIONS = 25_000
#: How much of its processor's time anything may take, so that a burst finds room.
BUSY = 0.6
#: Bytes of a message to a client beside its payload: frame, TCP and IP; and of one from Redis: RESP and a name.
FRAME, PUSH = 54, 70
ARRIVALS = 20_000


@dataclass(frozen=True)
class Costs:
    """Microseconds of processor time, unless the name says otherwise; measured by ``costs.py``."""

    publish_us: float
    message_us: float
    delivery_us: float
    engine_publish_us: float
    engine_push_us: float
    kept_us: float
    connection_kib: float


@dataclass(frozen=True)
class Need:
    """What rooms of one size need, and how busy that keeps the busiest."""

    room: int
    published: float
    pushed: float
    workers: int
    shards: int
    busiest_worker: float
    busiest_shard: float
    largest_share: str
    turn_ms: float
    wait_ms: float
    shard_wait_ms: float
    room_limit: float
    redis_mb: float
    clients_mb: float

    @property
    def instances(self) -> int:
        return -(-self.workers // WORKERS_OF_AN_INSTANCE)


def load() -> tuple[Costs, int]:
    """Return the measured costs, and the size of the messages that they are of."""
    found = json.loads(COSTS.read_text())
    return Costs(**found["costs"]), found["size"]


def need(costs: Costs, size: int, room: int) -> Need:
    """Simulate, with as many workers and shards as it takes."""
    rng = random.Random(room)
    rooms = CONNECTIONS // room
    deliveries = CONNECTIONS * RATE
    workers = CONNECTIONS // MOST_CONNECTIONS
    while True:
        places = rng.choices(range(workers), k=CONNECTIONS)
        here = [Counter(places[first : first + room]) for first in range(0, CONNECTIONS, room)]
        clients, messages, publishers = [0] * workers, [0] * workers, [0] * workers
        for counter in here:
            for worker, count in counter.items():
                clients[worker] += count
                messages[worker] += 1
            publishers[rng.randrange(workers)] += 1
        work = [
            {
                "deliveries": clients[w] * RATE * costs.delivery_us,
                "messages": messages[w] * RATE * costs.message_us,
                "publishing": publishers[w] * RATE * costs.publish_us,
                "keeping": clients[w] * costs.kept_us,
            }
            for w in range(workers)
        ]
        busy = [sum(each.values()) / 1e6 for each in work]
        if max(busy) <= BUSY:
            break
        workers = max(workers + 1, int(workers * max(busy) / BUSY * 0.98))
    shards = 1
    while True:
        shard_busy = [0.0] * shards
        for counter in here:
            cost = costs.engine_publish_us + len(counter) * costs.engine_push_us
            shard_busy[rng.randrange(shards)] += RATE * cost / 1e6
        if max(shard_busy) <= BUSY:
            break
        shards += 1
    busiest = busy.index(max(busy))
    turns = [costs.message_us + counter[busiest] * costs.delivery_us for counter in here if busiest in counter]
    spread = max(map(len, here))
    pushed = sum(map(len, here)) * RATE
    services = [costs.engine_publish_us + len(counter) * costs.engine_push_us for counter in here]
    return Need(
        room,
        rooms * RATE,
        pushed,
        workers,
        shards,
        max(busy),
        max(shard_busy),
        max(work[busiest], key=work[busiest].__getitem__),
        max(turns) / 1e3,
        wait(rng, turns, max(busy)),
        wait(rng, services, max(shard_busy)),
        1e6 / max(costs.engine_publish_us + spread * costs.engine_push_us, max(turns)),
        pushed * (size + PUSH) / 1e6,
        deliveries * (size + FRAME) / 1e6,
    )


def wait(rng: random.Random, services: Sequence[float], busy: float) -> float:
    """Return the milliseconds that all but a hundredth of the messages wait at most, where they come at random.

    Args:
        services: Microseconds that each of them takes.
        busy: The share of the time that they take together.
    """
    pause = sum(services) / len(services) / busy
    waiting, waits = 0.0, []
    for _ in range(ARRIVALS):
        waits.append(waiting)
        waiting = max(0.0, waiting + rng.choice(services) - rng.expovariate(1 / pause))
    return sorted(waits)[int(len(waits) * 0.99)] / 1e3


def table() -> str:
    """Return what all room sizes need, as Markdown."""
    costs, size = load()
    needs = [need(costs, size, room) for room in ROOMS]
    rows = [
        ("rooms of", *(f"{each.room:,}" for each in needs)),
        ("---", *("---:" for _ in needs)),
        ("messages published a second", *(f"{each.published:,.0f}" for each in needs)),
        ("messages from Redis to workers a second", *(f"{each.pushed:,.0f}" for each in needs)),
        ("**workers**, a processor each", *(f"**{each.workers}**" for each in needs)),
        (f"instances of {WORKERS_OF_AN_INSTANCE} workers", *(f"{each.instances}" for each in needs)),
        ("connections of a worker", *(f"{CONNECTIONS // each.workers:,}" for each in needs)),
        (
            "memory of a worker's connections, MiB",
            *(f"{CONNECTIONS / each.workers * costs.connection_kib / 1024:,.0f}" for each in needs),
        ),
        ("**shards** of a Cluster", *(f"**{each.shards}**" for each in needs)),
        ("the busiest worker is busy", *(f"{each.busiest_worker:.0%}" for each in needs)),
        ("most of that with", *(each.largest_share for each in needs)),
        ("the busiest shard is busy", *(f"{each.busiest_shard:.1%}" for each in needs)),
        ("a message keeps a worker for up to, ms", *(f"{each.turn_ms:.2f}" for each in needs)),
        ("99 of 100 wait in the worker for up to, ms", *(f"{each.wait_ms:.2f}" for each in needs)),
        ("in the shard, ms", *(f"{each.shard_wait_ms:.3f}" for each in needs)),
        ("one room takes at most, messages a second", *(f"{each.room_limit:,.0f}" for each in needs)),
        ("from Redis, MB/s", *(f"{each.redis_mb:,.1f}" for each in needs)),
        ("to clients, MB/s", *(f"{each.clients_mb:,.0f}" for each in needs)),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def documented() -> str:
    """Return the table that the document has."""
    return DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    """Print the table, or write it into the document."""
    parser = argparse.ArgumentParser(description="What a million connections need.")
    parser.add_argument("--update", action="store_true", help=f"write it into {DOCUMENT.name}")
    found = table()
    print(found)
    if parser.parse_args().update:
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        DOCUMENT.write_text(before + BEGIN + found + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
