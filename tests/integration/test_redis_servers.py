"""Whole servers on Redis: how they start, what their clients see when it goes, and what they leave behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.engines import HOST, Engine, EngineServer, free_port, single
from support.eventually import eventually
from support.peers import require_module
from support.server import APPLICATIONS, ROOT, Server, ServerFailed
from support.tls import Authority
from support.websocket_client import CLOSE, RawClient

import uwsgi_ws

APPLICATION = APPLICATIONS / "gaps.py"
Serve = Callable[..., Server]
MODES = ["--gevent", "--threads"]


def get(server: Server, path: str) -> str:
    with urllib.request.urlopen(server.url(path)) as response:
        return str(response.read(), "ascii")


def join(server: Server, path: str = "/ignore") -> RawClient:
    client = RawClient.open(server.port, path)
    client.expect_text("joined")
    return client


def connected(engine: EngineServer) -> int:
    """Return how many connections of workers the engine has."""
    return str(engine.ask("CLIENT", "LIST")).count(" name=uwsgi_ws ")


@pytest.mark.parametrize("name", ["redis", "valkey", "sentinel", "cluster"])
def test_two_instances_share_a_channel_and_a_sender_may_be_left_out(
    serve: Serve, shared_engine: Callable[[str], Engine], name: str
) -> None:
    engine = shared_engine(name)
    servers = [serve(APPLICATIONS / "channels.py", mode, "20", *engine.options) for mode in MODES]
    ann, bob = (RawClient.open(server.port, "/") for server in servers)
    for client in (ann, bob):
        client.send_text('["join", "lobby"]')
        client.expect_text('"joined"')
    eventually(lambda: engine.subscribers() == 2)
    ann.send_text('["publish", "lobby", "to all"]')
    for client in (ann, bob):
        client.expect_text("to all")
    ann.send_text('["publish_to_others", "lobby", "to others"]')
    ann.send_text('["publish_bytes", "lobby", [0, 255]]')
    bob.expect_text("to others")
    for client in (bob, ann):
        client.expect_binary(b"\x00\xff")
        client.finish()
    eventually(lambda: engine.subscribers() == 0)


@pytest.mark.parametrize("mode", MODES)
def test_who_asks_for_it_is_closed_at_a_gap_and_all_others_go_on(serve: Serve, own_redis: Engine, mode: str) -> None:
    [engine] = own_redis.servers
    server = serve(APPLICATION, mode, "20", *own_redis.options)
    strict, patient = join(server, "/close"), join(server, "/ignore")
    engine.stop()
    server.wait_for_log(r"channels: .*trying again")
    assert float(get(server, "/publish")) < 0.1, "nobody waits for what is not there"
    engine.start()
    assert (found := strict.read_frame()).opcode == CLOSE
    assert int.from_bytes(found.payload[:2], "big") == 1012
    server.wait_for_log(r"connected to \S+ again")
    patient.expect_text("x" * 1000)
    eventually(lambda: own_redis.subscribers() == 1)
    uwsgi_ws.publish_to(own_redis.url, "lobby", "afterwards")
    patient.expect_text("afterwards")
    strict.close()
    patient.finish()


def test_a_copy_of_a_worker_holds_no_connection_and_workers_leave_none(serve: Serve, own_redis: Engine) -> None:
    [engine] = own_redis.servers
    server = serve(APPLICATION, "--gevent", "20", "--processes", "2", *own_redis.options)
    eventually(lambda: connected(engine) == 2, 10)
    child, worker = map(int, get(server, "/fork").split())
    try:
        with join(server) as client:
            client.send_text("still here")
            client.expect_text("still here")
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: server.log.count("spawned uwsgi_ws worker ") == 3, 20)
        eventually(lambda: connected(engine) == 2, 10)
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: server.log.count("spawned uwsgi_ws worker ") == 5, 20)
        eventually(lambda: connected(engine) == 2, 10)
        server.stop()
        eventually(lambda: connected(engine) == 0)
    finally:
        os.kill(child, signal.SIGKILL)


class OldServer(threading.Thread):
    """Answers as Redis did before version 7; there is no such program here."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__()
        self._answers = answers
        self._listener = socket.create_server((HOST, 0))
        self._listener.settimeout(20)
        self.url = f"redis://{HOST}:{self._listener.getsockname()[1]}"
        self.start()

    def run(self) -> None:
        client, _ = self._listener.accept()
        with client:
            for answer in self._answers:
                if client.recv(1_000):
                    client.sendall(answer)
            client.recv(1_000)

    def __enter__(self) -> OldServer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.join()
        self._listener.close()


