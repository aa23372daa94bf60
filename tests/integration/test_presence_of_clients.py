"""Presence as applications use it: WebSockets that are members, in greenlets and in threads, and who hears of them."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.engines import running
from support.eventually import eventually
from support.server import APPLICATIONS, Server, finish
from support.websocket_client import RawClient

APPLICATION = APPLICATIONS / "presence.py"


@pytest.fixture(params=[("pipes", "--gevent"), ("redis", "--threads")], ids=" ".join)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    name, mode = request.param
    options = ("--processes", "2", "--master", mode, "20", "--reload-mercy", "2")
    with running(name) as engine, Server(APPLICATION, *options, *engine.options) as server:
        yield server
        finish(server, allow_traceback=False)


class Client(RawClient):
    """A client that keeps what it is told."""

    told: list[list[Any]]

    @classmethod
    def join(cls, server: Server, name: str) -> Client:
        client = cls.open(server.port, "/" + name)
        assert isinstance(client, Client)
        client.told = []
        client.sock.settimeout(20)  # a lease ends after eight seconds
        return client

    def next(self) -> list[Any]:
        self.told.append(json.loads(self.read_frame().payload))
        return self.told[-1]

    def until(self, kind: str, name: object = None) -> list[Any]:
        """Read until something has happened; return it."""
        while True:
            told = self.next()
            if told[0] == kind and (name is None or name == told[1] or told[1] == {"name": name}):
                return told

    def command(self, *command: object) -> None:
        self.send_text(json.dumps(command))


def look(server: Server) -> list[str]:
    with urllib.request.urlopen(server.url("/look")) as response:
        return json.load(response)  # type: ignore[no-any-return]


def test_clients_see_one_another_come_change_and_go(server: Server) -> None:
    ann = Client.join(server, "ann")
    [_, _, ann_id] = ann.until("joined", "ann")
    clients = {}
    for name in ("spectator", "bob"):  # one after the other: else bob might be in the spectator's list already
        clients[name] = client = Client.join(server, name)
        # Told with the list, or by the event.
        here = client.until("here")[1]
        assert here.get(ann_id) == {"name": "ann"} or client.until("joined", "ann")[2] == ann_id
    spectator, bob = clients["spectator"], clients["bob"]
    bob_ids = {client.until("joined", "bob")[2] for client in (ann, spectator)}
    assert len(bob_ids) == 1
    eventually(lambda: look(server) == ["ann", "bob"])
    # In order with what they say.
    bob.command("join", {"name": "bob", "mood": "cheerful"})
    bob.command("say", "hello")
    bob.command("leave")
    for client in (ann, spectator):
        assert client.next() == ["joined", {"name": "bob", "mood": "cheerful"}, *bob_ids]
        assert client.next() == ["said", "hello"]
        assert client.next() == ["left", {"name": "bob", "mood": "cheerful"}, *bob_ids]
    # Nothing but dicts of JSON, and not too large.
    ann.command("join", "ann")
    assert ann.next() == ["TypeError", "a member is a dict, not str"]
    ann.command("join", {"text": "x" * 5_000})
    assert ann.next() == ["ValueError", "a member of 5011 bytes as JSON, 4096 allowed"]
    ann.command("join", None)
    eventually(lambda: look(server) == ["ann"])
    # Who hangs up leaves.
    ann.close()
    assert spectator.next() == ["left", {"name": "ann"}, ann_id]
    eventually(lambda: look(server) == [])
    for client in (spectator, bob):
        client.close()


def test_a_subscription_hears_it_too_and_a_reload_takes_members_along(server: Server) -> None:
    with ThreadPoolExecutor() as threads:
        listening = threads.submit(lambda: urllib.request.urlopen(server.url("/listen")).read())
        eventually(lambda: look(server) == [])
        ann = Client.join(server, "ann")
        ann.until("joined", "ann")
        ann.command("say", "hello")
        ann.command("leave")
        ann.command("join", {"name": "ann"})
        assert json.loads(listening.result(20)) == [
            ["MemberJoined", "ann"],
            "hello",
            ["MemberLeft", "ann"],
            ["MemberJoined", "ann"],
        ]
    os.kill(server.pid, signal.SIGHUP)
    eventually(lambda: server.log.count("spawned uwsgi_ws worker") == 4, 20)
    ann.close()
    eventually(lambda: server.log.count(" has left") == 2, 20)  # an old worker would send bob away
    bob = Client.join(server, "bob")
    eventually(lambda: look(server) == ["bob"], 20)
    bob.close()
