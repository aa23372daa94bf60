"""Publishing from outside of the server: the command, the function, and who is refused."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import eventually
from support.server import ROOT, Server, ServerFailed, finish
from support.websocket_client import RawClient

import uwsgi_ws
from uwsgi_ws.channels.records import encode_record

APPLICATION = """
import uwsgi_ws


def application(environ, start_response):
    with uwsgi_ws.accept(environ) as ws:
        ws.join("lobby")
        ws.send("joined")
        for message in ws:
            pass
    return []
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("socket") / "channels.sock")


@pytest.fixture(scope="module")
def server(address: str) -> Iterator[Server]:
    with Server(APPLICATION, "--channel-socket", address, "--websockets-max-size", "1") as server:
        yield server
        finish(server, allow_traceback=False)
    assert not os.path.exists(address)


@pytest.fixture
def client(server: Server) -> Iterator[RawClient]:
    with RawClient.open(server.port) as client:
        client.expect_text("joined")
        yield client
        client.finish()


def command(*arguments: str, stdin: bytes = b"") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "uwsgi_ws", "publish", *arguments], cwd=ROOT, input=stdin, capture_output=True
    )
    return done.returncode, done.stderr.decode()


def test_the_command_publishes(client: RawClient, address: str) -> None:
    assert command("--to", address, "lobby", "from a shell: Grüße") == (0, "")
    client.expect_text("from a shell: Grüße")
    assert command("--to", address, "lobby", "-", stdin=b"line 1\nline 2\n") == (0, "")
    client.expect_text("line 1\nline 2\n")
    assert command("--to", address, "--binary", "lobby", "-", stdin=b"\x00\xff") == (0, "")
    client.expect_binary(b"\x00\xff")
    assert command("--to", address, "--no-compress", "lobby", "a secret") == (0, "")
    client.expect_text("a secret")


def test_the_function_publishes(client: RawClient, address: str) -> None:
    uwsgi_ws.publish_to(address, "lobby", "text")
    uwsgi_ws.publish_to(address, "elsewhere", "not for you")
    uwsgi_ws.publish_to(address, "lobby", memoryview(b"binary"))
    client.expect_text("text")
    client.expect_binary(b"binary")


def test_the_function_needs_no_gevent() -> None:
    program = "import sys, uwsgi_ws; uwsgi_ws.publish_to; sys.exit('gevent' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


