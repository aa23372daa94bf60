"""permessage-deflate with other people's clients, and what goes over the wire."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.carriers import CARRIERS
from support.chromium import blank_site, chromium_page
from support.node import folder_with_ws, node_sees
from support.peers import require_module, require_program
from support.server import APPLICATIONS, Server
from support.tls import Authority, https
from support.websocket_client import RawClient, handshake

import uwsgi_ws

if TYPE_CHECKING:
    from playwright.sync_api import Page

Serve = Callable[..., Server]

APPLICATION = APPLICATIONS / "compression.py"
LIMIT = 20
OFFER = ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
MESSAGE = json.dumps([{"user": number, "text": "Grüße, мир"} for number in range(50)])
MESSAGES = ["", "short", MESSAGE, "x" * 200_000, MESSAGE, b"\x00\x01" * 5_000, bytes(range(256)), MESSAGE]

CONCURRENCY = pytest.mark.parametrize(
    "concurrency", [["--gevent", "100"], ["--threads", "10"], []], ids=["greenlets", "threads", "serial"]
)
TAKEOVER = pytest.mark.parametrize("takeover", [[], ["--websockets-deflate-takeover"]], ids=["alone", "takeover"])


@CONCURRENCY
@TAKEOVER
@pytest.mark.parametrize("path", ["/", "/plain", "/all"])
def test_messages_come_back_as_they_were(serve: Serve, concurrency: list[str], takeover: list[str], path: str) -> None:
    client = require_module("websockets.sync.client")
    server = serve(APPLICATION, "--websockets-deflate", *takeover, *concurrency)
    with client.connect(server.ws_url(path), open_timeout=LIMIT) as connection:
        assert [extension.name for extension in connection.protocol.extensions] == ["permessage-deflate"]
        for message in MESSAGES:
            connection.send(message)
        assert [connection.recv(timeout=LIMIT) for _ in MESSAGES] == MESSAGES


TEXTS = [message for message in MESSAGES if isinstance(message, str)]
BROWSE = """
    ([url, messages]) => new Promise((resolve) => {
        const echoes = [], socket = new WebSocket(url);
        socket.onopen = () => messages.forEach(message => socket.send(message));
        socket.onmessage = ({data}) => { echoes.push(data); if (echoes.length == messages.length) socket.close(); };
        socket.onclose = ({code}) => resolve({echoes, code, extensions: socket.extensions});
    })
