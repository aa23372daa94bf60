"""``--cheaper``, ``--cheap`` and ``--idle``: workers come and go, and no client notices."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.many_clients import ManyClients
from support.server import UWSGI_WS, Server
from support.workers import (
    APPLICATION,
    address,
    all_workers,
    echo,
    evaluate,
    hammering,
    is_alive,
    open_chat,
    wait_for_workers,
    who,
    whose,
)

SLOW = """
import time
def application(environ, start_response):
    time.sleep(0.2)
    start_response("200 OK", [])
    return [b"slow"]
"""


def pids(server: Server) -> list[int]:
    """Return the processes of the workers, 0 for one that has been put away."""
    return [worker["pid"] for worker in evaluate(server, "uwsgi.workers()")]


def test_workers_come_for_websockets_and_go_with_them(serve: Any) -> None:
    server = serve(
        APPLICATION,
        "--gevent",
        "20",
        "--processes",
        "3",
        "--cheaper",
        "1",
        "--cheaper-overload",
        "1",
        "--cheaper-mercy",
        "0.1",
        "-L",
    )
    port = address(server)[1]
    with ManyClients(port, 2, "/chat", talkers=0) as staying:
        with ManyClients(port, 14, "/chat", talkers=0) as most:
            wait_for_workers(server, 2)
            os.kill(server.pid, signal.SIGHUP)
            server.wait_for_log("reloaded: new workers serve", 20)
            eventually(lambda: (most.codes[1012], staying.codes[1012]) == (14, 2), 20)
            eventually(lambda: (most.open, staying.open) == (14, 2), 20)
            assert [bool(pid) for pid in pids(server)] == [True, True, False]
        eventually(lambda: [bool(pid) for pid in pids(server)] == [True, False, False], 20)
        eventually(lambda: staying.open == 2)
        assert set(most.codes) == set(staying.codes) == {1012}
        assert most.refused == staying.refused == 0
    assert "3 of 3" not in server.log


def test_a_worker_comes_when_requests_keep_the_only_one_busy(serve: Any) -> None:
    options = ("--processes", "2", "--cheaper", "1", "--cheaper-overload", "1", "-L")
    server = serve(SLOW, *options, concurrency=())
    with ExitStack() as stack:
        problems = [stack.enter_context(hammering(server)) for _ in range(2)]
        wait_for_workers(server, 2)
    assert problems == [[], []]
    server.wait_for_log("1 of 2 workers are wanted", 20)
    server.wait_for_log(r"worker 2 \(pid: [0-9]+\) has left")


def test_a_worker_that_is_put_away_keeps_its_clients_and_may_come_back(serve_many: Any, tmp_path: Path) -> None:
    fifo, stats = tmp_path / "fifo", tmp_path / "stats"
    manual = ("--cheaper", "1", "--cheaper-initial", "2", "--cheaper-algo", "manual", "--master-fifo", str(fifo))
    server = serve_many(APPLICATION, *manual, "--reuse-port", "--stats", str(stats), "-L")
    first, second = pids(server)
    with ExitStack() as stack:
        chats = [stack.enter_context(open_chat(server)) for _ in range(2)]
        while {first, second} != {whose(chat) for chat in chats}:
            chats.append(stack.enter_context(open_chat(server)))
        chat = next(chat for chat in chats if whose(chat) == second)
        fifo.write_text("-")
        server.wait_for_log("1 of 2 workers are wanted")
        eventually(lambda: [who(server) for _ in range(10)] == [first] * 10)
        echo(chat, "as before")
        fifo.write_text("+")
        eventually(lambda: who(server) == second)
        assert server.log.count("spawned uwsgi_ws worker") == 2
        fifo.write_text("-")
        for each in chats:
            if whose(each) == second:
                each.close()
        eventually(lambda: not is_alive(second))
    eventually(lambda: pids(server) == [first, 0])
    assert evaluate(server, "uwsgi.workers()[1]['status']") == b"cheap"
    assert told(stats)["workers"][1]["status"] == "cheap"
    os.kill(first, signal.SIGKILL)  # it is wanted
    wait_for_workers(server, 3)
    assert who(server) not in (first, second)


def told(stats: Path) -> dict[str, Any]:
    """Return what --stats says."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(stats))
        file = sock.makefile()
        found: dict[str, Any] = json.load(file)
    return found


def all_are_gone(workers: set[int]) -> bool:
    return not any(map(is_alive, workers))


def test_without_clients_there_may_be_no_worker_at_all(serve: Any) -> None:
    program = replace(UWSGI_WS, ready="cheap mode")
    server = serve(APPLICATION, "--cheap", "--idle", "0.5", "--processes", "2", "-L", program=program)
    for _ in range(2):
        with hammering(server) as problems:
            workers = all_workers(server, 2)
        assert problems == []
        eventually(partial(all_are_gone, workers), 10)
    os.kill(server.pid, signal.SIGHUP)
    server.wait_for_log("reloaded")
    assert fetch(address(server)).text


def test_the_instance_may_end_when_it_is_idle(serve: Any) -> None:
    server = serve(APPLICATION, "--idle", "0.5", "--die-on-idle")
    with HttpClient(address(server)) as client:
        assert client.request("GET", "/").status == 200
        began = time.monotonic()
    assert server.wait() == 0
    assert time.monotonic() - began >= 0.5
