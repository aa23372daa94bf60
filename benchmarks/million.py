"""As many WebSockets as one machine holds, server and clients: ``python benchmarks/million.py``.

Each worker and each process of clients has fewer than 20,000 descriptors, and each process of clients comes from a
loopback address of its own. All are opened, pinged, and reached by one broadcast, and none may be closed. The
applications have detached their connections; ``--waiting`` has each wait in a loop.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import resource
import select
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import Bench, Failure, cpu_seconds, figures_of, machine, make_bench, memory_bytes, running
from servers import Server

#: Connections of a process of clients, and about as many of a worker: the kernel spreads them by a hash.
MOST = 18_000
#: Places of a worker beyond its share: ten standard deviations.
SPARE = 1_500
#: Connections that each process of clients is opening at a time.
OPENING = 16
#: Seconds that one broadcast may take.
REACHED_WITHIN = 60


@dataclass
class Figures:
    """What came of it: bytes and seconds, of all connections together unless said otherwise."""

    connections: int
    workers: int
    ping: int
    opened: int = 0
    seconds_to_open: float = 0.0
    open_cpu: float = 0.0
    memory: int = 0
    memory_after: int = 0
    machine_memory: int = 0
    idle_cpu: float = 0.0
    broadcast_cpu: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield the lines of the table."""
        each = self.opened or 1
        found = self.figures
        yield "WebSockets open, of those asked for", f"{self.opened:,} of {self.connections:,}"
        yield "workers, and processes of clients", f"{self.workers}, {self.workers}"
        yield "seconds until all were open", f"{self.seconds_to_open:.1f}"
        yield "the server's CPU, an opening", f"{1e6 * self.open_cpu / each:.0f} µs"
        yield "the server's memory, each (workers' own included)", f"{self.memory / each / 1024:.2f} KiB"
        yield "the same after a broadcast", f"{self.memory_after / each / 1024:.2f} KiB"
        yield "the machine's memory, each (both ends, kernel included)", f"{self.machine_memory / each / 1024:.2f} KiB"
        yield f"the server's CPU with a ping each {self.ping} s", f"{self.idle_cpu:.2f} processors"
        yield "pinged at least once", f"{found['pinged']:,.0f}"
        yield "one broadcast: reached", f"{found['total']:,.0f}"
        yield "one broadcast: half of them after", f"{found['p50_ms'] / 1e3:.2f} s"
        yield "one broadcast: p99.9 (the slowest process of clients)", f"{found['p999_ms'] / 1e3:.2f} s"
        yield "one broadcast: all of them after", f"{found['max_ms'] / 1e3:.2f} s"
        yield "one broadcast: the server's CPU, a delivery", f"{1e6 * self.broadcast_cpu / each:.1f} µs"
        yield "closed, failed, or wrong", f"{found['closed'] + found['failed'] + found['bad']:,.0f}"

    @property
    def faults(self) -> list[str]:
        """What is not as it should be."""
        found = self.figures
        faults = [f"{found[name]:,.0f} {name}" for name in ("closed", "failed", "bad") if found[name]]
        for name, what in (("pinged", "pinged"), ("total", "reached by the broadcast")):
            if found[name] != self.connections:
                faults.append(f"{found[name]:,.0f} of {self.connections:,} {what}")
        return faults


