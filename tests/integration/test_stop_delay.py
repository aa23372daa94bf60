"""``--stop-delay``: an instance that is told to stop says so to those who ask for its health, and serves on."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import fetch
from support.server import free_port
from support.workers import APPLICATION, echo, is_refused, open_chat, wait_for_workers

OPTIONS = ("--health-path", "/up")


@pytest.mark.parametrize("master", [(), ("--master", "--processes", "2")], ids=["alone", "master"])
def test_clients_are_served_until_the_delay_has_passed(serve: Any, master: tuple[str, ...]) -> None:
    server = serve(APPLICATION, *OPTIONS, "--stop-delay", "2", *master)
    where = ("127.0.0.1", server.port)
    wait_for_workers(server, 2 if master else 1)
    began = time.monotonic()
    with open_chat(server) as old:
        os.kill(server.pid, signal.SIGTERM)
        eventually(lambda: fetch(where, "/up").status == 503)
        with open_chat(server) as new:
            for peer in (old, new):
                echo(peer, "still here")
            assert fetch(where).status == 200
            for peer in (old, new):
                peer.expect_close(1001, "server stops")
    assert time.monotonic() - began >= 2
    assert server.wait() == 0


@pytest.mark.parametrize("master", [(), ("--master",)], ids=["alone", "master"])
def test_a_second_signal_does_not_wait(serve: Any, master: tuple[str, ...]) -> None:
    server = serve(APPLICATION, *OPTIONS, "--stop-delay", "60", *master)
    where = ("127.0.0.1", server.port)
    with open_chat(server) as peer:
        os.kill(server.pid, signal.SIGTERM)
        eventually(lambda: fetch(where, "/up").status == 503)
        os.kill(server.pid, signal.SIGHUP)  # it is too late for that
        os.kill(server.pid, signal.SIGTERM)
        peer.expect_close(1001, "server stops")
    assert server.wait() == 0
    assert "reloading" not in server.log


def test_the_instance_is_not_ready_and_a_worker_that_comes_meanwhile_is_told_too(serve: Any) -> None:
    port = free_port()
    server = serve(APPLICATION, *OPTIONS, "--stop-delay", "60", "--metrics", f"127.0.0.1:{port}")
    health, clients = ("127.0.0.1", port), ("127.0.0.1", server.port)
    eventually(lambda: fetch(health, "/readyz").status == 200)
    worker = int(fetch(clients).text.split()[0])
    os.kill(server.pid, signal.SIGTERM)
    eventually(lambda: fetch(health, "/readyz").status == 503)
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: not is_refused(server) and int(fetch(clients).text.split()[0]) != worker)
    eventually(lambda: fetch(clients, "/up").status == 503)
    assert fetch(health, "/healthz").status == 200
    os.kill(server.pid, signal.SIGTERM)
    assert server.wait() == 0
