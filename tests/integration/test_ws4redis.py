"""django-websocket-redis, unmodified: one loop waits for the client's descriptor and for Redis's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import fetch
from support.peers import missing, require_module
from support.redis_server import redis_server
from support.server import APPLICATIONS, Server

pytestmark = pytest.mark.libraries

APPLICATION = APPLICATIONS / "ws4redis_views.py"
ROOM = "/ws/room?subscribe-broadcast&publish-broadcast&echo"

Serve = Callable[..., Server]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    if find_spec("ws4redis") is None:
        missing("no module ws4redis")
    with redis_server(tmp_path) as path:
        yield path


def reaches_all(clients: Sequence[Any], speak: Callable[[str], object], what: str) -> None:
    """What is said reaches each client.

    It is said until then: the library takes one message from Redis for each time that Redis's socket is readable, so
    the last one may stay in its buffer until there is another one.
    """
    for client in clients:

        def has_heard(client: Any = client) -> bool:
            speak(what)
            with suppress(TimeoutError):
                return bool(client.recv(timeout=0.2) == what)
            return False

        eventually(has_heard)


@pytest.mark.parametrize(
    "options", [("--gevent", "100"), ("--threads", "10"), (), ("--gevent", "9", "--processes", "4")]
)
def test_clients_and_views_reach_all_clients(serve: Serve, redis: str, options: tuple[str, ...]) -> None:
    connect = require_module("websockets.sync.client").connect
    server = serve(APPLICATION, *options, env={"REDIS": redis}, concurrency=())
    with connect(server.ws_url(ROOM)) as ann, connect(server.ws_url(ROOM)) as bob:
        clients = (ann, bob)
        reaches_all(clients, ann.send, "hello")
        reaches_all(clients, lambda what: fetch(("127.0.0.1", server.port), f"/say/{what}"), "news")
        reaches_all(clients, bob.send, "bye")
