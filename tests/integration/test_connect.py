"""``python -m uwsgi_ws connect``: by a script, and by a person at a terminal, which is a pseudo-terminal here."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.server import EXAMPLES, ROOT, Server
from support.tls import Authority

#: Of this checkout, before what these tests were told themselves.
PATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

#: Answers as its path and the first messages say.
APPLICATION = """
import uwsgi_ws

def application(environ, start_response):
    if environ["PATH_INFO"] == "/refuse":
        start_response("403 Forbidden", [("X-Why", "closed")])
        return [b"not \\x1b[2J today"]
    ws = uwsgi_ws.accept(environ, subprotocols=["b"])
    if environ["PATH_INFO"] == "/headers":
        ws.send(f"{environ.get('HTTP_X_A')} {environ.get('HTTP_ORIGIN')} {ws.subprotocol}")
    for message in ws:
        if message == "end":
            ws.close(4001, "enough")
            break
        ws.send(b"\\0\\xff" if message == "bytes" else message)
    return []
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(APPLICATION) as server:
        yield server


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "uwsgi_ws", "connect", *words]


def run(*words: str, stdin: str = "") -> tuple[int, str, str]:
    """Run it with this stdin; return its status, and what it has written."""
    environ = {**os.environ, "PYTHONPATH": PATH}
    done = subprocess.run(command(*words), input=stdin, env=environ, capture_output=True, text=True, timeout=50)
    return done.returncode, done.stdout, done.stderr


def test_each_line_is_a_message(server: Server) -> None:
    assert run(server.ws_url(), "--wait", "2", stdin="a\n/ping\nbytes\nlast") == (0, "a\n/ping\n00ff\nlast\n", "")


def test_one_answer(server: Server) -> None:
    assert run(server.ws_url(), "--once", stdin="a\nb\n") == (0, "a\n", "")
    assert run(server.ws_url(), "--once", "--timeout", "0.2")[0::2] == (4, "uwsgi_ws connect: no message has come\n")


def test_how_the_server_ends_it(server: Server) -> None:
    assert run(server.ws_url(), stdin="a\nend\n") == (3, "a\n", "closed: 4001 (enough)\n")


def test_what_it_asks_with(server: Server) -> None:
    words = ("-H", "X-A: 1", "--origin", "http://a", "--subprotocol", "a, b", "--once")
    assert run(server.ws_url("/headers"), *words) == (0, "1 http://a b\n", "")


def test_a_refusal_is_shown_whole(server: Server) -> None:
    status, out, err = run(server.ws_url("/refuse"))
    assert (status, out) == (1, "")
    assert err.startswith(f"{server.ws_url('/refuse')}: 403 Forbidden\n")
    assert "\nX-Why: closed\n" in err
    assert err.endswith("\n\nnot \\x1b[2J today\n")


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["ws://127.0.0.1:1/"], 1, "ws://127.0.0.1:1/: Connection refused"),
        (["127.0.0.1:1"], 2, "not the URL of a WebSocket, such as ws://localhost:8080/ws: '127.0.0.1:1'"),
        (["ws://127.0.0.1:1/", "-H", "x"], 2, "not a header: 'x'; such as -H 'Cookie: a=b'"),
    ],
)
def test_without_a_connection(words: list[str], status: int, text: str) -> None:
    assert run(*words) == (status, "", f"uwsgi_ws connect: {text}\n")


