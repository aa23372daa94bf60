"""A worker that serves has imported all that requests need: an import in the midst of one needs free descriptors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.carriers import CARRIERS, Carrier
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.server import APPLICATIONS, Server
from support.websocket_client import BINARY, CLOSE, TEXT, close_frame, frame

pytestmark = pytest.mark.matrix

APPLICATION = APPLICATIONS / "lazy_imports.py"
NAMES = {"http1", "http1_unix", "tls", "http2", "uwsgi", "routed_by_uwsgi", "routed_by_http"}
OPTIONS = (
    *("--static-map", "/static={folder}/static", "--websockets-messages-per-second", "1000"),
    *("--route", "^/redirect redirect:/elsewhere", "--route", "^/secret basicauth:realm,user:password"),
    *("--route", "^/nowhere http:127.0.0.1:1", "--route", "^/told send:told"),
    *("--route", "^/file-of static:{folder}/app.py"),
    *("--route", "^/mime addvar:KIND=${{mime[PATH_INFO]}}"),
    *("--route-if", "isfile:{folder}/app.py addheader:X-Is: a file"),
    *("--response-route", "^/body addheader:X-At: ${{time[unix]}} ${{httptime[0]}}"),
)  # fmt: skip


@contextlib.contextmanager
def carrying(carry: Any, folder: Path, options: tuple[str, ...], many: bool) -> Iterator[tuple[Carrier, list[Server]]]:
    (folder / "static").mkdir()
    (folder / "static" / "a.txt").write_text("text")
    (folder / "app.py").write_text(APPLICATION.read_text())
    routes = [each.format(folder=folder) for each in OPTIONS]
    with contextlib.ExitStack() as stack:
        servers: list[Server] = []

        def start(*more: str) -> Server:
            # A route to everywhere comes first: what is passed on is routed there.
            server = stack.enter_context(Server(folder / "app.py", *more, *routes, *options))
            servers.append(server)
            if many:
                eventually(lambda: server.log.count("spawned uwsgi_ws worker") >= 2, 20)
            return server

        yield stack.enter_context(carry(start, folder)), servers


def every_kind(carrier: Carrier) -> None:
    """Make one request of each kind."""
    for method, path in (
        *(("GET", path) for path in ("/body", "/fail", "/gone", "/missing", "/static/a.txt", "/static/none", "/told")),
        *(("GET", path) for path in ("/redirect", "/secret", "/nowhere", "/file-of", "/mime/a.png", "/refused")),
        *(("OPTIONS", "/body"), ("POST", "/body")),
    ):
        with contextlib.suppress(AssertionError, KeyError, OSError):  # what comes is another test's concern
            carrier.fetch(method, path, b"body" if method == "POST" else b"")
    for path in ("/chunks", "/file", "/write"):
        with contextlib.suppress(AssertionError, KeyError, OSError):
            carrier.fetch("GET", path)
    with contextlib.suppress(AssertionError, KeyError, OSError):
        carrier.fetch("POST", "/body", b"in chunks", chunked=True)
    ends = [close_frame(1000), frame(TEXT, b"\xff"), b"\xff" * 9]
    for path, more in (("/typed", [frame(TEXT, b"close"), frame(TEXT, b"fail")]), ("/uwsgi", [])):
        for end in ends + more:
            client = carrier.open(path, {"Origin": "https://example.org", "Sec-WebSocket-Protocol": "chat, other"})
            client.send(frame(TEXT, b"text") + frame(BINARY, b"\0" * 70_000) + end)
            with contextlib.suppress(AssertionError, OSError):
                while client.read_frame().opcode != CLOSE:
                    pass
            client.close()
    with contextlib.suppress(AssertionError, OSError):
        carrier.open("/typed", {"Origin": "https://evil.example"}).close()


def imported(servers: list[Server]) -> list[str]:
    return [line for server in servers for line in re.findall(r"^IMPORTED .*$", server.log, re.MULTILINE)]


MODES = {"gevent": ("--gevent", "50"), "threads": ("--threads", "20"), "workers": ("-p", "2"), "lazy": ("-M", "--lazy")}
WAYS = [
    pytest.param(carry, mode, id=f"{carry.__name__}-{mode}")
    for carry in CARRIERS
    for mode in MODES
    if carry.__name__ in NAMES
]


@pytest.mark.parametrize(("carry", "mode"), WAYS)
def test_no_request_imports_a_module(carry: Any, mode: str, tmp_path: Path) -> None:
    with carrying(carry, tmp_path, MODES[mode], mode == "workers") as (carrier, servers):
        every_kind(carrier)
        for request in (
            b"no request\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"BREW / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ):
            with HttpClient(servers[0].addresses[0]) as client:
                client.send(request)
                client.read_to_end()
        assert fetch(servers[0].addresses[0], "/static/a.txt", method="HEAD").status == 200
        # A line follows its request's end, so the client may be faster.
        eventually(lambda: "GET /typed" in "".join(server.log for server in servers))
        assert imported(servers) == []


@pytest.mark.parametrize("mode", ["gevent", "threads"])
def test_requests_need_no_free_descriptors_but_their_connections(mode: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION.read_text())
    with Server(tmp_path / "app.py", *MODES[mode]) as server:
        address = server.addresses[0]
        server.wait_for_log("spawned uwsgi_ws worker")
        clients = [HttpClient(address) for _ in range(6)]
        for client in clients:
            assert client.request("POST", "/body", body=b"here").text == "here"
        assert clients[0].request("GET", "/hold").status == 200
        try:
            assert clients[1].request("GET", "/fail").status == 500
            assert clients[2].request("GET", "/refused").status == 426
            for client, path in zip(clients[3:5], ("/typed", "/uwsgi"), strict=True):
                handshake = f"GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                client.send((handshake + key).encode())
                assert client.read_head().status == 101
                client.send(frame(TEXT, b"no echo") + frame(TEXT, b"echo"))
                data = b""
                while b"echo" not in data:
                    data += client.read_some()
            assert clients[2].is_silent(1.5)  # a beat or two of the worker's heart
            client = clients[5]
            client.send(b"no request\r\n\r\n")
            assert client.read_response().status == 400
        finally:
            assert clients[0].request("GET", "/free").status == 200
        assert fetch(address, "/body").status == 200
        assert imported([server]) == []
        assert "Too many open files" not in server.log  # the heartbeat goes on, too
        for client in clients:
            client.close()


def test_the_reader_of_imports_sees_them(serve: Callable[..., Server], tmp_path: Path) -> None:
    source = APPLICATION.read_text().replace('raise ValueError("fails")', "import this_is_nowhere", 1)
    server = serve(source, allow_traceback=True)
    fetch(server.addresses[0], "/fail")
    server.wait_for_log("IMPORTED this_is_nowhere by .*app.py")