def fields(version: bytes) -> bytes:
    pairs = ((b"version", version), (b"mode", b"standalone"), (b"role", b"master"))
    answer = b"".join(b"$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(k), k, len(v), v) for k, v in pairs)
    return b"%%%d\r\n%s$5\r\nproto\r\n:3\r\n" % (len(pairs) + 1, answer)


def refusal(*options: str) -> str:
    """Return the last lines of a server that does not start."""
    with pytest.raises(ServerFailed) as caught:
        Server(APPLICATION, *options)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1", r"--channels: http://127.0.0.1: a URL begins with redis://, "),
        ("redis://:secret@h:99999", r"--channels: redis://\*\*\*@h:99999: Port out of range"),
        ("redis://h/0?colour=red", r"--channels: redis://h/0: no such parameter: 'colour'"),
        ("redis+sentinel://h:1", r"the name of the service is missing"),
        ("redis://{host}:{closed}", r"--channels: {host}:{closed}: .*Connection refused"),
        ("redis://{host}:{closed}", r"\(command line\)"),
        ("unix:///nowhere/redis.sock", r"--channels: /nowhere/redis.sock: .*No such file"),
        ("redis://{host}:{port}", r"--channels: {host}:{port}: it asks for a password, and the URL has none"),
        ("redis://:secret-wrong@{host}:{port}", r"--channels: {host}:{port}: invalid username-password pair"),
        ("redis://weak:pass@{host}:{port}", r"--channels: {host}:{port}: .*channels need \+publish \+subscribe"),
        ("redis://:right@{host}:{port},{host}:{closed}", r"{host}:{port}: it is no Cluster, and several servers"),
    ],
)
def test_channels_of_no_use_are_said_in_one_line(locked: EngineServer, url: str, problem: str) -> None:
    closed = free_port()
    where = {"host": HOST, "port": locked.port, "closed": closed}
    log = refusal("--channels", url.format(**where))
    expected = problem.format(**{**where, "host": HOST.replace(".", r"\.")})
    [line] = [line for line in log.splitlines() if "--channels:" in line]
    assert re.search(expected, line)
    assert "secret" not in line


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    """One that asks for a password, and has a user that may do nothing on channels."""
    with single(tmp_path_factory.mktemp("locked"), "--requirepass", "right") as engine:
        [server] = engine.servers
        server.ask("ACL", "SETUSER", "weak", "on", ">pass", "+@all", "resetchannels", password="right")
        yield server


def test_an_engine_that_is_too_old_is_refused() -> None:
    require_module("redis")
    with OldServer(b"-ERR unknown command 'HELLO'\r\n") as old:
        assert "it is too old, channels need version 7 or newer" in refusal("--channels", old.url)
    with OldServer(fields(b"6.2.7"), b"+OK\r\n", b"-ERR\r\n", b"-ERR\r\n", fields(b"6.2.7")) as old:
        assert "it is version 6.2.7, channels need 7 or newer" in refusal("--channels", old.url)


def test_channels_that_are_optional_come_when_they_can(serve: Serve, tmp_path: Path) -> None:
    port = free_port()
    server = serve(APPLICATION, "--channels", f"redis://{HOST}:{port}", "--channels-optional")
    server.wait_for_log(r"\*\*\* channels: .*Connection refused.*--channels-optional")
    client = join(server)
    get(server, "/publish")
    engine = EngineServer(tmp_path, port=port)
    try:
        eventually(lambda: Engine("", [engine]).subscribers() == 1, 10)
        client.send_text("here it is")
        client.expect_text("here it is")
        client.finish()
    finally:
        engine.stop()


def test_tls_passwords_and_unix_sockets(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls_port, path = free_port(), tmp_path / "redis.sock"
    options = ("--tls-port", str(tls_port), "--unixsocket", str(path), "--requirepass", "p@ss")
    certificate, key = authority.issue("localhost").split(",")
    options += ("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no")
    options += ("--tls-ca-cert-file", str(authority.path))
    with single(tmp_path, *options) as engine:
        urls = {
            "--gevent": f"rediss://:p%40ss@localhost:{tls_port}/0?ssl_ca_certs={authority.path}",
            "--threads": f"rediss://default:p%40ss@localhost:{tls_port}/0?ssl_ca_certs={authority.path}",
            "--no-monkey-patch": f"unix://:p%40ss@{path}",
        }
        servers = [
            serve(APPLICATION, mode, *(["20"] if mode in MODES else []), "--channels", url)
            for mode, url in urls.items()
        ]
        clients = [join(server) for server in servers]
        eventually(lambda: int(engine.servers[0].ask("PUBSUB", "NUMSUB", "uwsgi_ws:lobby", password="p@ss")[1]) == 3)
        for sender in clients:
            sender.send_text("x" * 300_000)
            for client in clients:
                client.expect_text("x" * 300_000)
        for client in clients:
            client.finish()


def command(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "uwsgi_ws", "publish", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    return done.returncode, done.stderr


def test_the_command_publishes_to_an_engine(serve: Serve, redis: Engine) -> None:
    server = serve(APPLICATION, *redis.options)
    with join(server) as client:
        eventually(lambda: redis.subscribers() == 1)
        assert command("--to", redis.url, "lobby", "from a shell") == (0, "")
        client.expect_text("from a shell")
        status, problem = command("--to", f"redis://:secret@{HOST}:{free_port()}", "lobby", "x")
        assert status == 1
        assert problem.startswith("uwsgi_ws: cannot publish to redis://***@")
        assert "Connection refused" in problem
        client.finish()
