"""The echo application that the project began with, verbatim, spoken to by other people's clients."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.chromium import blank_site, chromium_page
from support.node import folder_with_ws, node_sees
from support.peers import require_module, require_program
from support.server import EXAMPLES, Server

SEED = """\
import uwsgi

def application(environ, start_response):
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())
"""

# Lengths on both sides of the frame header's three forms (RFC 6455 5.2): 7 bits, 16 bits, 64 bits.
MESSAGES = [
    "Hello, WebSocket",
    "",
    "Grüße, мир, 世界, 🙂",
    "NUL \x00, tab \t, newline \n, quotes \"'",
    "x" * 125,
    "x" * 126,
    "é" * 32_767 + "x",  # 65,535 bytes
    "é" * 32_768,
    "x" * (64 * 1024 + 1),
]

LIMIT = 20  # seconds for one step of a client


@dataclass
class Conversation:
    """What a client saw: the echoes, and the closing handshake that it had begun."""

    echoes: list[str | bytes]
    code: int | None
    reason: str
    clean: bool  # the server's close frame came, and the end of the stream after it


def websockets_sync(url: str, messages: list[str], code: int, reason: str, tmp_path: Path) -> Conversation:
    client = require_module("websockets.sync.client")
    with client.connect(url, open_timeout=LIMIT, close_timeout=LIMIT) as connection:
        echoes = []
        for message in messages:
            connection.send(message)
            echoes.append(connection.recv(timeout=LIMIT))
        connection.close(code, reason)
        return websockets_closing(connection, echoes)


def websockets_asyncio(url: str, messages: list[str], code: int, reason: str, tmp_path: Path) -> Conversation:
    client = require_module("websockets.asyncio.client")

    async def converse() -> Conversation:
        async with client.connect(url, open_timeout=LIMIT, close_timeout=LIMIT) as connection:
            echoes = []
            for message in messages:
                await connection.send(message)
                echoes.append(await asyncio.wait_for(connection.recv(), LIMIT))
            await connection.close(code, reason)
            return websockets_closing(connection, echoes)

    return asyncio.run(converse())


def websockets_closing(connection: Any, echoes: list[str | bytes]) -> Conversation:
    received = connection.protocol.close_rcvd
    if received is None:
        return Conversation(echoes, None, "", clean=False)
    return Conversation(echoes, received.code, received.reason, clean=not connection.protocol.close_rcvd_then_sent)


def websocket_client(url: str, messages: list[str], code: int, reason: str, tmp_path: Path) -> Conversation:
    websocket = require_module("websocket")
    connection = websocket.create_connection(url, timeout=LIMIT)
    try:
        echoes = []
        for message in messages:
            connection.send(message)
            echoes.append(connection.recv())
        connection.send_close(code, reason.encode())
        _, frame = connection.recv_data_frame(control_frame=True)
        assert frame.opcode == websocket.ABNF.OPCODE_CLOSE
        at_end = connection.sock.recv(1) == b""
    finally:
        connection.shutdown()
    sent_code = int.from_bytes(frame.data[:2], "big") if frame.data else None
    return Conversation(echoes, sent_code, frame.data[2:].decode(), at_end)


def node_built_in(url: str, messages: list[str], code: int, reason: str, tmp_path: Path) -> Conversation:
    node = require_program("node")
    for switches in ((), ("--experimental-websocket",)):  # Node 22 has it, 20.10 when asked
        probe = subprocess.run(
            [node, *switches, "-p", "typeof WebSocket"], capture_output=True, text=True, timeout=LIMIT
        )
        if probe.stdout.strip() == "function":
            return node_conversation([node, *switches], url, messages, code, reason, {})
    pytest.skip(f"{node} has no WebSocket client of its own")  # the package ws covers Node there


def node_ws(url: str, messages: list[str], code: int, reason: str, tmp_path: Path) -> Conversation:
    node = require_program("node")
    folder = folder_with_ws(node, tmp_path)
    return node_conversation([node], url, messages, code, reason, {"WS_FOLDER": str(folder)})


def node_conversation(
    command: list[str], url: str, messages: list[str], code: int, reason: str, env: dict[str, str]
) -> Conversation:
    seen = node_sees(command, url, messages, code, reason, env)
    del seen["extensions"]
    return Conversation(**seen)


def chromium(url: str, messages: list[str], code: int, reason: str, tmp_path: Path) -> Conversation:
    script = """
        ([url, messages, code, reason]) => new Promise((resolve) => {
            const echoes = [];
            const socket = new WebSocket(url);
            const next = () => {
                if (echoes.length < messages.length) socket.send(messages[echoes.length]);
                else socket.close(code, reason);
            };
            socket.onopen = next;
            socket.onmessage = ({data}) => { echoes.push(data); next(); };
            socket.onclose = ({code, reason, wasClean}) => resolve({echoes, code, reason, clean: wasClean});
        })
    """
    with blank_site() as address, chromium_page() as page:
        page.goto(address)
        return Conversation(**page.evaluate(script, [url, messages, code, reason]))


Client = Callable[[str, list[str], int, str, Path], Conversation]
every_client = pytest.mark.parametrize(
    "client",
    [websockets_sync, websockets_asyncio, websocket_client, node_built_in, node_ws, chromium],
    ids=lambda client: client.__name__,
)


def test_the_example_is_the_application_verbatim() -> None:
    _command, *rest = (EXAMPLES / "seed.py").read_text(encoding="utf-8").splitlines()
    assert [line for line in rest if line] == [line for line in SEED.splitlines() if line]


@every_client
def test_each_message_comes_back_as_it_was_sent(echo_server: Server, client: Client, tmp_path: Path) -> None:
    seen = client(echo_server.ws_url(), MESSAGES, 1000, "", tmp_path)
    assert seen.echoes == MESSAGES


@every_client
@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1000, "done"), (3001, ""), (4999, "très bien")])
def test_the_server_completes_a_closing_handshake_with_the_code_it_was_given(
    echo_server: Server, client: Client, code: int, reason: str, tmp_path: Path
) -> None:
    """RFC 6455 5.5.1: an endpoint that answers a close frame typically echoes the status code it received."""
    seen = client(echo_server.ws_url(), ["one message"], code, reason, tmp_path)
    assert seen.echoes == ["one message"]
    assert (seen.code, seen.clean) == (code, True)


def test_messages_sent_without_waiting_come_back_in_order(echo_server: Server) -> None:
    client = require_module("websockets.sync.client")
    messages = [f"message {number}" for number in range(1000)]
    with client.connect(echo_server.ws_url()) as connection:
        for message in messages:
            connection.send(message)
        assert [connection.recv(timeout=LIMIT) for _ in messages] == messages


def test_a_message_sent_in_fragments_comes_back_whole(echo_server: Server) -> None:
    """RFC 6455 5.4, with a fragment border inside a character, and an empty last fragment."""
    client = require_module("websockets.sync.client")
    with client.connect(echo_server.ws_url()) as connection:
        connection.send([b"Gr\xc3", b"\xbc\xc3\x9f", b"e", b""], text=True)
        assert connection.recv(timeout=LIMIT) == "Grüße"


def test_binary_comes_back_as_text_because_websocket_recv_keeps_no_type(echo_server: Server) -> None:
    client = require_module("websockets.sync.client")
    with client.connect(echo_server.ws_url()) as connection:
        connection.send(b"bytes")
        assert connection.recv(timeout=LIMIT) == "bytes"


def test_a_ping_is_answered_with_its_payload(echo_server: Server) -> None:
    """RFC 6455 5.5.3. The client resolves a ping only by a pong of the same payload."""
    client = require_module("websockets.sync.client")
    with client.connect(echo_server.ws_url(), ping_interval=None) as connection:
        assert connection.ping(b"are you there?").wait(LIMIT)


def test_a_hundred_clients_talk_at_once(echo_server: Server) -> None:
    """Each loop of the application is synchronous: this works only if each parks nobody but itself."""
    client = require_module("websockets.asyncio.client")

    async def converse(connection: Any, name: int) -> list[str]:
        for number in range(10):
            await connection.send(f"client {name}, message {number}")
        return [await connection.recv() for _ in range(10)]

    async def everybody() -> list[list[str]]:
        async with contextlib.AsyncExitStack() as stack:
            opening = [client.connect(echo_server.ws_url(), open_timeout=LIMIT) for _ in range(100)]
            connections = [await stack.enter_async_context(each) for each in opening]
            talks = (converse(connection, name) for name, connection in enumerate(connections))
            return await asyncio.wait_for(asyncio.gather(*talks), LIMIT)

    assert asyncio.run(everybody()) == [
        [f"client {name}, message {number}" for number in range(10)] for name in range(100)
    ]


def test_the_typed_example_keeps_text_and_binary_apart(serve: Callable[..., Server]) -> None:
    client = require_module("websockets.sync.client")
    server = serve(EXAMPLES / "typed.py")
    with client.connect(server.ws_url(), subprotocols=["chat.v1", "chat.v2"]) as connection:
        assert connection.subprotocol == "chat.v2"
        for message in ["text", b"\x00\xff", "", b""]:
            connection.send(message)
            assert connection.recv(timeout=LIMIT) == message
        connection.close(4000, "enough")
        assert connection.close_code == 4000
