"""Instances of several workers: an application that tells which process answers, and how to ask it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.eventually import eventually
from support.http_client import HttpClient, fetch, request_bytes
from support.server import APPLICATIONS, ROOT, Server
from support.websocket_client import RawClient, close_frame

APPLICATION = APPLICATIONS / "workers.py"

BEGIN_WAIT = request_bytes("POST", "/wait", [("Content-Length", "4")], b"be")
ANYWHERE = {"PYTHONPATH": str(ROOT)}


def wait_for_workers(server: Server, count: int) -> None:
    """Wait until so many workers have started, including those that have ended."""
    eventually(lambda: server.log.count("spawned uwsgi_ws worker") >= count, 20)


def address(server: Server) -> tuple[str, int]:
    return server.addresses[-1]


def who(server: Server) -> int:
    """Return the process that answers."""
    return int(fetch(address(server)).text.split()[0])


def all_workers(server: Server, count: int) -> set[int]:
    """Return the processes that answer, once there are ``count`` of them."""
    seen: set[int] = set()

    def asked() -> bool:
        seen.add(who(server))
        return len(seen) == count

    eventually(asked, 20)
    return seen


def evaluate(server: Server, expression: str) -> Any:
    with HttpClient(address(server)) as client:
        response = client.request("POST", "/eval", body=expression.encode())
        assert response.status == 200, server.log[-2_000:]
        return eval(response.text)  # our own application's repr of our own expression


def open_chat(server: Server) -> RawClient:
    return RawClient.open(address(server)[1], "/chat")


def echo(peer: RawClient, message: str) -> None:
    peer.send_text(message)
    peer.expect_text(message)


def whose(peer: RawClient) -> int:
    """Return the process that serves this connection."""
    peer.send_text("who")
    return int(peer.read_frame().payload)


def is_closed(peer: RawClient, code: int, reason: str) -> None:
    """The server begins the closing handshake and ends the stream."""
    peer.expect_close(code, reason)
    peer.send(close_frame(code))
    peer.expect_eof()
    peer.close()


def is_refused(server: Server) -> bool:
    try:
        socket.create_connection(address(server)).close()
    except ConnectionRefusedError:
        return True
    return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def crew(server: Server, count: int) -> list[int]:
    """Return the master and its children, once they are so many.

    A worker may serve before the process in between, by way of which it was forked, has left it to the master.
    """
    pids = eventually(lambda: len(found := [server.pid, *children(server.pid)]) >= count and found)
    assert len(pids) == count
    return pids


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and no mere zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def hammering(server: Server) -> Iterator[list[str]]:
    """Have another thread make requests, a connection each, all the while; yields what went wrong with them."""
    problems: list[str] = []
    done = threading.Event()

    def hammer() -> None:
        while not done.is_set():
            try:
                response = fetch(address(server))
                if response.status != 200:
                    problems.append(f"status {response.status}")
            except (OSError, AssertionError) as exc:
                problems.append(repr(exc))

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        yield problems
    finally:
        done.set()
        thread.join()
