"""Channels over the workers of a running server, while it reloads and one of them is killed."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from support.engines import Engine
from support.eventually import eventually
from support.server import Server
from support.websocket_client import CLOSE, RawClient

import uwsgi_ws

Serve = Callable[..., Server]

APPLICATION = """
import os
import uwsgi_ws


def application(environ, start_response):
    if environ["PATH_INFO"] == "/count":
        body = b"%d" % uwsgi_ws.count("lobby")
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    with uwsgi_ws.accept(environ) as ws:
        ws.send(str(os.getpid()))
        if environ["PATH_INFO"] == "/subscribe":
            ws.join("lobby")
            ws.send("joined")  # of a thread's join others may know before
        for message in ws:
            uwsgi_ws.publish("lobby", message)
    return []
"""


class Peer(threading.Thread):
    """A client that comes back whenever its connection ends."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__(name=path, daemon=True)
        self._port = port
        self._path = path
        self._is_over = threading.Event()
        self.worker = 0
        self.codes: list[int] = []
        self.start()

    def run(self) -> None:
        while not self._is_over.is_set():
            try:
                with RawClient.open(self._port, self._path) as client:
                    self.worker = int(client.read_frame().payload)
                    self.talk(client)
            except (AssertionError, OSError):
                self.codes.append(1006)

    def talk(self, client: RawClient) -> None:
        raise NotImplementedError

    def end(self) -> None:
        self._is_over.set()
        self.join(10)


class Subscriber(Peer):
    def __init__(self, port: int) -> None:
        #: What each of its connections has brought. Order is promised to a connection: the worker of the next one may
        #: be further behind, and bring what the one before has brought already.
        self.received: list[list[str]] = []
        super().__init__(port, "/subscribe")

    def talk(self, client: RawClient) -> None:
        received: list[str] = []
        self.received.append(received)
        while (frame := client.read_frame()).opcode != CLOSE:
            if frame.payload != b"joined":
                received.append(frame.payload.decode())
            if frame.payload == b"end":
                self._is_over.set()
                return
        self.codes.append(int.from_bytes(frame.payload[:2], "big"))


class Publisher(Peer):
    def __init__(self, port: int, name: str) -> None:
        self.label = name
        self._lives = itertools.count()
        self.sent = 0
        super().__init__(port, "/publish")

    def talk(self, client: RawClient) -> None:
        life = next(self._lives)
        client.sock.settimeout(0.001)  # the pace, and a look for a close frame
        for number in itertools.count():
            if self._is_over.is_set():
                return
            client.send_text(f"{self.label}.{life}:{number}")
            self.sent += 1
            try:
                assert not client.sock.recv(100), "only a close frame can come"
            except TimeoutError:
                pass


@pytest.fixture(
    params=[
        ("pipes", "--gevent"),
        ("redis", "--threads"),
        *(
            pytest.param((engine, mode), marks=pytest.mark.long)
            for engine, mode in (
                ("pipes", "--threads"),
                ("redis", "--gevent"),
                ("valkey", "--gevent"),
                ("sentinel", "--threads"),
                ("cluster", "--gevent"),
            )
        ),
    ],
    ids=" ".join,
)
def place(request: pytest.FixtureRequest, shared_engine: Callable[[str], Engine]) -> tuple[Engine, str]:
    """The engine, and the option for how applications run."""
    name, mode = request.param
    return shared_engine(name), mode


@pytest.fixture
def server(serve: Serve, tmp_path: Path, place: tuple[Engine, str]) -> Server:
    engine, mode = place
    options = ("--processes", "4", mode, "100", "--channel-socket", str(tmp_path / "bus.sock"))
    return serve(APPLICATION, *options, *engine.options)


def count(server: Server) -> int:
    with urllib.request.urlopen(server.url("/count")) as response:
        return int(response.read())


def wait_for_workers(server: Server, number: int) -> None:
    eventually(lambda: server.log.count("spawned uwsgi_ws worker ") >= number, 20)


def test_nothing_comes_twice_or_out_of_order_while_workers_come_and_go(server: Server, tmp_path: Path) -> None:
    wait_for_workers(server, 4)
    subscribers = [Subscriber(server.port) for _ in range(12)]
    publishers = [Publisher(server.port, name) for name in ("ann", "bob", "eve")]
    try:
        eventually(lambda: count(server) == 12)
        eventually(lambda: all(publisher.sent > 100 for publisher in publishers), 15)
        victim = subscribers[0].worker
        on_victim = [subscriber for subscriber in subscribers if subscriber.worker == victim]
        os.kill(victim, signal.SIGKILL)
        wait_for_workers(server, 5)
        eventually(lambda: count(server) == 12, 15)
        os.kill(server.pid, signal.SIGHUP)
        wait_for_workers(server, 9)
        eventually(lambda: all(1012 in subscriber.codes for subscriber in subscribers), 15)
        eventually(lambda: count(server) == 12, 15)
        sent = [publisher.sent for publisher in publishers]
        eventually(lambda: all(p.sent > before + 100 for p, before in zip(publishers, sent, strict=True)), 15)
    finally:
        for publisher in publishers:
            publisher.end()
        uwsgi_ws.publish_to(str(tmp_path / "bus.sock"), "lobby", "end")
        for subscriber in subscribers:
            subscriber.end()
    for subscriber in subscribers:
        assert subscriber.received[-1][-1] == "end"
        assert set(subscriber.codes) <= {1006, 1012}
        assert 1006 not in subscriber.codes or subscriber in on_victim
        for received in subscriber.received:
            by_publisher: dict[str, list[int]] = {}
            for text in received:
                publisher_name, _, number = text.partition(":")
                if text != "end":
                    by_publisher.setdefault(publisher_name, []).append(int(number))
            for numbers in by_publisher.values():
                wrong = [(x, y) for x, y in itertools.pairwise(numbers) if x >= y]
                assert wrong == []


def test_every_worker_hears_what_other_programs_publish(
    server: Server, tmp_path: Path, place: tuple[Engine, str]
) -> None:
    wait_for_workers(server, 4)
    clients: dict[int, RawClient] = {}

    def has_one_of_each() -> bool:
        client = RawClient.open(server.port, "/subscribe")
        worker = int(client.read_frame().payload)
        client.expect_text("joined")
        clients.setdefault(worker, client)
        if clients[worker] is not client:
            client.close()
        return len(clients) >= 3

    eventually(has_one_of_each, 20)
    engine, _ = place
    eventually(lambda: not engine.masters or engine.subscribers() == len(clients))
    uwsgi_ws.publish_to(str(tmp_path / "bus.sock"), "lobby", "to all")
    for client in clients.values():
        client.expect_text("to all")
        client.finish()
    eventually(lambda: count(server) == 0)
