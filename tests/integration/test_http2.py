"""HTTP/2 and the WebSockets in it (RFC 9113, RFC 8441), in the clear, where every frame can be said and seen."""

from __future__ import annotations

import signal
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http2_client import CANCEL, REFUSED_STREAM, Http2Client
from support.server import APPLICATIONS, HTTP2_SOCKET, Server
from support.tls import Authority, https
from support.websocket_client import BINARY, CONTINUATION, PING, TEXT, close_frame, frame, text

Serve = Callable[..., Server]

APPLICATION = APPLICATIONS / "http2.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(APPLICATION, program=HTTP2_SOCKET) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Http2Client]:
    with Http2Client(server.addresses[0]) as client:
        yield client


# Requests ---------------------------------------------------------------------------------------------


def test_a_request_has_the_environ_of_any_other(client: Http2Client) -> None:
    response = client.request(path="/environ?a=%20b", headers=[("x-ours", "1"), ("cookie", "a=1"), ("cookie", "b=2")])
    assert response.status == 200
    assert response.headers["x-mixed-case"] == "yes"
    assert "date" in response.headers
    environ = dict(line.split("=", 1) for line in response.body.decode().splitlines())
    expected = {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/environ?a=%20b",
        "PATH_INFO": "/environ",
        "QUERY_STRING": "a=%20b",
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": "HTTP/2.0",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_X_OURS": "1",
        "HTTP_COOKIE": "a=1; b=2",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
    }
    assert {key: environ.get(key) for key in expected} == expected


def test_bodies_of_all_kinds_come_back(client: Http2Client) -> None:
    assert client.request("POST", "/length", body=b"x" * 1_000_000).body == b"1000000"
    assert client.request("POST", "/length", body=b"").body == b"0"
    assert client.request(path="/pieces").body == b"0,1,2,3,4,"
    assert client.request(path="/large").body == b"".join(b"%07d" % n * 1_000 for n in range(500))
    empty = client.request(path="/empty")
    assert (empty.status, empty.body) == (204, b"")
    head = client.request("HEAD", "/hello")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "5")


