"""``--reuse-port``: a socket for each worker, and nobody lost who waits at one."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.many_clients import ManyClients
from support.server import ServerFailed
from support.workers import (
    APPLICATION,
    address,
    all_workers,
    evaluate,
    hammering,
    is_alive,
    is_refused,
    wait_for_workers,
    who,
)


def test_the_kernel_spreads_connections_over_the_workers(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--reuse-port", processes=4)
    assert len(set(evaluate(server, "uwsgi.sockets"))) == 4
    # That 100 connections, each to a worker by its hash, leave one of four out: 1 in 10**12.
    assert {who(server) for _ in range(100)} == {worker["pid"] for worker in evaluate(server, "uwsgi.workers()")}


def test_those_who_wait_at_a_killed_worker_are_served_by_its_successor(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--reuse-port")
    victim = min(all_workers(server, 2))
    os.kill(victim, signal.SIGSTOP)
    with ExitStack() as stack:
        clients = [stack.enter_context(HttpClient(address(server))) for _ in range(40)]
        for client in clients:
            client.send_request("GET", "/")
        os.kill(victim, signal.SIGKILL)
        wait_for_workers(server, 3)
        served = {int(client.read_response().text.split()[0]) for client in clients}
    assert len(served) == 2
    assert victim not in served


def test_a_reload_loses_nobody_and_sends_each_away_once(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--reuse-port", "-L")
    before = all_workers(server, 2)
    with ManyClients(address(server)[1], 100, "/chat") as clients:
        eventually(lambda: clients.open == 100, 20)
        with hammering(server) as problems:
            os.kill(server.pid, signal.SIGHUP)
            eventually(lambda: not any(is_alive(pid) for pid in before), 20)
            clients.look_around()
            eventually(lambda: clients.open == 100, 20)
        assert problems == []
        assert clients.codes == {1012: 100}
        assert clients.refused == 0
    assert server.stop() == 0
    assert is_refused(server)


def test_a_worker_without_a_master_keeps_its_port_over_a_reload(serve: Any) -> None:
    server = serve(APPLICATION, "--reuse-port")
    before = address(server)
    os.kill(server.pid, signal.SIGHUP)
    server.wait_for_log("still bound on", 20)
    assert fetch(before).status == 200


def test_only_who_says_so_too_may_listen_on_the_same_port(serve: Any) -> None:
    first = serve(APPLICATION, "--reuse-port")
    port = f"127.0.0.1:{address(first)[1]}"
    with pytest.raises(ServerFailed, match="Address already in use"):
        serve(APPLICATION, "--http", port)
    second = serve(APPLICATION, "--reuse-port", "--http", port)
    eventually(lambda: who(second) == second.pid)
    first.stop()
    assert who(second) == second.pid


def test_unix_sockets_stay_shared(serve_many: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    server = serve_many(APPLICATION, "--reuse-port", "--http", path)
    assert {int(fetch(path).text.split()[0]) for _ in range(20)} <= all_workers(server, 2)
    assert len(evaluate(server, "uwsgi.sockets")) == 3
