"""Mixed traffic with churn on two workers, and whether what they hold grows: ``make soak MINUTES=3``.

After some traffic all clients leave, and each worker's descriptors, greenlets and objects are the baseline. Then the
soak proper; then all leave again, and the same is held as before. Resident memory never falls back, so it is judged by
what it does under traffic: the last third of the time must not lie above the third before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.server import APPLICATIONS, Server, faults, free_port  # noqa: E402
from support.tls import Authority  # noqa: E402
from support.workers import wait_for_workers  # noqa: E402

from soak.chart import chart  # noqa: E402  # a script finds the tests' helpers only after the line above
from soak.clients import Crowd  # noqa: E402

#: Seconds of traffic before the baseline; and until all is quiet: silent clients have been ended, samples written.
WARM_UP, QUIET = 10.0, 4.0
#: What may be more at the end than at the baseline: caches fill by and by, and a garbage collection is not the last.
ALLOWED = {"descriptors": 0, "greenlets": 0, "objects": 400}
#: Bytes by which the median of the last third may lie above that of the third before it.
ALLOWED_RSS = 2 << 20
#: Silence is ended soon, so that many are.
OPTIONS = ("--websockets-ping-freq", "2", "--websockets-pong-tolerance", "1", "--http-timeout", "3")
OPTIONS += ("--socket-timeout", "4", "--disable-logging")

Samples = list[dict[str, Any]]


def read(folder: Path) -> dict[str, Samples]:
    """Return what each worker has written down."""
    return {
        path.stem: [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
        for path in sorted(folder.glob("*.jsonl"))
    }


def slope(samples: Samples, key: str) -> float:
    """Return by how much a number grows in a second, by least squares."""
    times = [sample["at"] for sample in samples]
    values = [sample[key] for sample in samples]
    return statistics.linear_regression(times, values).slope if len(samples) > 1 else 0.0


def judge(name: str, before: dict[str, Any], under: Samples, after: dict[str, Any]) -> list[str]:
    """Return what a worker holds that it should not, in words."""
    found = [
        f"worker {name}: {key} grew from {before[key]} to {after[key]}"
        for key, allowed in ALLOWED.items()
        if after[key] > before[key] + allowed
    ]
    third = len(under) // 3
    middle, last = (
        statistics.median(sample["rss"] for sample in part)
        for part in (under[third : 2 * third] or under, under[2 * third :] or under)
    )
    if last > middle + ALLOWED_RSS:
        found.append(f"worker {name}: memory grew by {(last - middle) / 2**20:.1f} MiB over the last third")
    return found


def main() -> int:
    """Soak, draw, say what came of it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--chart", type=Path, help="where the picture goes, an SVG")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="uwsgi_ws-soak-") as name:
        return soak(arguments, Path(name))


def soak(arguments: argparse.Namespace, folder: Path) -> int:
    """Do it, with files in ``folder``."""
    authority = Authority(folder)
    samples = folder / "samples"
    samples.mkdir()
    ports = {"https": free_port(), "http2": free_port()}
    listeners = ("--https", f"127.0.0.1:{ports['https']},{authority.issue()}")
    listeners += ("--http2-socket", f"127.0.0.1:{ports['http2']}")
    server = Server(
        APPLICATIONS / "soak.py",
        "--processes",
        "2",
        *listeners,
        *OPTIONS,
        env={"SOAK_SAMPLES": str(samples)},
        deadline=120,
    )
    try:
        wait_for_workers(server, 2)
        ports["http"] = server.port
        begun = time.monotonic()

        def traffic(seconds: float, seed: int) -> tuple[Crowd, tuple[float, float], dict[str, dict[str, Any]]]:
            """Have clients come and go; return them, when that was, and what each worker holds afterwards."""
            crowd = Crowd(ports, authority.client_context(), arguments.clients, seed)
            since = time.monotonic()
            time.sleep(seconds)
            until = time.monotonic()
            crowd.leave()
            time.sleep(QUIET)
            return crowd, (since, until), {worker: taken[-1] for worker, taken in read(samples).items()}

        _, _, before = traffic(WARM_UP, arguments.seed)
        crowd, (since, until), after = traffic(arguments.minutes * 60, arguments.seed + 1)
    finally:
        server.stop()
    problems = [f"{count} x {problem}" for problem, count in crowd.problems.most_common()]
    problems += faults(server.log)
    if server.killed:
        problems.append("the server did not end when it was asked to")
    series = read(samples)
    if len(series) != 2:
        problems.append(f"there were {len(series)} workers, not 2")
    slopes = []
    for worker, taken in series.items():
        under = [sample for sample in taken if since <= sample["at"] <= until]
        problems += judge(worker, before.get(worker, after[worker]), under, after[worker])
        slopes.append(slope(under[len(under) // 3 :], "rss") * 60 / 1024)
    if arguments.chart is not None:
        arguments.chart.parent.mkdir(parents=True, exist_ok=True)
        arguments.chart.write_text(chart(series, begun))
    if problems:
        print(server.log[-4000:], *problems, sep="\n")
    ends = {end: sum(count for (_, of), count in crowd.done.items() if of == end) for _, end in crowd.done}
    print(
        f"soak: {arguments.minutes:g} minutes, {crowd.done.total()} conversations "
        f"({', '.join(f'{count} {end}' for end, count in sorted(ends.items()))}), "
        f"memory {', '.join(f'{each:+.0f}' for each in slopes)} KiB a minute: "
        f"{'nothing grows' if not problems else f'{len(problems)} problems'}"
    )
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
