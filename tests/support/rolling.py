"""A rolling restart of two instances behind somebody else's proxy, with many WebSockets open through it.

The proxies run the files of ``examples/deploy/two-instances``, addresses replaced.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.carriers import CADDY, NGINX, deployed, running
from support.eventually import eventually
from support.http_client import fetch
from support.many_clients import ManyClients
from support.peers import require_program
from support.server import UWSGI_WS, Program, Server, finish, free_port
from support.workers import APPLICATION, children

FOLDER = "two-instances/"
WORKERS = 2  # of each instance
DEADLINE = 60.0  # seconds for each step, also on a busy machine


@dataclass(frozen=True)
class Proxy:
    """A program that stands in front of two instances.

    Args:
        name: As people write it.
        programs: Its file, under PATH or elsewhere.
        file: The one in which the instances are named.
        listens: What stands there for its own address, and what to put in place, by port.
        command: Starts it, in the folder of its files.
        version: The words that make it tell its version.
    """

    name: str
    programs: tuple[str, ...]
    file: str
    listens: tuple[str, str]
    command: tuple[str, ...]
    version: tuple[str, ...]
    prepare: Callable[[Path, int], None] = lambda folder, port: None

    @property
    def program(self) -> str:
        return require_program(*self.programs)

    def told_version(self) -> str:
        said = subprocess.run([self.program, *self.version], capture_output=True, text=True, check=True)
        found = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
        assert found is not None
        return found[0]

    def options(self) -> list[str]:
        """Return the options of the first instance that the file names in its first line."""
        first = deployed(FOLDER + self.file, {}).splitlines()[0]
        words = shlex.split(first.lstrip("# "))
        assert words[:5] == ["python", "-m", "uwsgi_ws", "--http", "127.0.0.1:3031"]
        assert words[5:7] == ["--wsgi-file", "app.py"]
        return words[7:]

    @contextlib.contextmanager
    def in_front_of(self, ports: list[int], folder: Path) -> Iterator[tuple[str, int]]:
        """Run it; give its address."""
        port = free_port()
        old, new = self.listens
        changes = {"3031": str(ports[0]), "3032": str(ports[1])}
        if self.file != "traefik-routes.yml":
            changes[old] = new.format(port)
        (folder / self.file).write_text(deployed(FOLDER + self.file, changes))
        self.prepare(folder, port)
        with running([self.program, *self.command], port, folder) as address:
            yield address


def _prepare_nginx(folder: Path, port: int) -> None:
    (folder / "nginx.conf").rename(folder / "site.conf")
    (folder / "main.conf").write_text(NGINX.replace("worker_connections 64", "worker_connections 8192"))


def _prepare_caddy(folder: Path, port: int) -> None:
    text = (folder / "Caddyfile").read_text()
    (folder / "Caddyfile").write_text(CADDY + text)


def _prepare_traefik(folder: Path, port: int) -> None:
    (folder / "traefik.yml").write_text(deployed(FOLDER + "traefik.yml", {'":80"': f'"127.0.0.1:{port}"'}))


PROXIES = {
    "nginx": Proxy(
        "nginx",
        ("nginx", "/usr/sbin/nginx"),
        "nginx.conf",
        ("listen 80;", "listen 127.0.0.1:{};"),
        ("-e", "stderr", "-p", ".", "-c", "main.conf"),
        ("-v",),
        _prepare_nginx,
    ),
    "haproxy": Proxy(
        "haproxy",
        ("haproxy", "/usr/sbin/haproxy"),
        "haproxy.cfg",
        ("bind :80", "bind 127.0.0.1:{}"),
        ("-db", "-f", "haproxy.cfg"),
        ("-v",),
    ),
    "envoy": Proxy(
        "Envoy",
        ("envoy",),
        "envoy.yaml",
        ("address: 0.0.0.0, port_value: 80}", "address: 127.0.0.1, port_value: {}}}"),
        ("--config-path", "envoy.yaml", "--disable-hot-restart", "--log-level", "warn"),
        ("--version",),
    ),
    "caddy": Proxy(
        "Caddy",
        ("caddy",),
        "Caddyfile",
        ("{$SITE::80}", ":{}"),
        ("run", "--config", "Caddyfile", "--adapter", "caddyfile"),
        ("version",),
        _prepare_caddy,
    ),
    "traefik": Proxy(
        "Traefik",
        ("traefik",),
        "traefik-routes.yml",
        ("", ""),
        ("--configFile=traefik.yml",),
        ("version",),
        _prepare_traefik,
    ),
}


@dataclass
class Outcome:
    """What clients have seen of one way to restart.

    Attributes:
        code: The close code that each connection should end by.
        codes: Close codes; 1006 is an end without a close frame.
        answers: Answers to opening handshakes other than 101; 0 is none.
        refused: Connections that the proxy did not take.
        away: The longest time that a client was without a connection, in seconds.
        requests: Answers to plain requests meanwhile, by status; 0 is none.
    """

    code: int
    codes: Counter[int] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    refused: int = 0
    away: float = 0.0
    requests: Counter[int] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """Whether each connection ended as it should, and nobody was turned away."""
        return (
            self.codes.keys() == {self.code} and not self.answers and not self.refused and set(self.requests) == {200}
        )


class Instances:
    """Two of them, on ports of their own."""

    def __init__(self, options: list[str], size: int) -> None:
        self.ports = [free_port(), free_port()]
        self._options = [*options, "--processes", str(WORKERS), "--gevent", str(size), "--listen", "1024", "-L"]
        self.servers = [self.start(number) for number in (0, 1)]

    def start(self, number: int) -> Server:
        program = Program((*UWSGI_WS.command[:3], "--http", f"127.0.0.1:{self.ports[number]}"), UWSGI_WS.ready)
        server = Server(APPLICATION, *self._options, program=program, deadline=DEADLINE)
        eventually(lambda: server.log.count("spawned uwsgi_ws worker") >= WORKERS, DEADLINE)
        return server

    def reload(self, number: int) -> None:
        """Have new workers serve, and wait until the old ones have left."""
        server = self.servers[number]
        left = server.log.count(" has left")
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: server.log.count(" has left") >= left + WORKERS, DEADLINE)

    def replace(self, number: int) -> None:
        """Stop one, wait for its end, and start it anew."""
        server = self.servers[number]
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait(DEADLINE) == 0, server.log
        self.servers[number] = self.start(number)

    def wait_until_used(self, number: int, proxy: tuple[str, int]) -> None:
        """Wait until the proxy sends requests there."""
        eventually(lambda: int(fetch(proxy).text.split()[0]) in children(self.servers[number].pid), DEADLINE)

    def stop(self) -> None:
        for server in self.servers:
            finish(server, allow_traceback=False)


@contextlib.contextmanager
def _requesting(proxy: tuple[str, int]) -> Iterator[Counter[int]]:
    """Have another thread make requests, a connection each, all the while; yields their statuses."""
    statuses: Counter[int] = Counter()
    done = threading.Event()

    def request() -> None:
        while not done.wait(0.01):
            try:
                statuses[fetch(proxy).status] += 1
            except (OSError, AssertionError) as exc:
                sys.stderr.write(f"a request: {exc!r}\n")
                statuses[0] += 1

    thread = threading.Thread(target=request)
    thread.start()
    try:
        yield statuses
    finally:
        done.set()
        thread.join()


def roll(proxy: Proxy, size: int, folder: Path) -> dict[str, Outcome]:
    """Restart both instances one after the other, by a reload and by a replacement each, under ``size`` WebSockets."""
    instances = Instances(proxy.options(), size + 100)
    outcomes = {}
    try:
        with proxy.in_front_of(instances.ports, folder) as address:
            for number in (0, 1):
                instances.wait_until_used(number, address)
            ways = (("reload", instances.reload, 1012), ("replace", instances.replace, 1001))
            for how, restart, code in ways:
                outcome = outcomes[how] = Outcome(code)
                with ManyClients(address[1], size, "/chat", talkers=size // 10, may_be_refused=True) as clients:
                    eventually(lambda: clients.open == size, DEADLINE)
                    with _requesting(address) as outcome.requests:
                        for number in (0, 1):
                            restart(number)
                            instances.wait_until_used(number, address)
                        # A proxy that is slow may still have close frames to pass on when the workers have left.
                        eventually(lambda: clients.open == len(clients.closed) == size, DEADLINE)
                    clients.look_around()
                    outcome.codes, outcome.answers, outcome.refused = clients.codes, clients.answers, clients.refused
                    outcome.away = max(clients.away, default=0.0)
    finally:
        instances.stop()
    return outcomes
