"""Compare WebSocket servers side by side: ``python benchmarks/run.py echo``; ``--help`` lists all."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import Bench, Failure, Load, machine, make_bench, measure, measure_http2, measure_start
from report import Column, Results, conditions, digits, table, times, update_readme, whole, write_json
from servers import SERVERS, Server
from tickets import measure_tickets

PURE = "uwsgi_ws pure"


def _load_columns(unit: str, per: str, *more: Column) -> list[Column]:
    return [
        Column("per_s", unit, whole, spread=True),
        *more,
        Column("cpu_us", f"CPU µs/{per}", digits, spread=True),
        Column("p50_ms", "p50 ms", digits),
        Column("p99_ms", "p99 ms", digits),
        Column("p999_ms", "p99.9 ms", digits),
        Column("max_ms", "max ms", digits),
        Column("load_share", "load busy %", times(100)),
    ]


@dataclass(frozen=True)
class Workload:
    """A question to the servers: what is run, what is shown, and the figure (less is better) they rank by."""

    title: str
    application: str
    mode: str
    defaults: dict[str, str | int | float]
    columns: list[Column]
    metric: str = "cpu_us"
    metric_title: str = "CPU"
    factor: float = 1  # from the metric to the unit of the chart
    through: str = ""  # see ``harness.measure``
    is_pinned: bool = True  # otherwise the workers and the load share all processors
    against: tuple[str, ...] = field(default=("uwsgi",))


_ECHO = Workload(
    "Echo of small messages",
    "echo",
    "echo",
    {"connections": 100, "size": 32, "depth": 1, "opcode": "text"},
    _load_columns("messages/s", "message"),
    metric_title="CPU µs per message",
    against=("picows", "uwsgi", "floor"),
)

WORKLOADS = {
    "echo": _ECHO,
    "crowd": replace(
        _ECHO,
        title="Echo to 5,000 clients",
        defaults=_ECHO.defaults | {"connections": 5000},
        against=("picows", "uwsgi"),
    ),
    "pipelined": replace(
        _ECHO,
        title="Echo with 16 messages in flight",
        defaults=_ECHO.defaults | {"depth": 16},
        against=("picows", "socketify"),
    ),
    "latency": Workload(
        "Round trip of one connection",
        "echo",
        "echo",
        {"connections": 1, "size": 256, "depth": 1, "opcode": "text"},
        [
            Column("p50_ms", "median µs", times(1000), spread=True),
            Column("p99_ms", "p99 µs", times(1000)),
            Column("max_ms", "max µs", times(1000)),
            Column("cpu_us", "CPU µs/message", digits),
        ],
        metric="p50_ms",
        metric_title="median µs",
        factor=1000,
        against=("picows", "uwsgi"),
    ),
    "large": replace(
        _ECHO,
        title="Echo of large messages",
        defaults=_ECHO.defaults | {"connections": 4, "size": 1024 * 1024},
        columns=_load_columns("messages/s", "message", Column("mb_per_s", "MB/s", whole)),
        against=("picows", "uwsgi"),
    ),
    "fanout": Workload(
        "Fan-out to every client",
        "fanout",
        "fanout",
        {"connections": 500, "size": 64, "depth": 4, "publishers": 1},
        _load_columns("deliveries/s", "delivery"),
        metric_title="CPU µs per delivery",
        against=("socketify", "websockets", "uwsgi"),
    ),
    "channels": Workload(
        "Fan-out to the clients of four workers",
        "channels",
        "fanout",
        {"connections": 400, "size": 64, "depth": 4, "publishers": 1},
        _load_columns("deliveries/s", "delivery"),
        metric_title="CPU µs per delivery",
        against=("uwsgi + redis", "websockets + redis"),
    ),
    "instances": Workload(
        "Fan-out to the clients of two instances of two workers",
        "instances",
        "fanout",
        {"connections": 400, "size": 64, "depth": 4, "publishers": 1},
        [
            Column("per_s", "deliveries/s", whole, spread=True),
            Column("own_cpu_us", "CPU µs/delivery", digits, spread=True),
            Column("engine_cpu_us", "Redis's", digits),
            Column("p50_ms", "p50 ms", digits),
            Column("p99_ms", "p99 ms", digits),
            Column("load_share", "load busy %", times(100)),
        ],
        metric="own_cpu_us",
        metric_title="CPU µs per delivery",
        against=("uwsgi_ws", "python-socketio + redis", "uwsgi + redis"),
    ),
    "busy": Workload(
        "15,000 clients of two workers that send once a second, and a broadcast to all each second",
        "busy",
        "busy",
        {"connections": 15_000},
        [
            Column("p50_ms", "echo p50 ms", digits),
            Column("p99_ms", "p99 ms", digits, spread=True),
            Column("p999_ms", "p99.9 ms", digits),
            Column("last_p50_ms", "broadcast's last, median ms", digits),
            Column("last_max_ms", "max ms", digits),
            Column("closed", "closed", whole),
            Column("load_share", "load busy %", times(100)),
        ],
        metric="p99_ms",
        metric_title="p99 ms of an echo",
        is_pinned=False,
    ),
    "http": Workload(
        "HTTP hello over keep-alive",
        "http",
        "http",
        {"connections": 64},
        _load_columns("requests/s", "request", Column("reconnects", "reconnects", whole)),
        metric_title="CPU µs per request",
        against=("granian", "gunicorn gevent", "uwsgi"),
    ),
    "handshake": Workload(
        "Connect, upgrade, close, again",
        "echo",
        "handshake",
        {"connections": 32},
        _load_columns("handshakes/s", "handshake"),
        metric_title="CPU µs per handshake",
        against=("floor", "uwsgi"),
    ),
    "start": Workload(
        "From a server's start to its first answer",
        "http",
        "start",
        {},
        [Column("start_ms", "ms to the first answer", digits, spread=True), Column("start_cpu_ms", "CPU ms", whole)],
        metric="start_ms",
        metric_title="ms to the first answer",
        is_pinned=False,
    ),
    "storm": Workload(
        "10,000 clients that come at once to two workers",
        "storm",
        "idle",
        {"connections": 10_000, "opening": 10_000},
        [
            Column("connect_s", "seconds until all are open", digits, spread=True),
            Column("opened", "opened", whole),
            Column("syns_dropped", "SYNs dropped", whole, spread=True),
            Column("open_cpu_us", "CPU µs/opening", digits),
        ],
        metric="connect_s",
        metric_title="seconds until all are open",
        is_pinned=False,
    ),
    "idle": Workload(
        "Idle connections",
        "echo",
        "idle",
        {"connections": 5000},
        [
            Column("memory_per_connection", "KiB/connection", times(1 / 1024), spread=True),
            Column("opened", "opened", whole),
            Column("open_per_s", "opened/s", whole),
            Column("open_cpu_us", "CPU µs/opening", digits),
            Column("pings", "pings", whole),
        ],
        metric="memory_per_connection",
        metric_title="KiB per connection",
        factor=1 / 1024,
    ),
    "keepalive": Workload(
        "Idle connections, a ping every 25 s",
        "keepalive",
        "idle",
        {"connections": 10_000},
        [
            Column("kept_cpu_us", "CPU µs per second and connection", digits, spread=True),
            Column("pings", "pings", whole),
            Column("closed", "lost", whole),
        ],
        metric="kept_cpu_us",
        metric_title="CPU µs per second and connection",
    ),
    "detached": Workload(
        "Idle connections that need no greenlet",
        "detached",
        "idle",
        {"connections": 5000},
        [
            Column("memory_per_connection", "KiB/connection", times(1 / 1024), spread=True),
            Column("opened", "opened", whole),
        ],
        metric="memory_per_connection",
        metric_title="KiB per connection",
        factor=1 / 1024,
    ),
    "tls": replace(
        _ECHO,
        title="Echo of small messages through TLS",
        application="tls-echo",
        through="resumed",
        against=("picows", "uwsgi"),
    ),
}
WORKLOADS |= {
    f"arena{name}": replace(
        _ECHO,
        title=f"HttpArena's echo-ws{name}",
        application="arena",
        defaults={"connections": 512, "size": 5, "depth": 1, "path": "/ws"} | changes,
        against=("blackbull",),
    )
    for name, changes in (("", {}), ("-pipeline", {"depth": 16}), ("-limited", {"limit": 10}))
}
WORKLOADS |= {
    "http2": Workload(
        "HTTP/2 requests: a greeting",
        "http2",
        "h2load",
        {"connections": 8, "depth": 8},
        [
            Column("per_s", "requests/s", whole, spread=True),
            Column("cpu_us", "CPU µs/request", digits, spread=True),
        ],
        metric_title="CPU µs per request",
        against=("hypercorn", "granian"),
    ),
    "http2-echo": replace(
        _ECHO,
        title="Echo of small messages through HTTP/2",
        application="http2-echo",
        through="http2",
        against=("uwsgi_ws http1",),
    ),
}
WORKLOADS |= {
    f"tls-{name}": replace(
        WORKLOADS[name],
        title=title,
        application=application,
        through=through,
        defaults=WORKLOADS[name].defaults | changes,
        against=("picows", "uwsgi"),
    )
    for name, title, application, through, changes in (
        ("large", "Echo of 1 MiB through TLS", "tls-echo", "resumed", {}),
        ("fanout", "Broadcast to 500 clients through TLS", "tls-fanout", "resumed", {}),
        ("idle", "Idle connections through TLS", "tls-echo", "resumed", {"connections": 2_000}),
    )
}
WORKLOADS |= {
    f"tls-{kind}": replace(
        WORKLOADS["handshake"],
        title=f"Connect, shake hands for TLS ({kind}), upgrade, close, again",
        application="tls-echo",
        through=kind,
        against=("picows", "uwsgi"),
    )
    for kind in ("full", "resumed")
}
WORKLOADS["tls-tickets"] = Workload(
    "TLS sessions taken up by another of two workers, and after a reload",
    "tls-workers",
    "tickets",
    {"connections": 1000},
    [
        Column("full_cpu_us", "CPU µs/new session", whole, spread=True),
        Column("resumed_cpu_us", "with a ticket", whole, spread=True),
        Column("others", "answered by another worker", whole),
        Column("others_share", "resumed, %", times(100)),
        Column("reloaded_share", "resumed after a reload, %", times(100)),
    ],
    metric="resumed_cpu_us",
    metric_title="CPU µs for a connection with a ticket",
    against=("nginx", "uwsgi"),
)


def choose_servers(names: str | None, application: str, pure: bool) -> list[Server]:
    """Return the servers that were named, or all that can serve the application."""
    if names is None:
        return [server for server in SERVERS if application in server.commands]
    by_name = {server.name: server for server in SERVERS}
    wanted = [name.strip() for name in names.split(",")]
    if pure and PURE not in wanted:
        wanted.append(PURE)
    if unknown := [name for name in wanted if name not in by_name]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; there are: {', '.join(by_name)}")
    return [by_name[name] for name in wanted]


def measure_or_say_why(server: Server, workload: Workload, load: Load, bench: Bench) -> dict[str, float] | str:
    """Return a server's figures, or the reason why there are none."""
    if workload.application not in server.commands:
        return f"has no program for {workload.application} here"
    if reason := server.missing():
        return reason
    try:
        if workload.mode == "start":
            return measure_start(server, workload.application, bench)
        if workload.mode == "h2load":
            return measure_http2(server, workload.application, load, bench)
        if workload.mode == "tickets":
            return measure_tickets(server, workload.application, load, bench)
        figures = measure(server, workload.application, load, bench, workload.through)
    except Failure as exc:
        return str(exc)
    return figures | {"mb_per_s": figures["per_s"] * float(load.options.get("size", 0)) / 1e6}