"""


@pytest.mark.matrix
@CONCURRENCY
@TAKEOVER
def test_node_s_ws_does_as_well(serve: Serve, concurrency: list[str], takeover: list[str], tmp_path: Path) -> None:
    node = require_program("node")
    env = {"WS_FOLDER": str(folder_with_ws(node, tmp_path))}
    server = serve(APPLICATION, "--websockets-deflate", *takeover, *concurrency)
    seen = node_sees([node], server.ws_url(), TEXTS, 1000, "", env)
    assert seen["echoes"] == TEXTS
    assert (seen["code"], seen["clean"]) == (1000, True)
    assert seen["extensions"] == "permessage-deflate"


def browse(page: Page, url: str) -> None:
    """Have a browser talk to a server."""
    seen: dict[str, Any] = page.evaluate(BROWSE, [url, TEXTS])
    assert seen["echoes"] == TEXTS
    assert seen["code"] == 1005
    assert seen["extensions"].startswith("permessage-deflate")


@pytest.mark.matrix
def test_a_browser_does_as_well_over_http1_and_behind_nginx(serve: Serve, tmp_path: Path) -> None:
    options = ["--websockets-deflate", "--websockets-ping-freq", "0.3", "--websockets-pong-tolerance", "10"]

    def start(*more: str) -> Server:
        return serve(APPLICATION, *options, *more)

    with contextlib.ExitStack() as stack:
        urls = []
        for takeover in ([], ["--websockets-deflate-takeover"]):
            urls += [serve(APPLICATION, *options, *takeover, *way).ws_url() for way in (["--threads", "5"], [])]
        for carry in CARRIERS:
            if carry.__name__.startswith("nginx"):
                (folder := tmp_path / carry.__name__).mkdir()
                host, port = stack.enter_context(carry(start, folder)).address
                urls.append(f"ws://{host}:{port}/")
        assert len(urls) == 6
        page = stack.enter_context(chromium_page())
        page.goto(stack.enter_context(blank_site()))
        for url in urls:
            browse(page, url)


@pytest.mark.matrix
@TAKEOVER
def test_a_browser_does_as_well_over_http2(serve: Serve, takeover: list[str], tmp_path: Path) -> None:
    program = https(Authority(tmp_path).issue())
    server = serve(APPLICATION, "--websockets-deflate", *takeover, "--gevent", "10", program=program)
    with chromium_page(ignore_https_errors=True) as page:
        page.goto(f"https://127.0.0.1:{server.port}/")
        browse(page, f"wss://127.0.0.1:{server.port}/")
    server.wait_for_log(r"\(HTTP/2\.0 200\) .* websocket: received")


def test_clients_that_do_not_ask_for_it_are_served_as_ever(serve: Serve) -> None:
    server = serve(APPLICATION, "--websockets-deflate", "--gevent", "10")
    with RawClient.open(server.port) as client:
        client.send_text("x" * 1_000)
        client.expect_text("x" * 1_000)
    off = serve(APPLICATION, "--gevent", "10")
    with RawClient(off.port) as client:
        assert "sec-websocket-extensions" not in client.shake_hands(handshake("/", [OFFER])).headers


def test_many_get_what_was_compressed_once(serve: Serve) -> None:
    client = require_module("websockets.sync.client")
    server = serve(APPLICATION, "--websockets-deflate", "--gevent", "10")
    with client.connect(server.ws_url("/all")) as one, client.connect(server.ws_url("/all"), compression=None) as two:
        two.send("ready")
        assert [each.recv(timeout=LIMIT) for each in (one, two)] == ["ready", "ready"]
        one.send(MESSAGE)
        assert [each.recv(timeout=LIMIT) for each in (one, two)] == [MESSAGE, MESSAGE]


def read_message(client: RawClient) -> tuple[bool, str]:
    """Return whether a message came compressed, and its text."""
    first, length = client.read(2)
    payload = client.read(int.from_bytes(client.read(2), "big") if length == 126 else length)
    is_compressed = bool(first & 0x40)
    return is_compressed, (zlib.decompress(payload + b"\0\0\xff\xff\x03\0", -15) if is_compressed else payload).decode()


@pytest.mark.parametrize("engine", ["pipes", pytest.param("redis", marks=pytest.mark.matrix)])
def test_what_is_published_as_a_secret_is_compressed_in_no_worker(
    serve: Serve, request: pytest.FixtureRequest, engine: str, tmp_path: Path
) -> None:
    address = str(tmp_path / "channels.sock")
    options = ["--channel-socket", address]
    if engine == "redis":
        address = request.getfixturevalue("redis").url
        options = ["--channels", address]
    server = serve(APPLICATION, "--websockets-deflate", "--gevent", "20", "--master", "--processes", "2", *options)
    with contextlib.ExitStack() as stack:
        clients: dict[str, RawClient] = {}
        while len(clients) < 2:
            client = stack.enter_context(RawClient(server.port))
            client.shake_hands(handshake("/channel?latest", [OFFER]))
            clients[read_message(client)[1]] = client
        first, second = clients.values()
        first.send_text(MESSAGE)
        assert [read_message(first) for _ in range(2)] == [(True, MESSAGE), (False, MESSAGE)]
        assert [read_message(second) for _ in range(2)] == [(True, MESSAGE), (False, MESSAGE)]
        uwsgi_ws.publish_to(address, "secrets", MESSAGE, history=10, compress=False)
        uwsgi_ws.publish_to(address, "secrets", MESSAGE.encode(), compress=False)
        for client in clients.values():
            assert [read_message(client) for _ in range(2)] == [(False, MESSAGE)] * 2
        late = stack.enter_context(RawClient(server.port))
        late.shake_hands(handshake("/channel?oldest", [OFFER]))
        came = [read_message(late) for _ in range(4)]
        assert came[:3] == [(True, MESSAGE), (False, MESSAGE), (False, MESSAGE)], "what is kept comes as it was"


@CONCURRENCY
def test_a_bomb_ends_its_own_connection(serve: Serve, concurrency: list[str]) -> None:
    client = require_module("websockets.sync.client")
    exceptions = require_module("websockets.exceptions")
    server = serve(APPLICATION, "--websockets-deflate", "--websockets-max-size", "100", *concurrency)
    with client.connect(server.ws_url()) as connection, client.connect(server.ws_url()) as other:
        connection.send("x" * 20_000_000)
        with pytest.raises(exceptions.ConnectionClosed) as ended:
            connection.recv(timeout=LIMIT)
        assert ended.value.rcvd.code == 1009
        other.send("still here")
        assert other.recv(timeout=LIMIT) == "still here"


@pytest.mark.parametrize("way", ["http1", "tls", "http2", "uwsgi", "nginx_uwsgi_pass", "nginx_proxy_pass"])
def test_what_goes_over_the_wire_is_short(serve: Serve, tmp_path: Path, way: str) -> None:
    (carry,) = (each for each in CARRIERS if each.__name__ == way)

    def start(*options: str) -> Server:
        return serve(APPLICATION, "--websockets-deflate", "--gevent", "10", *options)

    with carry(start, tmp_path) as carrier, carrier.open("/", dict([OFFER])) as client:
        answer = client.response.headers["sec-websocket-extensions"]
        assert answer == "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        client.send_text(MESSAGE)
        first, form = client.read(2)
        assert (first, form) == (0xC1, 126)
        compressed = client.read(int.from_bytes(client.read(2), "big"))
        assert zlib.decompress(compressed + b"\x00\x00\xff\xff\x03\x00", -15).decode() == MESSAGE
        assert len(compressed) < len(MESSAGE) / 5
