"""python-socketio and python-engineio, unmodified, with their own client."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from queue import Queue

import pytest
from support.eventually import eventually
from support.gunicorn import gunicorn_program
from support.peers import require_module
from support.redis_server import redis_server
from support.server import APPLICATIONS, Server
from support.socketio_client import connected, refuses, serves_pages_beside, serves_socketio
from support.tls import Authority, https

pytestmark = pytest.mark.libraries

APPLICATION = APPLICATIONS / "socketio_events.py"
ENGINEIO = """
import engineio

server = engineio.Server()
server.on("message", server.send)
application = engineio.WSGIApp(server)
"""
TRANSPORTS = (["websocket"], ["polling"], None)

Serve = Callable[..., Server]


@pytest.fixture(autouse=True)
def library() -> None:
    for name in ("socketio", "engineio", "requests", "websocket"):
        require_module(name)


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (("--gevent", "100"), {"ASYNC_MODE": "gevent_uwsgi"}),
        (("--gevent", "100"), {"ASYNC_MODE": "gevent_uwsgi", "WITHOUT_REQUEST_CONTEXT": "1"}),
        (("--gevent", "100"), {"ASYNC_MODE": ""}),
    ],
)
def test_socketio_has_all_it_needs(serve: Serve, options: tuple[str, ...], environment: dict[str, str]) -> None:
    server = serve(APPLICATION, *options, env=environment)
    for transports in TRANSPORTS:
        serves_socketio(server.url(), transports, environment["ASYNC_MODE"] or "gevent_uwsgi")
    refuses(server.url())
    serves_pages_beside(server)
    server.wait_for_log("gone: server disconnect")
    assert "Traceback" not in server.log


def test_socketio_is_served_over_tls(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = serve(APPLICATION, program=https(authority.issue()))
    for transports in TRANSPORTS:
        serves_socketio(f"https://127.0.0.1:{server.port}", transports, "gevent_uwsgi", str(authority.path))


@pytest.mark.parametrize("mode", ["", "gevent"])
def test_socketio_is_served_under_gunicorn(serve: Serve, mode: str) -> None:
    server = serve(APPLICATION, program=gunicorn_program(), env={"ASYNC_MODE": mode})
    for transports in TRANSPORTS:
        serves_socketio(server.url(), transports, mode or "gevent_uwsgi")
    serves_pages_beside(server)


@pytest.mark.parametrize(
    ("mode", "option"), [("gevent", "--gevent"), ("threading", "--threads"), ("threading", "--gevent")]
)
def test_socketio_has_its_other_modes(serve: Serve, mode: str, option: str) -> None:
    server = serve(APPLICATION, option, "50", env={"ASYNC_MODE": mode})
    for transports in TRANSPORTS:
        serves_socketio(server.url(), transports, mode)
    serves_pages_beside(server)
    eventually(lambda: server.log.count("gone: transport close") + server.log.count("gone: client disconnect") >= 3)
    assert "Traceback" not in server.log


def test_websockets_need_neither_greenlets_nor_threads_of_the_options(serve: Serve) -> None:
    """A client that polls would have the worker to itself."""
    server = serve(APPLICATION, env={"ASYNC_MODE": "threading"}, concurrency=())
    serves_socketio(server.url(), ["websocket"], "threading")


def test_rooms_reach_all_workers_by_redis(serve_many: Serve, tmp_path: Path) -> None:
    """A WebSocket stays with its worker; of polling each request might come to another one.

    The manager makes itself a name when it is imported, and ignores messages that are from that name: with one import
    for all workers, as uWSGI's default is, none would hear another.
    """
    with redis_server(tmp_path) as path, ExitStack() as stack:
        server = serve_many(APPLICATION, "--reuse-port", "--lazy-apps", processes=4, env={"QUEUE": f"unix://{path}"})
        clients = [stack.enter_context(connected(server.url(), ["websocket"])) for _ in range(8)]
        assert len({client.call("join", "room", timeout=10) for client in clients}) > 1

        def all_hear() -> bool:
            clients[0].call("say", ("room", "to all"), timeout=10)
            return all(client.heard["said"].qsize() for client in clients)

        eventually(all_hear)  # a worker listens to Redis a moment after its first client has come


def test_engineio_is_served_without_socketio(serve: Serve) -> None:
    server = serve(ENGINEIO)
    for transports in TRANSPORTS:
        heard: Queue[object] = Queue()
        client = require_module("engineio").Client(handle_sigint=False)
        client.on("message", heard.put)
        client.connect(server.url(), transports=transports)
        for message in ("h\u00e9llo", b"\x00\xff", ""):
            client.send(message)
            assert heard.get(timeout=10) == message
        client.disconnect()