def run(name: str, options: argparse.Namespace, bench: Bench) -> Results:
    """Measure every server once per round, so that a busy minute of the machine meets them all."""
    workload = WORKLOADS[name]
    if not workload.is_pinned:
        bench = replace(bench, server_cpu=None, load_cpu=None)
    given = {key: getattr(options, key) for key in ("connections", "size", "depth")}
    changes = {key: value for key, value in given.items() if value is not None and key in workload.defaults}
    load = Load(workload.mode, {**workload.defaults, **changes, "seconds": options.seconds})
    servers = choose_servers(options.peers, workload.application, options.pure)
    entries: dict[str, dict] = {server.name: {"rounds": [], "failures": []} for server in servers}
    for number in range(1, options.rounds + 1):
        for server in servers:
            outcome = measure_or_say_why(server, workload, load, bench)
            failed = isinstance(outcome, str)
            entries[server.name]["failures" if failed else "rounds"].append(outcome)
            shown = outcome if failed else f"{outcome[workload.metric] * workload.factor:.2f}"
            print(f"  {name} {number}/{options.rounds} {server.name}: {shown}", flush=True)
    return {
        "workload": name,
        "title": workload.title,
        "metric": workload.metric,
        "metric_title": workload.metric_title,
        "against": options.against.split(",") if options.against else list(workload.against),
        "options": load.options,
        "rounds": options.rounds,
        "pinning": "not pinned" if bench.server_cpu is None else "server and load on a processor each",
        "machine": machine(),
        "versions": list(dict.fromkeys(version for server in servers for version in server.versions())),
        "servers": entries,
    }


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare WebSocket servers side by side.")
    parser.add_argument("workload", choices=[*WORKLOADS, "all"])
    parser.add_argument("--peers", help="servers to measure, separated by commas (default: all that can)")
    parser.add_argument("--pure", action="store_true", help=f"with --peers: add '{PURE}'")
    parser.add_argument("--against", help="servers to give ratios against, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--connections", type=int)
    parser.add_argument("--size", type=int, help="payload of a message in bytes")
    parser.add_argument("--depth", type=int, help="messages in flight per sender")
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--load-cpu", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--update-readme", action="store_true", help="put table and chart into README.md")
    return parser.parse_args()


def main() -> None:
    """Run the workloads asked for."""
    options = parse_arguments()
    if options.json and options.workload == "all":
        raise SystemExit("--json takes one workload; --update-readme writes a file for each")
    bench = make_bench(options.server_cpu, options.load_cpu)
    for name in WORKLOADS if options.workload == "all" else [options.workload]:
        results = run(name, options, bench)
        text = f"{conditions(results)}\n\n{table(results, WORKLOADS[name].columns)}"
        print(f"\n{text}\n")
        if options.json:
            write_json(results, options.json)
        if options.update_readme:
            update_readme(results, text, WORKLOADS[name].factor)


if __name__ == "__main__":
    main()
