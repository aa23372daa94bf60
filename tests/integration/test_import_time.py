"""What an application starts while it is loaded goes on in one process: the one that has loaded it."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.workers import APPLICATION, all_workers, evaluate, is_alive, wait_for_workers

TICK = """\
import threading, time

def tick():
    with open({path!r}, "a") as file:
        file.write("%d\\n" % os.getpid())

def run():
    while True:
        tick()
        time.sleep(0.02)

def again():
    tick()
    timer = threading.Timer(0.02, again)
    timer.daemon = True
    timer.start()

"""
STARTS = {
    "thread": "threading.Thread(target=run, daemon=True).start()",
    "timer thread": "again()",
    "greenlet": "gevent.spawn(run)",
    "greenlet that comes later": "gevent.spawn_later(0.05, run)",
    "timer": "timer = gevent.get_hub().loop.timer(0.02, 0.02); timer.start(tick)",
    "library's pool": "import concurrent.futures as f; pool = f.ThreadPoolExecutor(2); pool.submit(run)",
}
NATIVE = ("thread", "timer thread", "library's pool")


def ticks(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def cases() -> list[Any]:
    kinds = {"greenlets": [], "threads": ["--threads", "4"]}
    return [
        pytest.param(start, kinds[kind], id=f"{kind}-{start}")
        for kind in kinds
        for start in STARTS
        if kind == "greenlets" or start in NATIVE
    ]


@pytest.mark.parametrize(("start", "options"), cases())
def test_it_goes_on_in_no_worker(serve_many: Any, tmp_path: Path, start: str, options: list[str]) -> None:
    path = tmp_path / "ticks"
    server = serve_many(APPLICATION.read_text() + TICK.format(path=str(path)) + STARTS[start], *options)
    workers = all_workers(server, 2)
    victim = min(workers)
    os.kill(victim, signal.SIGKILL)
    wait_for_workers(server, 3)
    eventually(lambda: not is_alive(victim))
    workers |= all_workers(server, 2)
    so_far = len(ticks(path))
    eventually(lambda: len(ticks(path)) > so_far + 10)
    assert len(set(ticks(path))) == 1
    assert not set(ticks(path)) & workers
    assert "is loaded again" not in server.log


@pytest.mark.parametrize("start", STARTS)
def test_after_a_reload_it_goes_on_for_the_new_code_only(serve_many: Any, tmp_path: Path, start: str) -> None:
    path = tmp_path / "ticks"
    server = serve_many(APPLICATION.read_text() + TICK.format(path=str(path)) + STARTS[start])
    (before,) = eventually(lambda: set(ticks(path)))
    os.kill(server.pid, signal.SIGHUP)
    server.wait_for_log("reloaded: new workers serve", 20)
    eventually(lambda: not is_alive(before), 10)
    so_far = len(ticks(path))
    eventually(lambda: len(ticks(path)) > so_far + 10)
    assert len(set(ticks(path)[so_far:])) == 1


@pytest.mark.parametrize(("start", "options"), cases())
def test_with_lazy_apps_each_worker_has_its_own(
    serve_many: Any, tmp_path: Path, start: str, options: list[str]
) -> None:
    path = tmp_path / "ticks"
    server = serve_many(APPLICATION.read_text() + TICK.format(path=str(path)) + STARTS[start], "--lazy-apps", *options)
    workers = all_workers(server, 2)
    so_far = len(ticks(path))
    eventually(lambda: all(ticks(path)[so_far:].count(pid) > 5 for pid in workers))
    assert set(ticks(path)) == workers


@pytest.mark.parametrize(("start", "options"), cases())
def test_without_a_master_it_goes_on_there(serve: Any, tmp_path: Path, start: str, options: list[str]) -> None:
    path = tmp_path / "ticks"
    server = serve(APPLICATION.read_text() + TICK.format(path=str(path)) + STARTS[start], *options)
    so_far = len(ticks(path))
    eventually(lambda: len(ticks(path)) > so_far + 5)
    assert set(ticks(path)) == {server.pid}


def test_a_fault_of_it_costs_nothing(serve_many: Any) -> None:
    source = (
        APPLICATION.read_text() + "gevent.spawn(sys.exit, 3)\ngevent.spawn_later(0.05, uwsgi.websocket_send, 'here')\n"
    )
    server = serve_many(source, allow_traceback=True)
    server.wait_for_log("you can call uwsgi api function only from the main callable")
    os.kill(min(all_workers(server, 2)), signal.SIGKILL)
    wait_for_workers(server, 3)
    assert "is loaded again" not in server.log


def test_a_lock_that_it_has_used_is_usable_in_workers(serve_many: Any) -> None:
    source = APPLICATION.read_text() + (
        "import threading, time\n"
        "lock = threading.Lock()\n"
        "def run():\n"
        "    while True:\n"
        "        with lock:\n"
        "            pass\n"
        "        time.sleep(0.01)\n"
        "threading.Thread(target=run, daemon=True).start()\n"
        "def contend():\n"
        "    def hold():\n"
        "        with lock:\n"
        "            gevent.sleep(0.05)\n"
        "    gevent.joinall([gevent.spawn(hold) for _ in range(5)])\n"
        "    return lock.locked()\n"
    )
    server = serve_many(source)
    for _ in range(4):
        assert evaluate(server, "contend()") is False


@pytest.mark.parametrize("options", [[], ["--lazy-apps"]], ids=["once", "lazy"])
def test_connections_that_workers_would_share_are_told_of(serve_many: Any, options: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as database:
        port = database.getsockname()[1]
        source = f"import socket\nconnection = socket.create_connection(('127.0.0.1', {port}))\n"
        server = serve_many(APPLICATION.read_text() + source + "pair = socket.socketpair()\n", *options)
    assert (f"has connected to 127.0.0.1:{port}, and all 2 workers share that" in server.log) is not bool(options)


def test_a_connection_made_at_import_serves_a_worker(serve_many: Any) -> None:
    """It is the application's to say who uses it."""
    with socket.create_server(("127.0.0.1", 0)) as database:
        source = (
            "import socket\n"
            f"connection = socket.create_connection(('127.0.0.1', {database.getsockname()[1]}))\n"
            "connection.sendall(b'a')\n"
            "def ask(): connection.sendall(b'question'); return connection.recv(100)\n"
        )
        server = serve_many(APPLICATION.read_text() + source, "--master", processes=1)
        with database.accept()[0] as there:
            assert there.recv(1) == b"a"
            there.sendall(b"answer")
            assert evaluate(server, "ask()") == b"answer"
