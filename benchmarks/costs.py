"""What each step of a message costs, for ``capacity.py``: ``python benchmarks/costs.py`` writes ``results/costs.json``.

The workers' share is fitted to two sizes of one room on two instances of two workers: what a message costs a worker
whoever listens there, and what each client costs beside that. Redis's share is fitted to two numbers of subscribers.
"""

from __future__ import annotations

import json
import socket
import statistics

from harness import TICKS_PER_SECOND, Load, machine, make_bench, measure
from publishing import measure_all, redis
from report import RESULTS
from servers import SERVERS

COSTS = RESULTS / "costs.json"
#: Bytes of a message.
SIZE = 64
WORKERS = 4
ROOMS = (40, 400)
SUBSCRIBERS = (2, 64)
MESSAGES = 20_000
ROUNDS = 3


def fit(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return base and slope of the line through two points."""
    slope = (other[1] - one[1]) / (other[0] - one[0])
    return one[1] - slope * one[0], slope


def workers_costs() -> dict[str, float]:
    """Return microseconds of a message in a worker, and of its delivery to a client."""
    [server] = [server for server in SERVERS if server.name == "uwsgi_ws + redis"]
    bench = make_bench(0, 1)
    points = []
    for clients in ROOMS:
        load = Load("fanout", {"connections": clients, "size": SIZE, "depth": 4, "publishers": 1, "seconds": 2.0})
        rounds = [measure(server, "instances", load, bench)["own_cpu_us"] for _ in range(ROUNDS)]
        points.append((clients / WORKERS, statistics.median(rounds) * clients / WORKERS))
    base, slope = fit(*points)
    return {"message_us": base, "delivery_us": slope}


def engine_costs() -> dict[str, float]:
    """Return microseconds of Redis for a message published, and for each worker that it is sent to."""
    points = []
    for count in SUBSCRIBERS:
        points.append((count, statistics.median(_engine_cpu(count) for _ in range(ROUNDS))))
    base, slope = fit(*points)
    return {"engine_publish_us": base, "engine_push_us": slope}


def _engine_cpu(count: int) -> float:
    with redis() as url:
        path = url.removeprefix("unix://")
        sockets = []
        for _ in range(count + 1):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            sockets.append(sock)
        publisher, *subscribers = sockets
        for sock in subscribers:
            sock.sendall(b"SUBSCRIBE room\r\n")
            sock.recv(1_000)
        publisher.sendall(b"INFO server\r\n")
        pid = int(publisher.recv(100_000).partition(b"process_id:")[2].split()[0])
        before = _cpu(pid)
        batch = b"PUBLISH room " + b"x" * SIZE + b"\r\n"
        for _ in range(MESSAGES // 10):  # as many as come in one turn of some workers
            publisher.sendall(batch * 10)
            answers = 0
            while answers < 10:
                answers += publisher.recv(1_000).count(b"\n")
            for sock in subscribers:
                sock.recv(65_536)
        used = _cpu(pid) - before
        for sock in sockets:
            sock.close()
        return used * 1e6 / MESSAGES


def _cpu(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:13])) / TICKS_PER_SECOND


def earlier(name: str, key: str) -> float:
    """Return a figure of uwsgi_ws from the last run of ``run.py``."""
    rounds = json.loads((RESULTS / f"{name}.json").read_text())["servers"]["uwsgi_ws"]["rounds"]
    return float(statistics.median(each[key] for each in rounds))


def main() -> None:
    """Measure, and write."""
    publish = {way: statistics.median(costs) for way, _, costs in measure_all((WORKERS,))}
    costs = {
        "publish_us": publish["Redis"],
        **workers_costs(),
        **engine_costs(),
        "kept_us": earlier("keepalive", "kept_cpu_us"),
        "connection_kib": earlier("idle", "memory_per_connection") / 1024,
    }
    found = {"size": SIZE, "costs": {name: round(cost, 3) for name, cost in costs.items()}, "machine": machine()}
    COSTS.write_text(json.dumps(found, indent=1) + "\n")
    print(COSTS.read_text())


if __name__ == "__main__":
    main()
