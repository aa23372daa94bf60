"""What somebody new meets first: README's application, ``help``, and errors that say what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.http_client import fetch
from support.server import EXAMPLES, ROOT, Server
from support.websocket_client import RawClient

import uwsgi_ws

Start = Callable[..., Server]


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_readmes_first_application_is_the_example() -> None:
    first = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert first is not None
    _command, _, rest = (EXAMPLES / "first.py").read_text().partition("\n")
    assert first[1] == rest


def test_readmes_first_application_has_a_page_for_a_browser_and_echoes(serve: Start) -> None:
    server = serve(EXAMPLES / "first.py")
    response = fetch(("127.0.0.1", server.port))
    assert response.status == 200
    assert response.get("Content-Type") == "text/html; charset=utf-8"
    assert "new WebSocket(location.href" in response.text
    with RawClient.open(server.port) as client:
        client.send_text("hello")
        client.expect_text("hello")
        client.finish()


@pytest.mark.parametrize("pure", ["0", "1"])
def test_help_and_dir_know_every_public_name(pure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UWSGI_WS_PURE_PYTHON", pure)
    listed = run("-c", "import sys, uwsgi_ws; print(*dir(uwsgi_ws)); assert 'gevent' not in sys.modules")
    assert listed.returncode == 0, listed.stderr
    assert set(uwsgi_ws.__all__) <= set(listed.stdout.split())
    told = run("-c", "import uwsgi_ws; help(uwsgi_ws)")
    assert told.returncode == 0, told.stderr
    for name in uwsgi_ws.__all__:
        assert re.search(rf"^    (?:class )?{name}\(", told.stdout, re.MULTILINE), name
    for words in ("Complete the opening handshake of the current request.", "Send a message to many connections"):
        assert words in told.stdout


def test_every_public_name_says_what_it_is_for() -> None:
    for name in uwsgi_ws.__all__:
        assert (getattr(uwsgi_ws, name).__doc__ or "").strip(), name


def test_accept_says_when_another_server_has_called() -> None:
    source = """
import uwsgi_ws
from wsgiref.util import setup_testing_defaults
environ = {}
setup_testing_defaults(environ)
try:
    uwsgi_ws.accept(environ)
except uwsgi_ws.InvalidState as exc:
    print(exc)
"""
    assert run("-c", source).stdout == "not served by uwsgi_ws: start the application by `python -m uwsgi_ws`\n"


LOADING = {
    "app.py": ["app.py"],
    "module": ["--module", "app"],
    "mount": ["--mount", "/a=app.py"],
    "master": ["--master", "--wsgi-file", "app.py"],
    "lazy": ["--master", "--lazy-apps", "--wsgi-file", "app.py"],
}


@pytest.mark.parametrize("way", LOADING)
def test_a_traceback_begins_where_the_application_does(way: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import helper\n")
    (tmp_path / "helper.py").write_text("def fail():\n    return 1 / 0\n\n\nfail()\n")
    ended = run("-m", "uwsgi_ws", "--http", "127.0.0.1:0", *LOADING[way], cwd=tmp_path)
    traceback = ended.stderr.partition("Traceback (most recent call last):\n")[2]
    files = re.findall(r'^  File "([^"]*)"', traceback, re.MULTILINE)
    assert Path(files[0]).name == "app.py"
    assert [Path(file).name for file in files if "importlib" not in file] == ["app.py", "helper.py", "helper.py"]
    assert "ZeroDivisionError: division by zero" in traceback


def test_a_syntax_error_is_shown_with_its_place_and_no_frames(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def application(:\n")
    ended = run("-m", "uwsgi_ws", "--http", "127.0.0.1:0", "app.py", cwd=tmp_path)
    assert re.findall(r'File "(?:[^"]*/)?(\w+\.py)", line', ended.stderr) == ["app.py"]
    assert "SyntaxError" in ended.stderr


NO_APPLICATION = "app.py has no 'application': name the application with --callable"
FUNCTIONS = """
from os import getcwd
from pathlib import Path
from textwrap import dedent
from typing import Any

def helper(): ...
def _hidden(): ...
def app(environ, start_response): ...
"""
OBJECT = """
class Flask:
    def __call__(self): ...

class Shy:
    __call__ = None
    def __getattr__(self, name):
        raise RuntimeError("working outside of the request context")

request = Shy()
site = Flask()
"""
MANY = "application = 5\n" + "".join(f"def f{number}(): ...\n" for number in range(9)) + "def wsgi(e, s): ...\n"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (FUNCTIONS, f"{NO_APPLICATION}; what can be called there is app, helper"),
        (OBJECT, f"{NO_APPLICATION}; what can be called there is request, site"),
        ("VALUE = 1\n", NO_APPLICATION),
        (
            MANY,
            "'application' of app.py is a int, not a callable; what can be called there is wsgi, f0, f1, f2, f3, ...",
        ),
    ],
    ids=["functions", "objects", "nothing", "many"],
)
def test_a_file_without_the_callable_is_told_what_it_has(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "app.py").write_text(source)
    ended = run("-m", "uwsgi_ws", "--http", "127.0.0.1:0", "--wsgi-file", "app.py", cwd=tmp_path)
    assert f"uwsgi_ws: --wsgi-file: {words} (command line)\n" in ended.stderr
    assert "Traceback" not in ended.stderr
