"""What happens to a server from outside: full disks, little memory, a master that stands still, new certificates."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.server import UWSGI_WS, Program, ServerFailed
from support.tls import Authority, https, names_of
from support.workers import APPLICATION, all_workers, echo, open_chat, wait_for_workers

HELLO = """
def application(environ, start_response):
    body = b"x" * int(environ["QUERY_STRING"] or 5)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def limited(*limits: str, ready: str = UWSGI_WS.ready) -> Program:
    """Return our server under limits of the kernel's."""
    prlimit = shutil.which("prlimit") or pytest.skip("no prlimit")
    return Program((prlimit, *limits, *UWSGI_WS.command), ready)


def test_a_log_that_cannot_grow_any_more_delays_no_client(serve: Any, tmp_path: Path) -> None:
    """A full disk, by a limit on the size of files: the kernel says EFBIG where a disk says ENOSPC."""
    log = tmp_path / "log"
    program = limited("--fsize=4096", ready="bound on")
    server = serve(HELLO, "--gevent", "10", "--logto2", str(log), program=program)
    with HttpClient(server.addresses[0]) as client:
        for _ in range(100):
            assert client.request().status == 200
    assert 0 < log.stat().st_size <= 4096


def test_a_pidfile_that_cannot_be_written_is_named(serve: Any, tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"pidfile.*(File too large|No space)"):
        serve(HELLO, "--gevent", "10", "--pidfile", str(tmp_path / "pid"), program=limited("--fsize=0"))


def test_a_request_that_needs_more_memory_than_there_is_fails_alone(serve: Any) -> None:
    server = serve(HELLO, "--limit-as", "1500", allow_traceback=True)
    with HttpClient(server.addresses[0]) as other:
        assert other.request().status == 200
        assert fetch(server.addresses[0], f"/?{4 << 30}").status == 500
        assert other.request().status == 200
    assert "MemoryError" in server.log


def test_clients_are_served_while_the_master_stands_still(serve_many: Any) -> None:
    server = serve_many(APPLICATION)
    pids = all_workers(server, 2)
    with open_chat(server) as chat:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            os.kill(min(pids), signal.SIGTERM)  # it is replaced later
            eventually(lambda: all_workers(server, 1) == {max(pids)})
            assert fetch(server.addresses[-1]).status == 200
        finally:
            os.kill(server.pid, signal.SIGCONT)
        wait_for_workers(server, 3)
        del chat
    with open_chat(server) as chat:
        echo(chat, "hello")


def test_a_certificate_that_changes_under_load_fails_no_client(serve_many: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = serve_many(HELLO, "--master", program=https(authority.issue("127.0.0.1", "before.test")), processes=1)
    problems: list[Exception] = []
    is_over = threading.Event()

    def hammer() -> None:
        while not is_over.is_set():
            try:
                with HttpClient(server.addresses[0], tls=authority.client_context()) as client:
                    assert client.request().status == 200
            except (OSError, AssertionError, ssl.SSLError) as exc:
                problems.append(exc)

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        authority.issue("127.0.0.1", "after.test")
        os.kill(server.pid, signal.SIGHUP)
        server.wait_for_log("reloaded: new workers serve", 20)
        eventually(lambda: "after.test" in names_of(server, authority))
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert problems == []
