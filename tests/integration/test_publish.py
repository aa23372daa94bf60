"""Publishing from outside of the server: the command, the function, and who is refused."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
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


@pytest.mark.parametrize("where", ["127.0.0.1:9999", "/nonexistent/channels.sock"])
def test_an_address_of_no_use_is_said_at_the_start(where: str) -> None:
    with pytest.raises(ServerFailed, match=r"--channel-socket: .* \(command line\)"):
        Server(APPLICATION, "--channel-socket", where)