def available() -> int:
    """Return the bytes that the machine could still give."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


@contextlib.contextmanager
def audience(
    bench: Bench, port: int, sizes: Sequence[int], path: str, seconds: float
) -> Iterator[tuple[Sequence[subprocess.Popen[str]], list[str]]]:
    """Run the processes of clients; yield them and their reports: of the opening now, the last ones at the end."""
    reports: list[str] = []
    loads: list[subprocess.Popen[str]] = []
    try:
        for source, size in enumerate(sizes, 1):
            words = {"port": port, "connections": size, "opening": OPENING, "path": path, "seconds": seconds}
            words |= {"source": source, "patience": int(seconds)}
            argv = [str(bench.load), "audience", *(f"{name}={value}" for name, value in words.items())]
            loads.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
        for load in loads:
            assert load.stdout is not None
            reports.append(load.stdout.readline())
        if not all(report.startswith("phase=open") for report in reports):
            raise Failure("the clients broke off")
        yield loads, reports
        reports.clear()
        for load in loads:
            load.terminate()
        reports.extend(load.communicate()[0] for load in loads)
    finally:
        for load in loads:
            load.kill()
            load.wait()


def wait_until_heard(loads: Sequence[subprocess.Popen[str]], seconds: float) -> None:
    """Wait until all clients have had the broadcast, but no longer; who has not is counted at the end."""
    deadline = time.monotonic() + seconds
    for load in loads:
        assert load.stdout is not None
        if select.select([load.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            load.stdout.readline()


def together(reports: Sequence[str]) -> dict[str, float]:
    """Add the counts of all processes; of latencies the middle one of the medians, and the longest of the others."""
    all_of = [figures_of(report) for report in reports]
    sums = {name: sum(each[name] for each in all_of) for name in ("total", "closed", "failed", "bad", "pinged")}
    medians = sorted(each["p50_ms"] for each in all_of)
    return sums | {
        "p50_ms": medians[len(medians) // 2],
        **{name: max(each[name] for each in all_of) for name in ("p999_ms", "max_ms")},
    }


def measure(connections: int, path: str, ping: int) -> Figures:
    """Open so many, have them pinged, and reach them by a broadcast."""
    most = min(MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE - 500)
    processes = math.ceil(connections / most)
    sizes = [connections // processes + (number < connections % processes) for number in range(processes)]
    words = "{python} -m uwsgi_ws --http-socket 127.0.0.1:{port} --reuse-port --listen 4096 --disable-logging"
    words += f" --processes {processes} --gevent {max(sizes) + SPARE} --wsgi-file audience_uwsgi_ws.py"
    # The machine is busy with the clients, too: they may be late.
    words += f" --websockets-ping-freq {ping} --websockets-pong-tolerance 30"
    server = Server("audience", {"audience": words})
    bench = make_bench(-1, -1)
    found = Figures(connections, processes, ping)

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began_at:6.1f} s  {what}", file=sys.stderr)

    patience = 120 + connections / 2_000
    began_at = time.monotonic()
    with running(server, "audience", 0, bench) as (session, port):
        deadline = time.monotonic() + 60
        while processes > 1 and len(children(session)) < processes and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)  # the last of them have just been forked
        before, available_before, cpu = memory_bytes(session), available(), cpu_seconds(session)[0]
        tell(f"{processes} workers are there")
        opening_at = time.monotonic()
        with audience(bench, port, sizes, path, patience * 4) as (loads, reports):
            found.seconds_to_open = time.monotonic() - opening_at
            found.opened = int(sum(figures_of(report)["opened"] for report in reports))
            found.open_cpu = cpu_seconds(session)[0] - cpu
            tell(f"{found.opened:,} are open")
            found.memory = memory_bytes(session) - before
            found.machine_memory = available_before - available()
            idle_at, cpu = time.monotonic(), cpu_seconds(session)[0]
            time.sleep(ping + 5)
            found.idle_cpu = (cpu_seconds(session)[0] - cpu) / (time.monotonic() - idle_at)
            tell("all have been pinged")
            cpu = cpu_seconds(session)[0]
            stamp = f"{time.monotonic_ns():020d}".encode()
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", stamp, timeout=REACHED_WITHIN).close()
            wait_until_heard(loads, REACHED_WITHIN)
            found.memory_after = memory_bytes(session) - before
            found.broadcast_cpu = cpu_seconds(session)[0] - cpu
            tell("a broadcast is out")
        found.figures = together(reports)
    return found


def children(pid: int) -> list[str]:
    """Return the processes that a process has."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1_000_000)
    parser.add_argument("--ping", type=int, default=60, help="seconds of silence before a client is pinged")
    parser.add_argument("--waiting", action="store_true", help="each application waits in a loop, with its greenlet")
    options = parser.parse_args()
    try:
        found = measure(options.connections, "/waiting" if options.waiting else "/", options.ping)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"\n{', '.join(machine().values())}, {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 30} GiB\n")
    print("| | |\n|---|---|")
    for name, value in found.rows():
        print(f"| {name} | {value} |")
    for fault in found.faults:
        print(fault, file=sys.stderr)
    return 1 if found.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