def test_a_reader_that_has_enough(server: Server) -> None:
    line = f"seq 20000 | {' '.join(command(server.ws_url()))} | head -n 1"
    environ = {**os.environ, "PYTHONPATH": PATH}
    done = subprocess.run(line, shell=True, env=environ, capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_tls(serve: Callable[..., Server], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = serve(EXAMPLES / "echo.py", "--https", f"127.0.0.1:0,{authority.issue()}")
    port = server.addresses[1][1]
    url = f"wss://localhost:{port}/ws"
    status, _, err = run(url, "--once", stdin="a\n")
    assert status == 1
    assert "certificate verify failed" in err
    assert run(url, "--once", "--cacert", str(authority.path), stdin="a\n") == (0, "a\n", "")
    assert run(url, "--once", "--insecure", stdin="a\n") == (0, "a\n", "")


class Terminal:
    """A person's terminal, with the program in it."""

    def __init__(self, words: list[str], **variables: str) -> None:
        self._screen, other = pty.openpty()
        environ = {**os.environ, "PYTHONPATH": PATH, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **variables}
        self.process = subprocess.Popen(words, stdin=other, stdout=other, stderr=other, env=environ)
        os.close(other)
        self.text = ""
        self._seen = 0

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def expect(self, pattern: str, deadline: float = 20.0) -> re.Match[str]:
        """Wait until the screen has shown this, behind what was expected before."""
        end = time.monotonic() + deadline
        while not (found := re.compile(pattern).search(self.text, self._seen)):
            assert time.monotonic() < end, f"no {pattern!r} in {self.text!r}"
            if select.select([self._screen], [], [], 0.1)[0]:
                try:
                    raw = os.read(self._screen, 65_536).decode()
                except OSError:
                    raise AssertionError(f"it has ended; no {pattern!r} in {self.text!r}") from None
                self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw)
        self._seen = found.end()
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._screen)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(words: list[str], **variables: str) -> Terminal:
        opened.append(Terminal(words, **variables))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


WITHOUT = """
import sys
sys.modules["prompt_toolkit"] = None
from uwsgi_ws.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("edits", [True, False], ids=["prompt_toolkit", "plain"])
def test_a_person_at_a_terminal(server: Server, terminal: Callable[..., Terminal], tmp_path: Path, edits: bool) -> None:
    if edits and find_spec("prompt_toolkit") is None:
        pytest.skip("prompt_toolkit is not installed")
    words: Any = command() if edits else [sys.executable, "-c", WITHOUT, "connect"]
    at = terminal([*words, server.ws_url(), "--subprotocol", "b"], XDG_STATE_HOME=str(tmp_path))
    at.expect("connected to ws://.*, subprotocol b; /help tells")
    at.type("hello\r")
    at.expect("< hello")
    at.type("/ping\r")
    at.expect(r"pong after [\d.]+ ms")
    at.type("bytes\r")
    at.expect("< 00 ff")
    at.type("/binary 00 e4\r")
    at.expect("< 00 e4")
    at.type("/binary nonsense\r")
    at.expect("non-hexadecimal")
    at.type("/nothing\r")
    at.expect("no command /nothing; /help")
    at.type("//slash\r")
    at.expect("< /slash")
    at.type("/help\r")
    at.expect("/quit +drop the connection")
    if edits:
        # Before its next prompt the kernel takes the keys, and Ctrl-D for an end.
        at.expect(r"/help +this\s+>")
        at.type("wrold\x1b[D\x1b[D\x1b[D\x1b[D\x04o\x1b[C\x04\r")  # as an editor: left, delete, o, right, delete
        at.expect(r"< wo.*\s+>")
        at.type("\x1b[A\x1b[A\x1b[A\r")  # the third line before
        at.expect("< /slash")
        assert "+hello" in (tmp_path / "uwsgi_ws/connect-history").read_text()
        assert (tmp_path / "uwsgi_ws/connect-history").stat().st_mode & 0o777 == 0o600
    at.type("/close 4000 good bye\r")
    at.expect(r"closed: 4000 \(good bye\)")
    assert at.process.wait(10) == 0


@pytest.mark.parametrize("edits", [True, False], ids=["prompt_toolkit", "plain"])
def test_the_server_ends_it_while_a_person_types(
    server: Server, terminal: Callable[..., Terminal], tmp_path: Path, edits: bool
) -> None:
    if edits and find_spec("prompt_toolkit") is None:
        pytest.skip("prompt_toolkit is not installed")
    words: Any = command() if edits else [sys.executable, "-c", WITHOUT, "connect"]
    at = terminal([*words, server.ws_url()], XDG_STATE_HOME=str(tmp_path))
    at.expect("connected")
    at.type("end\rhalf a li")
    at.expect(r"closed: 4001 \(enough\)")
    assert at.process.wait(10) == 3