def test_a_file_is_sent_whole(serve: Serve, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4_000
    (tmp_path / "file.bin").write_bytes(content)
    server = serve(APPLICATION, "--static-map", f"/static={tmp_path}", program=HTTP2_SOCKET)
    with Http2Client(server.addresses[0]) as client:
        assert client.request(path="/static/file.bin").body == content


@pytest.mark.parametrize(("path", "size"), [("/hello", 5), ("/static/file", 16_384), ("/static/file", 200_000)])
def test_the_last_piece_of_a_body_of_known_length_ends_the_stream(
    serve: Serve, tmp_path: Path, path: str, size: int
) -> None:
    """RFC 9113 8.1. No empty frame behind it: haproxy keeps back for 0.2 s what came before one."""
    (tmp_path / "file").write_bytes(bytes(size))
    server = serve(APPLICATION, "--static-map", f"/static={tmp_path}", program=HTTP2_SOCKET)
    with Http2Client(server.addresses[0]) as client:
        response = client.request(path=path)
        assert len(response.body) == size
        assert response.last_piece > 0


def test_requests_are_served_at_the_same_time(client: Http2Client) -> None:
    begun = time.monotonic()
    numbers = [client.start(path="/slow") for _ in range(50)]
    assert {bytes(client.response(number).body) for number in numbers} == {b"hello"}
    assert time.monotonic() - begun < 3, "one after the other they would take 15 s"


def test_an_answer_cut_short_is_a_reset_not_an_end(serve: Serve) -> None:
    server = serve(APPLICATION, program=HTTP2_SOCKET, allow_traceback=True)
    with Http2Client(server.addresses[0]) as client:
        assert client.request(path="/short").reset is not None
        assert client.request(path="/fails-late").reset is not None
        client.ping()


def test_a_body_nobody_reads_is_not_waited_for(client: Http2Client) -> None:
    number = client.start("POST", "/hello", ends=False)
    response = client.response(number)
    assert response.body == b"hello"
    client.wait(lambda: response.reset is not None)
    assert response.reset == 0, "RFC 9113 8.1: NO_ERROR after a whole answer"
    assert client.request(path="/hello").body == b"hello"


def test_100_continue_is_said_when_the_body_is_wanted(client: Http2Client) -> None:
    number = client.start("POST", "/length", [("expect", "100-continue")], ends=False)
    stream = client.streams[number]
    client.wait(lambda: stream.interim)
    client.send(number, b"12345", ends=True)
    assert client.response(number).body == b"5"
    assert stream.interim == [100]


def test_a_body_over_the_limit_gets_413(serve: Serve) -> None:
    server = serve(APPLICATION, "--limit-post", "1000", program=HTTP2_SOCKET)
    with Http2Client(server.addresses[0]) as client:
        number = client.start("POST", "/length", [("content-length", "1001")], ends=False)
        assert client.response(number).status == 413
        assert client.request("POST", "/length", body=b"x" * 1_001).status == 413
        assert client.request("POST", "/length", body=b"x" * 1_000).body == b"1000"


@pytest.mark.parametrize(
    ("method", "path", "headers", "authority", "status"),
    [
        ("BR(EW", "/", [], "127.0.0.1", 400),
        ("GET", "relative", [], "127.0.0.1", 400),
        ("GET", "/#fragment", [], "127.0.0.1", 400),
        ("GET", "/", [], "user@127.0.0.1", 400),
        ("GET", "/" + "x" * 33_000, [], "127.0.0.1", 431),
        ("GET", "/", [(f"x-{n}", "") for n in range(200)], "127.0.0.1", 431),
        ("GET", "/", [("x-bad", "\x01")], "127.0.0.1", 400),
        ("GET", "/", [("x(bad", "")], "127.0.0.1", 400),
        ("POST", "/", [("expect", "miracles")], "127.0.0.1", 417),
    ],
)
def test_a_request_that_cannot_be_served_costs_its_stream_only(
    client: Http2Client, method: str, path: str, headers: list[tuple[str, str]], authority: str, status: int
) -> None:
    number = client.start(method, path, headers, authority=authority)
    assert client.response(number).status == status
    assert client.request(path="/hello").body == b"hello"


# WebSockets -------------------------------------------------------------------------------------------


def test_the_server_says_that_it_knows_extended_connect(client: Http2Client) -> None:
    client.wait(lambda: client.settings)
    assert client.settings[8] == 1


def test_many_websockets_and_requests_share_a_connection(client: Http2Client) -> None:
    sockets = [client.websocket() for _ in range(40)]
    for number, socket in enumerate(sockets):
        socket.send_text(f"first {number}")
    assert client.request(path="/hello").body == b"hello"
    for number, socket in reversed(list(enumerate(sockets))):
        socket.expect_text(f"first {number}")
    for socket in sockets:
        socket.send(close_frame(1000))
    for socket in sockets:
        socket.expect_close(1000)
        socket.expect_eof()
    client.ping()


def test_an_application_written_for_uwsgi_need_not_know(client: Http2Client) -> None:
    socket = client.websocket("/old")
    socket.send_text("hello")
    socket.expect_text("hello")
    socket.finish()


def test_messages_of_all_sizes_and_shapes(client: Http2Client) -> None:
    socket = client.websocket()
    for size in (0, 125, 126, 65_535, 65_536, 1_000_000):
        socket.send(frame(BINARY, b"x" * size))
        socket.expect_binary(b"x" * size)
    socket.send(frame(TEXT, b"one ", fin=False) + frame(PING, b"!") + frame(CONTINUATION, b"two"))
    socket.expect_pong(b"!")
    socket.expect_text("one two")
    socket.finish(4000)


def test_a_subprotocol_is_agreed_on(client: Http2Client) -> None:
    socket = client.websocket(headers=[("sec-websocket-protocol", "chat.v1, chat.v2")])
    headers = client.streams[socket.sock.number].headers
    assert headers["sec-websocket-protocol"] == "chat.v2"
    assert not {"upgrade", "connection", "sec-websocket-accept"} & set(headers)
    socket.finish()


def test_errors_close_with_their_code(client: Http2Client) -> None:
    socket = client.websocket()
    socket.send(frame(TEXT, b"\xff"))
    socket.expect_close(1007, "invalid UTF-8")
    socket.expect_eof()


def test_the_application_closes_with_its_code(client: Http2Client) -> None:
    socket = client.websocket("/waits")
    socket.send_text("ready")
    socket.send_text("done")
    socket.expect_text("all read")
    socket.expect_close(4001, "enough")
    socket.send(close_frame(4001))
    socket.expect_eof()


def test_the_end_of_the_stream_is_the_end_of_the_connection(server: Server, client: Http2Client) -> None:
    """RFC 8441 5: END_STREAM is TCP's FIN, RST_STREAM with CANCEL its RST."""
    for leave in (
        lambda socket: socket.half_close(),
        lambda socket: socket.sock.reset(),
    ):
        before = server.log.count("closed 1006")
        socket = client.websocket()
        leave(socket)
        eventually(lambda: server.log.count("closed 1006") > before)  # noqa: B023  # it is called in this turn only
    client.ping()


def test_connection_fd_works(client: Http2Client) -> None:
    socket = client.websocket("/selects")
    socket.send(text("one") + text("two"))
    socket.expect_text("one")
    socket.expect_text("two")


@pytest.mark.parametrize(
    ("pseudo", "headers", "status"),
    [
        ([(":protocol", "websocket")], [("sec-websocket-version", "8")], 426),
        ([(":protocol", "websocket")], [], 426),
        ([(":protocol", "connect-udp")], [], 501),
        ([(":protocol", "websocket")], [("sec-websocket-version", "13"), ("sec-websocket-protocol", "a b")], 400),
    ],
)
def test_a_handshake_that_is_wrong_is_refused(
    client: Http2Client, pseudo: list[tuple[str, str]], headers: list[tuple[str, str]], status: int
) -> None:
    client.wait(lambda: 8 in client.settings)
    number = client.start("CONNECT", "/", headers, ends=False, pseudo=pseudo)
    response = client.response(number)
    assert response.status == status
    assert "upgrade" not in response.headers
    if status == 426:
        assert response.headers["sec-websocket-version"] == "13"


def test_a_foreign_origin_is_refused(serve: Serve) -> None:
    server = serve(APPLICATION, "--websockets-origin", "same", program=HTTP2_SOCKET)
    with Http2Client(server.addresses[0]) as client:
        number = client.start_websocket(headers=[("origin", "http://evil.example")])
        assert client.response(number).status == 403
        client.websocket(headers=[("origin", "http://127.0.0.1")]).finish()


# Flow control -----------------------------------------------------------------------------------------


def test_a_socket_that_nobody_reads_stalls_itself_only(client: Http2Client) -> None:
    """And the server takes no more for it than its window and what it holds for the application."""
    message = frame(BINARY, b"x" * 10_000)
    for _ in range(3):
        deaf = client.websocket("/deaf").sock.number
        sent = 0
        while client.h2.local_flow_control_window(deaf) >= len(message):
            client.h2.send_data(deaf, message)
            client.flush()
            sent += len(message)
            client.ping()  # the window is opened again by now, if it will be
            assert sent < 1_000_000
        assert 131_072 < sent < 400_000
    lively = client.websocket()
    for _ in range(10):
        lively.send(frame(BINARY, b"y" * 50_000))
        lively.expect_binary(b"y" * 50_000)
    assert client.request("POST", "/length", body=b"z" * 500_000).body == b"500000"


def test_the_window_opens_as_the_application_reads(client: Http2Client) -> None:
    socket = client.websocket("/waits")
    socket.send_text("ready")
    for _ in range(100):
        socket.send(frame(BINARY, b"x" * 10_000))
    socket.send_text("done")
    socket.expect_text("all read")


def test_a_client_that_takes_nothing_stalls_its_stream_only(server: Server) -> None:
    with Http2Client(server.addresses[0], window=20_000) as client:
        socket = client.websocket("/talks")
        number = socket.sock.number
        client.holds_back.add(number)
        client.wait(lambda: len(client.streams[number].body) == 20_000)
        other = client.websocket()
        other.send_text("hello")
        other.expect_text("hello")
        assert client.request(path="/large").body[-7:] == b"0000499"
        client.holds_back.clear()
        client.h2.increment_flow_control_window(20_000, number)
        client.flush()
        for n in range(64):
            socket.expect_binary(b"%07d" % n * 10_000)
        socket.expect_close(1000)


def test_a_client_that_never_takes_it_is_given_up(serve: Serve) -> None:
    server = serve(APPLICATION, "--socket-timeout", "0.5", program=HTTP2_SOCKET)
    with Http2Client(server.addresses[0], window=0) as client:
        response = client.request(path="/large")
        assert response.reset is not None
        client.ping()


# Places and time --------------------------------------------------------------------------------------


def test_one_place_serves_a_connection_all_the_same(serve: Serve) -> None:
    server = serve(APPLICATION, "--gevent", "1", program=HTTP2_SOCKET)
    with Http2Client(server.addresses[0]) as client:
        numbers = [client.start(path="/slow") for _ in range(3)]
        assert [bytes(client.response(number).body) for number in numbers] == [b"hello"] * 3


def test_requests_that_wait_for_a_place_get_the_first_that_is_free(serve: Serve) -> None:
    server = serve(APPLICATION, "--gevent", "4", program=HTTP2_SOCKET)
    with Http2Client(server.addresses[0]) as client, Http2Client(server.addresses[0]) as other:
        other.websocket(), other.websocket()
        client.websocket(), client.websocket()
        numbers = [client.start(path="/hello") for _ in range(3)]
        client.ping()
        assert not any(client.streams[number].status for number in numbers)
        other.sock.close()
        assert [client.response(number).body for number in numbers] == [b"hello"] * 3


def test_a_request_taken_back_before_it_began_is_never_run(serve: Serve) -> None:
    server = serve(APPLICATION, "--gevent", "1", program=HTTP2_SOCKET)
    with Http2Client(server.addresses[0]) as client:
        socket = client.websocket()
        number = client.start(path="/hello")
        client.h2.reset_stream(number, CANCEL)
        client.flush()
        behind = client.start(path="/pieces")
        client.ping()
        socket.finish()
        assert client.response(behind).status == 200
        eventually(lambda: "/pieces" in server.log)
        assert "/hello" not in server.log


def test_an_idle_connection_is_told_goodbye(serve: Serve) -> None:
    server = serve(APPLICATION, "--http-timeout", "0.5", "--socket-timeout", "1", program=HTTP2_SOCKET)
    with Http2Client(server.addresses[0]) as silent, Http2Client(server.addresses[0]) as client:
        client.request()
        client.wait_for_end()
        assert client.goodbye == (0, 1)
        silent.wait_for_end()
        assert silent.goodbye == (0, 0)


def test_a_stop_lets_streams_end_and_refuses_new_ones(serve: Serve) -> None:
    server = serve(APPLICATION, program=HTTP2_SOCKET)
    with Http2Client(server.addresses[0]) as client:
        socket = client.websocket()
        number = client.start(path="/slow")
        client.ping()
        server._process.send_signal(signal.SIGINT)
        client.wait(lambda: client.goodbye)
        assert client.goodbye == (0, number)
        late = client.start(path="/hello")
        assert client.response(late).reset == REFUSED_STREAM
        assert client.response(number).body == b"hello"
        socket.expect_close(1001, "server stops")
        socket.send(close_frame(1001))
        socket.expect_eof()
        client.wait_for_end()
    assert server.wait(5) == 0


class Late:
    """A TLS context that does something after the TCP connection and before the handshake."""

    def __init__(self, context: ssl.SSLContext, do: Callable[[], None]) -> None:
        self.set_alpn_protocols = context.set_alpn_protocols
        self.context = context
        self.do = do

    def wrap_socket(self, sock: Any, **options: Any) -> ssl.SSLSocket:
        self.do()
        return self.context.wrap_socket(sock, **options)


def test_who_comes_during_a_stop_gets_the_first_answers_and_is_told_to_leave(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = serve(APPLICATION, program=https(authority.issue()))
    context = authority.client_context()

    def stop() -> None:
        # One who comes later has been served, so the connection that is being made has been accepted.
        with Http2Client(server.addresses[0], tls=context) as later:
            later.request()
        server._process.send_signal(signal.SIGINT)
        server.wait_for_log("stopping worker 1")

    with Http2Client(server.addresses[0], tls=Late(context, stop)) as client:  # type: ignore[arg-type]
        client.ping()
        assert client.goodbye is None
        socket = client.websocket()
        client.wait(lambda: client.goodbye)
        assert client.goodbye == (0, 1)
        assert client.response(client.start(path="/hello")).reset == REFUSED_STREAM
        socket.expect_close(1001, "server stops")
        socket.send(close_frame(1001))
        socket.expect_eof()
        client.wait_for_end()
    assert server.wait(5) == 0


def test_who_says_nothing_during_a_stop_is_told_to_leave_all_the_same(serve: Serve) -> None:
    server = serve(APPLICATION, program=HTTP2_SOCKET)
    with Http2Client(server.addresses[0]) as client:
        client.ping()
        server._process.send_signal(signal.SIGINT)
        client.wait_for_end()
        assert client.goodbye == (0, 0)


def test_a_client_that_says_goodbye_still_gets_its_answers(client: Http2Client) -> None:
    number = client.start(path="/slow")
    client.sock.sendall(bytes.fromhex("00000807000000000000000000 00000000"))
    assert client.response(number).body == b"hello"
    client.wait_for_end()


def test_without_h2_the_option_says_what_is_missing(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = (
        "import sys; sys.modules['h2'] = None\n"
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'h2' else real(name, *rest)\n"
        "from uwsgi_ws.cli import main; sys.exit(main(['--http2-socket', '127.0.0.1:0']))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "--http2-socket: HTTP/2 needs the package h2" in ended.stderr


def test_header_values_are_latin_1_and_have_no_blanks_around_them(serve: Serve) -> None:
    server = serve(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('X-Name', ' \\xe9 ')])\n"
        "    return [b'hello']\n",
        program=HTTP2_SOCKET,
    )
    with Http2Client(server.addresses[0]) as client:
        assert client.request().headers["x-name"] == "\xe9"


def test_a_client_may_make_its_header_table_smaller(serve: Serve) -> None:
    """RFC 7541 4.2: the next block must say so; the client's h2 insists on it."""
    server = serve(APPLICATION, program=HTTP2_SOCKET)
    with Http2Client(server.addresses[0]) as client:
        assert client.request().status == 200
        client.h2.update_settings({1: 64})
        client.flush()
        client.ping()
        for _ in range(2):
            assert client.request().status == 200
