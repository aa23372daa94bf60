"""``uwsgi_ws.testing`` as its users have it: pytest runs their suites, in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.eventually import eventually
from support.server import APPLICATIONS, EXAMPLES, ROOT

# A suite takes some seconds, of a machine that does nothing else.
pytestmark = pytest.mark.timeout(180)

#: By its name, which is that of the entry point too: it is loaded once, installed or not.
PLUGIN = ("-p", "uwsgi_ws.pytest_plugin")
PATCHED = "from gevent import monkey\nmonkey.patch_all()\n"


def run_pytest(folder: Path, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run the suite in a folder."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", *PLUGIN, "-p", "no:cacheprovider", *arguments]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=150, check=False, **settings
    )


def counts(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return how many tests passed and how many did not, by pytest's words."""
    return {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|errors?)\b", done.stdout)}


@pytest.mark.parametrize(
    "how",
    [
        "plain",
        pytest.param("patched", marks=pytest.mark.matrix),
        pytest.param("xdist", marks=pytest.mark.long),
    ],
)
def test_a_suite_of_a_user(tmp_path: Path, how: str) -> None:
    (tmp_path / "test_shop.py").write_text((APPLICATIONS / "suite.py").read_text())
    (tmp_path / "conftest.py").write_text((PATCHED if how == "patched" else "") + "import uwsgi_ws.testing\n")
    spread = ["-n", "2", "--dist", "loadscope"] if how == "xdist" else []
    done = run_pytest(tmp_path, "-q", "-W", "error", *spread)
    assert counts(done) == {"passed": 19}, done.stdout + done.stderr


def test_the_first_test_has_three_lines(tmp_path: Path) -> None:
    (tmp_path / "test_first.py").write_text(
        f"""
def test_echo(websocket_server):
    with websocket_server("{EXAMPLES / "echo.py"}").connect("/ws") as ws:
        ws.send("hello")
        assert ws.recv() == "hello"

def test_chat(websocket_server):
    with websocket_server("{EXAMPLES / "chat.py"}", processes=2).connect("/ws?name=Ada") as ws:
        assert ws.recv_json()["event"] == "joined"
"""
    )
    done = run_pytest(tmp_path, "-q")
    assert counts(done) == {"passed": 2}, done.stdout + done.stderr


def test_the_log_is_in_the_report_of_the_test_that_fails(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "def application(environ, start_response):\n    raise KeyError(environ['PATH_INFO'])\n"
    )
    (tmp_path / "test_app.py").write_text(
        """
import pytest, urllib.error, urllib.request

@pytest.fixture(scope="module")
def server(module_websocket_server):
    return module_websocket_server("app.py")

def get(server, path):
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(server.http_url + path)

def test_passes(server):
    get(server, "/first")

def test_fails(server):
    get(server, "/second")
    assert False
"""
    )
    done = run_pytest(tmp_path, "-q")
    assert counts(done) == {"passed": 1, "failed": 1}, done.stdout + done.stderr
    assert "log of app.py" in done.stdout
    assert "KeyError: '/second'" in done.stdout
    assert "KeyError: '/first'" not in done.stdout


def test_a_missing_import_of_uwsgi_is_explained(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text("import uwsgi\n")
    done = run_pytest(tmp_path, "-q")
    assert "write `import uwsgi_ws.testing` into conftest.py" in done.stdout


def test_the_plugin_brings_nothing_along(tmp_path: Path) -> None:
    """A suite that has nothing to do with us imports neither gevent nor our own package, and finds no uwsgi."""
    (tmp_path / "test_other.py").write_text(
        """
import sys

def test_other():
    ours = {name for name in sys.modules if name.partition(".")[0] == "uwsgi_ws"}
    assert ours == {"uwsgi_ws", "uwsgi_ws._build", "uwsgi_ws.pytest_plugin"}
    assert "gevent" not in sys.modules
    assert sys.meta_path[-1].__class__.__module__ != "uwsgi_ws.api.offered"
"""
    )
    done = run_pytest(tmp_path, "-q")
    assert counts(done) == {"passed": 1}, done.stdout + done.stderr


def test_a_program_ends_with_the_tests_whatever_happens(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text(
        f"""
import os, signal

def test_dies(websocket_server):
    server = websocket_server("{EXAMPLES / "echo.py"}", processes=2)
    with open("pid", "w") as file:
        file.write(str(server.pid))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    assert run_pytest(tmp_path).returncode == -signal.SIGKILL
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not Path(f"/proc/{pid}").exists(), 10)
