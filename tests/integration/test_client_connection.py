"""The client's end of a WebSocket: against the server, and against peers that do it wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.server import Server
from support.websocket_client import RawClient, close_frame, frame

from uwsgi_ws.client.connection import ClientConnection, HandshakeRefused, Target, connect
from uwsgi_ws.errors import ConnectionClosed, MessageTooBig
from uwsgi_ws.protocol.websocket.handshake import accept_value

Peer = Callable[[RawClient, dict[str, str]], object]


@contextmanager
def serving(peer: Peer) -> Iterator[str]:
    """Have a thread take one client, read the head of its request and do as ``peer`` says; yield its URL."""
    failures: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def work() -> None:
            try:
                with RawClient(listening.accept()[0]) as client:
                    client.sock.settimeout(10)
                    head = client.read(1)
                    while not head.endswith(b"\r\n\r\n"):
                        head += client.read(1)
                    lines = head.decode().split("\r\n")
                    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
                    peer(client, {"": lines[0], **headers})
            except BaseException as exc:
                failures.append(exc)

        thread = threading.Thread(target=work)
        thread.start()
        yield f"ws://127.0.0.1:{listening.getsockname()[1]}/"
        thread.join(10)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def accepting(then: Callable[[RawClient], object], *more: str) -> Peer:
    """Return a peer that accepts the handshake."""

    def peer(client: RawClient, headers: dict[str, str]) -> None:
        accept = f"Sec-WebSocket-Accept: {accept_value(headers['sec-websocket-key'])}"
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", accept, *more, "", ""]
        client.send("\r\n".join(lines).encode())
        then(client)

    return peer


def answering(text: str) -> Peer:
    """Return a peer that answers so."""
    return lambda client, headers: client.send(text.replace("\n", "\r\n").encode())


def plain(opcode: int, payload: bytes = b"", **bits: Any) -> bytes:
    """Return a server's frame."""
    return frame(opcode, payload, key=None, **bits)


@pytest.mark.parametrize(
    ("url", "address", "host", "resource"),
    [
        ("ws://a/", ("a", 80), "a", "/"),
        ("wss://a", ("a", 443), "a", "/"),
        ("http://a:8080/x?y=1", ("a", 8080), "a:8080", "/x?y=1"),
        ("ws://[::1]:80/ä b?ü", ("::1", 80), "[::1]:80", "/%C3%A4%20b?%C3%BC"),
        ("unix:/run/a.sock:/ws?x", "/run/a.sock", "localhost", "/ws?x"),
        ("ws://unix:/run/a.sock", "/run/a.sock", "localhost", "/"),
    ],
)
def test_urls(url: str, address: object, host: str, resource: str) -> None:
    target = Target.of(url)
    assert (target.address, target.host, target.resource) == (address, host, resource)
    assert target.is_secure is url.startswith("wss")


@pytest.mark.parametrize("url", ["ftp://a/", "localhost:80", "ws:///x", ""])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match="not the URL of a WebSocket, such as"):
        connect(url)


def test_a_unix_socket(serve: Callable[..., Server], tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    source = """
import uwsgi
def application(environ, start_response):
    uwsgi.websocket_handshake()
    uwsgi.websocket_send(environ["PATH_INFO"])
    return []
"""
    serve(source, "--http-socket", str(path))
    with connect(f"unix:{path}:/ws") as ws:
        assert ws.recv() == "/ws"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("HTTP/1.1 404 Not Found\nContent-Length: 5\n\nnadaX", "refused with 404 Not Found: nadaX"),
        ("HTTP/1.1 503 Busy\nTransfer-Encoding: chunked\n\n3\nabc\n2\nde\n0\n\n", "503 Busy: abcde"),
        ("HTTP/1.1 101 Go\n\n", "Sec-WebSocket-Accept does not belong to our key"),
        ("nonsense\n\n", "ended the opening handshake without an answer"),
        ("", "ended the opening handshake without an answer"),
    ],
)
def test_handshakes_that_fail(answer: str, error: str) -> None:
    with serving(answering(answer)) as url, pytest.raises((HandshakeRefused, OSError), match=error):
        connect(url)


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ("Sec-WebSocket-Protocol: other", "chose the subprotocol 'other', which was not asked for"),
        ("Sec-WebSocket-Extensions: permessage-deflate", "no extension was asked for"),
    ],
)
def test_what_was_not_asked_for(header: str, error: str) -> None:
    with serving(accepting(lambda client: None, header)) as url, pytest.raises(HandshakeRefused, match=error):
        connect(url, subprotocols=["chat"])


