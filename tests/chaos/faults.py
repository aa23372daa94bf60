"""What is done to engines, networks, workers and instances: how a seed draws it, and how each thing is done."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from support.engines import HOST, EngineServer
from support.workers import children

if TYPE_CHECKING:
    from support.server import Server

    from chaos.run import World

__all__ = ["Fault", "ask", "draw", "signal_instance", "strike"]

#: Seconds for which something stands still: unnoticed, noticed by Sentinel (0.5), noticed by workers (1).
_PAUSES = (0.2, 0.8, 2.0)
#: Seconds after which a worker has certainly started.
_STARTED = 2.0


@dataclass(frozen=True)
class Fault:
    """One thing that is done.

    Attributes:
        at: When it begins, in seconds.
        name: What is done.
        target: Which of what it may be done to.
        seconds: How long it lasts.
    """

    at: float
    name: str
    target: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.at:.1f} s: {self.name} {self.target} for {self.seconds:.1f} s"


#: How often each is drawn, by engine; "any" are those of all.
_WEIGHTS: dict[str, dict[str, int]] = {
    "any": {
        "kill worker": 3,
        "stop worker": 2,
        "kill instance": 2,
        "stop instance": 2,
        "reload instance": 1,
        "expel": 1,
        "flush all": 1,
        "step clock": 1,
        "fill buffers": 3,
        "kill engine": 3,
        "stop engine": 3,
    },
    "single": {"cut": 2, "delay": 2, "deaf": 2, "mute": 2, "tear": 2},
    "sentinel": {"fail over": 4, "kill replica": 1, "stop replica": 1},
    "cluster": {"move slot": 3},
    "pipes": {"kill engine": 0, "stop engine": 0, "expel": 0, "flush all": 0},
}


def draw(rng: random.Random, engine: str, seconds: float, *, is_kept: bool) -> list[Fault]:
    """Draw a schedule: no two faults of one thing at the same time, and all of them over at the end."""
    weights = _WEIGHTS["any"] | _WEIGHTS[engine if engine in _WEIGHTS else "single"]
    if is_kept and engine != "pipes":
        weights = weights | {"trim": 2}
    faults: list[Fault] = []
    busy: list[tuple[float, float, str]] = []
    for _ in range(rng.randint(3, 7)):
        name = rng.choices(list(weights), list(weights.values()))[0]
        lasts = rng.choice(_PAUSES)
        at = round(rng.uniform(0.5, seconds - lasts), 2)
        target = rng.randrange(6)
        thing = _thing(name, target)
        if all(at + lasts < begin or at > end or thing != other for begin, end, other in busy):
            busy.append((at, at + lasts + 0.5, thing))
            faults.append(Fault(at, name, target, lasts))
    return sorted(faults, key=lambda fault: fault.at)


def _thing(name: str, target: int) -> str:
    if name in ("cut", "delay", "deaf", "mute", "tear"):
        return "relay"
    if name in ("kill engine", "stop engine", "fail over", "move slot", "flush all", "trim", "expel"):
        return "engine"
    if name.endswith("replica"):
        return "replica"
    return "clock" if name == "step clock" else f"instance {target % 2}"


def strike(world: World, fault: Fault) -> Callable[[], None]:
    """Do it; return what ends it."""
    return _FAULTS[fault.name](world, fault) or (lambda: None)


def _send(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def signal_instance(server: Server, number: int) -> None:
    """Signal master and workers at once; one by one, a worker that is just being forked would be missed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, number)


def _workers(world: World, fault: Fault) -> list[int]:
    with contextlib.suppress(OSError):
        return children(world.instance(fault.target).pid)
    return []


