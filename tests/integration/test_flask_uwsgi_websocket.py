"""flask-uwsgi-websocket and its descendants, unmodified."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.http_client import fetch
from support.peers import missing, require_module
from support.server import APPLICATIONS, Server
from support.tls import Authority, https

pytestmark = pytest.mark.libraries

APPLICATION = APPLICATIONS / "flask_uwsgi_websocket_views.py"

Serve = Callable[..., Server]


def environment(library: str, kind: str) -> dict[str, str]:
    if find_spec(library) is None:  # not imported here: it has gevent patch the process
        missing(f"no module {library}")
    return {"LIBRARY": library, "KIND": kind}


@contextmanager
def open_client(url: str, **settings: Any) -> Iterator[Any]:
    client = require_module("websocket").create_connection(url, timeout=10, **settings)
    try:
        yield client
        client.close()
    finally:
        client.shutdown()


def echoes(url: str, **settings: Any) -> None:
    with open_client(url, **settings) as client:
        for number in range(20):
            client.send(str(number))
        assert [client.recv() for _ in range(20)] == [str(number) for number in range(20)]
        client.send("x" * 100_000)
        assert client.recv() == "x" * 100_000


@pytest.mark.parametrize("options", [("--gevent", "100"), ("--threads", "10"), ()])
@pytest.mark.parametrize(
    ("library", "kind"),
    [
        ("flask_uwsgi_websocket", "WebSocket"),
        ("flask_uwsgi_websocket", "GeventWebSocket"),
        ("flask_uwsgi_ws", "GeventWebSocket"),
        ("flask_gws", "WebSocket"),
    ],
)
def test_views_of_flask_may_be_websockets(serve: Serve, library: str, kind: str, options: tuple[str, ...]) -> None:
    server = serve(APPLICATION, *options, env=environment(library, kind), concurrency=())
    for path in ("/", "/echo"):
        assert fetch(("127.0.0.1", server.port), path).text == "a page"
    echoes(server.ws_url("/echo"))
    with open_client(server.ws_url("/once")) as once:
        once.send("hello")
        assert (once.recv(), once.recv_data()) == ("hello", (8, b"\x03\xe8"))
    if (library, kind) == ("flask_uwsgi_websocket", "WebSocket"):
        return  # its `send` is to the client of the request that sends, whichever client it is called on
    with open_client(server.ws_url("/room/a")) as ann, open_client(server.ws_url("/room/b")) as bob:
        ann.send("hi")
        assert ann.recv() == "a: hi"
        bob.send("ho")
        assert ann.recv() == "b: ho"
        while bob.recv() != "b: ho":
            pass  # it may have entered before the other one spoke


def test_they_are_served_over_tls(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = serve(
        APPLICATION,
        env=environment("flask_uwsgi_websocket", "GeventWebSocket"),
        program=https(authority.issue()),
    )
    url = f"wss://127.0.0.1:{server.port}/echo"
    echoes(url, sslopt={"ca_certs": str(authority.path), "cert_reqs": ssl.CERT_REQUIRED})