def test_headers_go_out_as_given() -> None:
    seen: dict[str, str] = {}

    def peer(client: RawClient, headers: dict[str, str]) -> None:
        seen.update(headers)
        client.send(b"HTTP/1.1 400 No\r\n\r\n")

    with serving(peer) as url, pytest.raises(HandshakeRefused):
        connect(url, headers=[("Host", "shop"), ("X-A", "1")], origin="http://b", subprotocols=["x", "y"])
    expected = {"host": "shop", "x-a": "1", "origin": "http://b", "sec-websocket-protocol": "x, y"}
    assert {name: seen[name] for name in expected} == expected
    with pytest.raises(ValueError, match="not a header that may be sent: 'X-A'"):
        connect("ws://127.0.0.1:1/", headers={"X-A": "1\r\nX-B: 2"})


def test_a_server_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(ConnectionRefusedError, match=r"ws://127\.0\.0\.1:1/: Connection refused"):
        connect("ws://127.0.0.1:1/")


def test_a_server_that_says_nothing(serve: Callable[..., Server]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
        with pytest.raises(TimeoutError, match=r"no answer to the opening handshake within 0\.1 s"):
            connect(url, timeout=0.1)


def test_messages_that_come_with_the_answer_and_in_fragments() -> None:
    def then(client: RawClient) -> None:
        client.send(plain(1, b"a", fin=False) + plain(9, b"?") + plain(0, b"b") + plain(2, b"c") + plain(8))
        assert client.read(2)[0] == 0x8A  # the pong

    with serving(accepting(then)) as url, connect(url) as ws:
        assert list(ws) == ["ab", b"c"]
        assert (ws.close_code, ws.is_open) == (1005, False)


def test_a_stream_that_just_ends() -> None:
    with serving(accepting(lambda client: client.send(plain(1, b"last")))) as url:
        ws = connect(url)
        assert ws.recv() == "last"
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
        assert (closed.value.code, closed.value.is_clean) == (1006, False)
        assert ws.fileno() == -1
        ws.close()  # without effect


def test_a_fault_of_the_servers_is_told() -> None:
    def then(client: RawClient) -> None:
        client.send(plain(3, b"x"))
        client.expect_end()

    with serving(accepting(then)) as url:
        ws = connect(url)
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
        assert closed.value.code == 1002
        assert closed.value.__cause__ is not None


def test_a_message_that_is_too_large() -> None:
    def then(client: RawClient) -> None:
        client.send(plain(1, b"x" * 11))
        client.expect_end()

    with serving(accepting(then)) as url:
        ws = connect(url, max_message_size=10)
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
        assert isinstance(closed.value.__cause__, MessageTooBig)


def test_a_server_that_does_not_close() -> None:
    with serving(accepting(lambda client: client.expect_end())) as url:
        ws = connect(url, timeout=0.1)
        with pytest.raises(TimeoutError, match=r"waited 0\.1 s for the server's close frame"):
            ws.close()
        assert ws.fileno() == -1


def test_a_server_that_does_not_answer_pings() -> None:
    with serving(accepting(lambda client: client.expect_end())) as url:
        ws = connect(url, timeout=0.1)
        with pytest.raises(TimeoutError, match="for the answer to a ping"):
            ws.ping()
        with pytest.raises(ValueError, match="125 allowed"):
            ws.ping("x" * 126)
        ws.drop()


def test_a_server_that_does_not_read(serve: Callable[..., Server]) -> None:
    release = threading.Event()
    with serving(accepting(lambda client: release.wait(10))) as url:
        ws = connect(url, timeout=0.2)
        with pytest.raises(TimeoutError, match="for the server to take a message of 50000000 bytes"):
            ws.send(bytes(50_000_000))
        ws.drop()
        release.set()


def test_to_send_after_the_server_has_closed_says_how_it_ended() -> None:
    done = threading.Event()

    def then(client: RawClient) -> None:
        payload = close_frame(4001, b"gone")[6:]
        client.send(plain(8, bytes(a ^ b for a, b in zip(payload, bytes.fromhex("37fa213d") * 3, strict=False))))
        client.close()
        done.set()

    with serving(accepting(then)) as url:
        ws = connect(url)
        assert done.wait(10)
        with pytest.raises(ConnectionClosed, match="4001 gone"):  # noqa: PT012
            while True:
                ws.send("x" * 100_000)
        assert (ws.close_code, ws.close_reason) == (4001, "gone")


def test_large_messages_and_all_forms_of_bytes(echo_server: Server) -> None:
    with connect(echo_server.ws_url()) as ws:
        for message in ("ä" * 100, "x" * 126, "y" * 70_000, b"", b"\0" * 66_000):
            ws.send(message)
            came = ws.recv()
            assert came == message or came == message.decode()  # type: ignore[union-attr]  # the example's echo is text
        assert ws.recv_now() is None


def test_an_exception_of_the_tests_drops_the_connection(echo_server: Server) -> None:
    holder: list[ClientConnection] = []
    with pytest.raises(KeyError), connect(echo_server.ws_url()) as ws:  # noqa: PT012
        holder.append(ws)
        raise KeyError
    assert holder[0].close_code == 1006
