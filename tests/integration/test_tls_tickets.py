"""Who takes up a TLS session that a worker has begun, asked by the client of ``benchmarks/tickets.py``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.eventually import eventually
from support.server import ROOT, Server
from support.tls import Authority, https

sys.path.insert(0, str(ROOT / "benchmarks"))

from tickets import Client

WORKER_ID = ROOT / "benchmarks/peers/worker_id.py"
Serve = Callable[..., Server]


@pytest.fixture
def files(tmp_path: Path) -> str:
    return Authority(tmp_path).issue()


def test_workers_take_up_each_others_sessions(serve: Serve, files: str) -> None:
    server = serve(WORKER_ID, "--processes", "2", program=https(files))
    client = Client(server.port)
    began = client.ask()
    assert not began.is_resumed
    answers = []

    def another_has_answered() -> bool:
        answers.append(client.ask(began.ticket))
        return answers[-1].worker != began.worker

    eventually(another_has_answered, 20)
    assert all(answer.is_resumed for answer in answers)


def test_another_instance_takes_up_none_and_the_client_tells(serve: Serve, files: str) -> None:
    """The keys of tickets are made at the start; the certificate does not tell them."""
    first, second = (serve(WORKER_ID, program=https(files)) for _ in range(2))
    client = Client(first.port)
    ticket = client.ask().ticket
    assert client.ask(ticket).is_resumed
    client.port = second.port
    assert not client.ask(ticket).is_resumed