def _one_worker(world: World, fault: Fault) -> list[int]:
    """Return a worker; none while they start: a server whose first workers cannot start ends."""
    found = _workers(world, fault)
    if not found or min(map(_age, found)) < _STARTED:
        return []
    return [found[fault.target // 2 % len(found)]]


def _age(pid: int) -> float:
    """Return the seconds for which a process has lived."""
    try:
        begun = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0.0
    return float(Path("/proc/uptime").read_text().split()[0]) - begun / os.sysconf("SC_CLK_TCK")


def _kill_worker(world: World, fault: Fault) -> None:
    _send(_one_worker(world, fault), signal.SIGKILL)


def _stop_worker(world: World, fault: Fault) -> Callable[[], None]:
    pids = _one_worker(world, fault)
    _send(pids, signal.SIGSTOP)
    return lambda: _send(pids, signal.SIGCONT)


def _kill_instance(world: World, fault: Fault) -> Callable[[], None]:
    signal_instance(world.instance(fault.target), signal.SIGKILL)
    return lambda: world.start_instance(fault.target)


def _stop_instance(world: World, fault: Fault) -> Callable[[], None]:
    server = world.instance(fault.target)
    signal_instance(server, signal.SIGSTOP)
    return lambda: signal_instance(server, signal.SIGCONT)


def _reload_instance(world: World, fault: Fault) -> None:
    _send([world.instance(fault.target).pid], signal.SIGHUP)


def _fill_buffers(world: World, fault: Fault) -> Callable[[], None]:
    pids = _one_worker(world, fault)
    _send(pids, signal.SIGSTOP)
    for publisher in world.publishers:
        publisher.size = 8_000

    def undo() -> None:
        for publisher in world.publishers:
            publisher.size = 100
        _send(pids, signal.SIGCONT)

    return undo


def _step_clock(world: World, fault: Fault) -> Callable[[], None]:
    world.clock.set((-3_600, 3_600, -(10**9))[fault.target % 3])
    return lambda: world.clock.set(0)


def _master(world: World, fault: Fault) -> EngineServer:
    if world.kind == "sentinel":
        port = _port_of_master(world)
        return next(server for server in world.engine.servers if server.port == port)
    return world.engine.servers[fault.target % len(world.engine.servers)]


def _port_of_master(world: World) -> int:
    answer = ask(world.engine.servers[2], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "service")
    return int(answer[1]) if answer else world.engine.servers[0].port


def _replica(world: World) -> EngineServer:
    port = _port_of_master(world)
    return next(server for server in world.engine.servers if server.port != port)


def ask(server: EngineServer, *command: object) -> Any:
    """Return a server's answer; None where it has none, or refuses."""
    with contextlib.suppress(RedisError, OSError):
        return server.ask(*command, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0))
    return None


def _kill(server: EngineServer) -> Callable[[], None]:
    server.stop()
    return server.start


def _stop(server: EngineServer) -> Callable[[], None]:
    server.signal(signal.SIGSTOP)
    return lambda: server.signal(signal.SIGCONT)


def _fail_over(world: World, fault: Fault) -> None:
    ask(world.engine.servers[2], "SENTINEL", "FAILOVER", "service")


def _move_slot(world: World, fault: Fault) -> None:
    servers = world.engine.servers
    slot = ask(servers[0], "CLUSTER", "KEYSLOT", "uwsgi_ws:room")
    ranges = ask(servers[0], "CLUSTER", "SLOTS") or []
    ports = [int(master[1]) for first, last, master, *_ in ranges if slot is not None and first <= slot <= last]
    target = servers[fault.target % 3]
    for source in (server for server in servers if [server.port] == ports and server is not target):
        here, there = (ask(server, "CLUSTER", "MYID") for server in (source, target))
        ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", here)
        ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", there)
        for key in ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 100) or []:
            ask(source, "MIGRATE", HOST, target.port, key, 0, 1_000)
        for server in (target, source, *servers):
            ask(server, "CLUSTER", "SETSLOT", slot, "NODE", there)


def _on_all(*command: str) -> Callable[[World, Fault], None]:
    def do(world: World, fault: Fault) -> None:
        for server in world.engine.servers[: 2 if world.kind == "sentinel" else None]:
            ask(server, *command)

    return do


def _relay(**changes: Any) -> Callable[[World, Fault], Callable[[], None]]:
    def do(world: World, fault: Fault) -> Callable[[], None]:
        assert world.relay is not None
        relay = world.relay
        before = {name: getattr(relay, name) for name in changes}
        for name, value in changes.items():
            setattr(relay, name, value)

        def undo() -> None:
            for name, value in before.items():
                setattr(relay, name, value)

        return undo

    return do


def _cut(world: World, fault: Fault) -> None:
    assert world.relay is not None
    world.relay.cut()


_FAULTS: dict[str, Callable[[World, Fault], Callable[[], None] | None]] = {
    "kill worker": _kill_worker,
    "stop worker": _stop_worker,
    "kill instance": _kill_instance,
    "stop instance": _stop_instance,
    "reload instance": _reload_instance,
    "expel": _on_all("CLIENT", "KILL", "TYPE", "pubsub"),
    "flush all": _on_all("FLUSHALL"),
    "trim": _on_all("XTRIM", "uwsgi_ws:room", "MAXLEN", "3"),
    "step clock": _step_clock,
    "fill buffers": _fill_buffers,
    "kill engine": lambda world, fault: _kill(_master(world, fault)),
    "stop engine": lambda world, fault: _stop(_master(world, fault)),
    "cut": _cut,
    "delay": _relay(delay=0.1),
    "deaf": _relay(is_deaf=True),
    "mute": _relay(is_mute=True),
    "tear": _relay(is_tearing=True),
    "fail over": _fail_over,
    "kill replica": lambda world, fault: _kill(_replica(world)),
    "stop replica": lambda world, fault: _stop(_replica(world)),
    "move slot": _move_slot,
}