@pytest.mark.usefixtures("server")
def test_only_the_owner_may_open_the_file(address: str) -> None:
    assert stat.S_IMODE(os.stat(address).st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_refused_where_there_is_no_file(serve: Callable[..., Server]) -> None:
    name = f"@uwsgi_ws-test-{os.getpid()}"
    server = serve(APPLICATION, "--channel-socket", name)
    program = f"""
import os, sys
from uwsgi_ws.channels.client import publish_to  # while the files can be read
os.setuid(65534)
try:
    publish_to({name!r}, "lobby", "mine")
except OSError as exc:
    sys.stderr.write(str(exc))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert "user 65534 may not publish here" in done.stderr
    with RawClient.open(server.port) as client:
        client.expect_text("joined")
        uwsgi_ws.publish_to(name, "lobby", "root may")
        client.expect_text("root may")
        client.finish()


def test_what_cannot_be_published_is_said(server: Server, address: str, tmp_path: Path) -> None:
    with pytest.raises(uwsgi_ws.ChannelError, match="message of 1025 bytes, 1024 allowed"):
        uwsgi_ws.publish_to(address, "lobby", "x" * 1_025)
    with pytest.raises(uwsgi_ws.ChannelError, match="message of 9000000 bytes, 1024 allowed"):
        uwsgi_ws.publish_to(address, "lobby", b"x" * 9_000_000)
    with pytest.raises(uwsgi_ws.ChannelError, match="No such file"):
        uwsgi_ws.publish_to(str(tmp_path / "nobody.sock"), "lobby", "hello")
    status, problem = command("--to", str(tmp_path / "nobody.sock"), "lobby", "hello")
    assert status == 1
    assert problem.startswith("uwsgi_ws: cannot publish to ")
    status, problem = command("--to", address, "lobby", "-", stdin=b"\xff")
    assert status == 1
    assert "Traceback" not in problem


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"error not a record: opcode 71\n"),
        (encode_record(b"lobby", 1, b"\xff"), b"error the message is text, but not in UTF-8\n"),
        (encode_record(b"\xff", 1, b"hello"), b"error not a record: the channel's name is not UTF-8\n"),
        (encode_record(b"a", 1, b"") * 3, b"ok\nok\nok\n"),
        (encode_record(b"a", 1, b"hello")[:-1], b""),
        (encode_record(b"a", 1, b"") + b"GET / HTTP/1.1", b"ok\nerror not a record: opcode 71\n"),
        (
            encode_record(b"a", 1, b"") + encode_record(b"a", 1, b"\xff"),
            b"ok\nerror the message is text, but not in UTF-8\n",
        ),
        (
            encode_record(b"a", 1, b"") * 2 + encode_record(b"a", 2, b"x" * 1_025)[:9],
            b"ok\nok\nerror message of 1025 bytes, 1024 allowed\n",
        ),
    ],
)
@pytest.mark.usefixtures("server")
def test_nonsense_is_answered_and_ends_nothing_but_its_connection(
    client: RawClient, address: str, data: bytes, answer: bytes
) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(address)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        came = b""
        while more := sock.recv(1_000):
            came += more
        assert came == answer
    uwsgi_ws.publish_to(address, "lobby", "still there")
    client.expect_text("still there")


def test_a_client_that_hangs_up_early_does_no_harm(client: RawClient, address: str) -> None:
    for _ in range(40):  # more than there are places
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(address)
            sock.sendall(encode_record(b"a", 1, b"hello")[:5])
    eventually(lambda: uwsgi_ws.publish_to(address, "lobby", "hello") is None)
    client.expect_text("hello")


def test_what_comes_before_an_error_is_published(client: RawClient, address: str) -> None:
    with publisher(address) as sock:
        sock.sendall(encode_record(b"lobby", 1, b"first") + b"\x09 nonsense")
    client.expect_text("first")


def test_whoever_sends_and_goes_without_reading_is_heard(client: RawClient, address: str) -> None:
    """The answer to the first cannot be written any more when the others are still to be read."""
    numbers = range(2_000)
    with publisher(address) as sock:
        sock.sendall(b"".join(encode_record(b"lobby", 1, b"%d %d" % (number, 10**60)) for number in numbers))
    for number in numbers:
        client.expect_text(f"{number} {10**60}")


def publisher(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(address)  # without a timeout it waits for room in the backlog
    except BaseException:
        sock.close()
        raise
    sock.settimeout(10)
    return sock


@pytest.mark.parametrize("unfinished", [b"", encode_record(b"a", 1, b"hello")[:-1]], ids=["idle", "half-way"])
def test_those_who_say_nothing_hold_up_nobody(client: RawClient, address: str, unfinished: bytes) -> None:
    """More of them than there are places; the one that speaks now and then keeps its own."""
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(publisher(address))
        for number in range(400):
            stack.enter_context(publisher(address)).sendall(unfinished)
            if number % 100 == 0:
                busy.sendall(encode_record(b"lobby", 1, b"still here"))
                assert busy.recv(10) == b"ok\n"
                client.expect_text("still here")
        uwsgi_ws.publish_to(address, "lobby", "hello", timeout=10)
        client.expect_text("hello")


def test_a_full_backlog_is_waited_for(tmp_path: Path) -> None:
    """The kernel refuses at once; the one that waits is served when there is room."""
    address = str(tmp_path / "busy.sock")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(address)
        listener.listen(0)
        stack.enter_context(publisher(address))
        with pytest.raises(uwsgi_ws.ChannelError, match="temporarily unavailable"):
            uwsgi_ws.publish_to(address, "lobby", "hello", timeout=0.05)
        waiting = threading.Thread(target=uwsgi_ws.publish_to, args=(address, "lobby", "hello"))
        waiting.start()
        for _ in range(2):
            came, _ = listener.accept()
            stack.enter_context(came).sendall(b"ok\n")
        waiting.join(10)
        assert not waiting.is_alive()


def test_nor_do_those_who_read_no_answers(client: RawClient, address: str) -> None:
    flood = encode_record(b"a", 1, b"") * 10_000
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            sock = stack.enter_context(publisher(address))
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.send(flood)
        uwsgi_ws.publish_to(address, "lobby", "hello", timeout=10)
        client.expect_text("hello")


@pytest.mark.parametrize("where", ["127.0.0.1:9999", "/nonexistent/channels.sock"])
def test_an_address_of_no_use_is_said_at_the_start(where: str) -> None:
    with pytest.raises(ServerFailed, match=r"--channel-socket: .* \(command line\)"):
        Server(APPLICATION, "--channel-socket", where)
