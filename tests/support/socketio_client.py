"""Socket.IO's own client for Python, and what every server of Socket.IO has to do for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Queue
from typing import Any

from support.http_client import fetch
from support.peers import require_module
from support.server import Server

DEADLINE = 10

# In the mode for uWSGI the library takes what begins with a byte past 47 for text: it cannot know the opcode.
BINARY = bytes(range(256)) * 300


@contextmanager
def connected(
    url: str, transports: Sequence[str] | None = None, ca: str | None = None, **settings: Any
) -> Iterator[Any]:
    """Connect, and keep what the server sends by itself in queues: ``client.heard["welcome"].get(timeout=...)``."""
    session = require_module("requests").Session()
    session.verify, session.trust_env = ca or True, False
    client: Any = require_module("socketio").Client(reconnection=False, handle_sigint=False, http_session=session)
    client.heard = {}
    for event in ("welcome", "number", "said", "disconnect"):
        client.heard[event] = Queue()
        client.on(event, client.heard[event].put)
    client.on("ask", lambda data: {"answer": data})
    try:
        client.connect(url, transports=transports, wait_timeout=DEADLINE, **settings)
        yield client
    finally:
        client.disconnect()
        session.close()


def hear(client: Any, event: str) -> Any:
    """Return what the server has sent, or sends, next of this kind."""
    return client.heard[event].get(timeout=DEADLINE)


def serves_socketio(url: str, transports: Sequence[str] | None, mode: str, ca: str | None = None) -> None:
    """All that the library can do, done once."""
    with connected(url, transports, ca, auth={"name": "a"}) as client:
        assert hear(client, "welcome") == [mode, {"name": "a"}]
        assert client.transport() == (transports or ["websocket"])[0]
        for data in ("h\u00e9llo", {"b": BINARY, "n": [1, None]}, "x" * 200_000, [], ""):
            assert client.call("echo", data, timeout=DEADLINE) == data
        assert client.call("ask_me", 7, timeout=DEADLINE) == ["you said", {"answer": 7}]
        client.emit("count", 12)  # a client takes 16 at once from a poll, no more
        assert [hear(client, "number") for _ in range(12)] == list(range(12))
        with connected(url, transports, ca) as other:
            for each in (client, other):
                each.call("join", "room", timeout=DEADLINE)
            client.emit("say", ("room", "hi"))
            assert [hear(each, "said") for each in (client, other)] == ["hi", "hi"]
        client.emit("drop")
        hear(client, "disconnect")


def refuses(url: str) -> None:
    """A client that the application does not want is told why."""
    errors: Queue[Any] = Queue()
    library = require_module("socketio")
    client = library.Client(reconnection=False, handle_sigint=False)
    client.on("connect_error", errors.put)
    try:
        client.connect(url, auth="wrong", wait_timeout=DEADLINE)
    except library.exceptions.ConnectionError:
        assert errors.get(timeout=DEADLINE)["message"] == "not you"
    else:
        raise AssertionError("it was let in")


def serves_pages_beside(server: Server) -> None:
    assert fetch(("127.0.0.1", server.port), "/").text == "a page"
