"""WebSockets in the views of frameworks, which answer whatever their view returns, behind an opening handshake too."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from support.eventually import eventually
from support.http_client import HttpClient
from support.peers import require_module
from support.server import APPLICATIONS, Server
from support.websocket_client import TEXT, RawClient, close_frame

PLAIN = APPLICATIONS / "plain.py"

VIEWS = ("--pythonpath", str(APPLICATIONS))  # where the applications find their views.py

OTHERS = [pytest.param(name, marks=pytest.mark.libraries) for name in ("bottle", "falcon", "pyramid")]

Serve = Callable[..., Server]


def ends_with(server: Server, path: str, code: int, *, closes: bool = False) -> None:
    """The message comes back, then a close frame with ``code`` and nothing else."""
    with RawClient.open(server.port, path) as client:
        client.send_text("hello")
        client.expect(TEXT, b"hello")
        if closes:
            client.send(close_frame(code))
        client.expect_close(code)
        if not closes:
            client.send(close_frame(code))
        client.expect_eof()


@pytest.mark.parametrize("threads", ["--gevent", "--threads"])
@pytest.mark.parametrize("api", ["uwsgi", "typed"])
def test_a_head_and_a_body_behind_a_handshake_are_dropped_quietly(serve: Serve, threads: str, api: str) -> None:
    server = serve(PLAIN, *VIEWS, threads, "10")
    for path in ("/plain", "/before", "/odd"):
        ends_with(server, f"{path}?{api}", 1000)
    ends_with(server, f"/lazy?{api}", 1000, closes=True)
    ends_with(server, f"/fails?{api}", 1011)
    eventually(lambda: server.log.count("/fails") == 1)
    assert "ERROR" not in server.log
    assert "headers already sent" not in server.log


def test_an_exception_that_start_response_is_told_of_is_raised(serve: Serve) -> None:
    server = serve(PLAIN, *VIEWS, allow_traceback=True)
    ends_with(server, "/exc_info?uwsgi", 1011)
    server.wait_for_log("RuntimeError: on purpose")


@pytest.mark.parametrize("framework", ["flask", "django", *OTHERS])
@pytest.mark.parametrize("api", ["uwsgi", "typed"])
def test_views_of_frameworks_may_be_websockets(serve: Serve, framework: str, api: str) -> None:
    require_module(framework)
    server = serve(APPLICATIONS / f"{framework}_views.py", *VIEWS, allow_traceback=True)
    for path in ("empty", "text", "stream"):
        ends_with(server, f"/{path}?{api}", 1000)
    assert "Traceback" not in server.log
    ends_with(server, f"/fails?{api}", 1011)
    assert "headers already sent" not in server.log


@pytest.mark.parametrize(
    "options", [("--gevent", "50"), ("--threads", "10"), (), ("--gevent", "9", "--processes", "4")]
)
@pytest.mark.parametrize("framework", OTHERS)
def test_frameworks_serve_pages(serve: Serve, framework: str, options: tuple[str, ...]) -> None:
    require_module(framework)
    server = serve(APPLICATIONS / f"{framework}_views.py", *VIEWS, *options, concurrency=())
    with HttpClient(server.addresses[0]) as client:
        for method, body in (("GET", b""), ("POST", b"h" * 100_000), ("POST", b"")):
            answer = client.request(method, "/page", body=body)
            assert json.loads(answer.body) == {"method": method, "body": body.decode()}
            assert answer.get("Set-Cookie") == "seen=yes" or "seen=yes" in answer.get("Set-Cookie")
        assert client.request("GET", "/no/such/page").status == 404
