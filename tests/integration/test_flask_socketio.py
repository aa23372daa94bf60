"""Flask-SocketIO, unmodified, with python-socketio's client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.http_client import fetch
from support.peers import require_module
from support.server import APPLICATIONS, ROOT, Server
from support.socketio_client import connected, hear, refuses, serves_pages_beside, serves_socketio
from support.tls import Authority, https

pytestmark = pytest.mark.libraries

APPLICATION = APPLICATIONS / "flask_socketio_events.py"

Serve = Callable[..., Server]


@pytest.fixture(autouse=True)
def library() -> None:
    for name in ("flask_socketio", "requests", "websocket"):
        require_module(name)


@pytest.mark.parametrize("mode", ["", "gevent_uwsgi"])
def test_flask_socketio_has_all_it_needs(serve: Serve, mode: str) -> None:
    server = serve(APPLICATION, "--callable", "app", env={"ASYNC_MODE": mode})
    for transports in (["websocket"], ["polling"], None):
        serves_socketio(server.url(), transports, "gevent_uwsgi")
    refuses(server.url())
    serves_pages_beside(server)
    server.wait_for_log("gone: server disconnect")


def test_views_emit_to_clients_and_events_have_sessions(serve: Serve) -> None:
    server = serve(
        None, "--module", "flask_socketio_events:app", "--master", cwd=APPLICATIONS, env={"PYTHONPATH": str(ROOT)}
    )
    with connected(server.url(), auth="ann") as client:
        assert client.call("join", "room", timeout=10) == "ann"
        assert fetch(("127.0.0.1", server.port), "/say/hi").text == "said"
        assert hear(client, "said") == "hi"


def test_flask_socketio_is_served_over_tls(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = serve(APPLICATION, "--callable", "app", program=https(authority.issue()))
    serves_socketio(f"https://127.0.0.1:{server.port}", None, "gevent_uwsgi", str(authority.path))


@pytest.mark.parametrize(("mode", "option"), [("gevent", "--gevent"), ("threading", "--threads")])
def test_flask_socketio_has_its_other_modes(serve: Serve, mode: str, option: str) -> None:
    server = serve(APPLICATION, "--callable", "app", option, "50", env={"ASYNC_MODE": mode})
    for transports in (["websocket"], ["polling"], None):
        serves_socketio(server.url(), transports, mode)
