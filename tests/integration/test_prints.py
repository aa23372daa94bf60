"""What an application prints is in the log at once, line by line, in order, and none of it is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import fetch
from support.server import APPLICATIONS
from support.workers import ANYWHERE

pytestmark = pytest.mark.matrix

COMMAND = (sys.executable, "-m", "uwsgi_ws")

APPLICATION = APPLICATIONS / "prints.py"


class Instance:
    """A server whose log is a file, and whose standard output is another one."""

    def __init__(self, folder: Path, *options: str, unbuffered: str = "") -> None:
        (folder / "app.py").write_text(APPLICATION.read_text())
        self._folder = folder
        self._log = folder / "log"
        env = {**os.environ, **ANYWHERE, "PYTHONUNBUFFERED": unbuffered, "PYTHONUTF8": "1"}
        with open(folder / "out", "wb") as out, open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "--http", "a.sock", *options, "app.py"], cwd=folder, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.DEVNULL if "--logto" in options else log, env=env,
            )  # fmt: skip
        self.wait_for("spawned uwsgi_ws worker", 2 if "-p" in options else 1)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str, times: int = 1) -> None:
        eventually(lambda: self.log.count(text) >= times, 20)

    def get(self, what: str) -> str:
        return fetch(str(self._folder / "a.sock"), f"/{what}").text

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(15)


@contextmanager
def running(folder: Path, *options: str, unbuffered: str = "") -> Iterator[Instance]:
    instance = Instance(folder, *options, unbuffered=unbuffered)
    try:
        yield instance
    finally:
        if instance.process.poll() is None:
            instance.process.kill()
            instance.process.wait()


EVERY_LIFE = pytest.mark.parametrize(
    "options",
    [[], ["--master"], ["-p", "2", "--lazy-apps"], ["--threads", "2"], ["--logto", "log"], ["-M", "--logto", "log"]],
    ids=["alone", "master", "lazy", "threads", "--logto", "master --logto"],
)


@EVERY_LIFE
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["", "unbuffered"])
def test_what_is_printed_is_in_the_log_before_the_answer(tmp_path: Path, options: list[str], unbuffered: str) -> None:
    with running(tmp_path, *options, unbuffered=unbuffered) as server:
        assert server.log.count("at import\n") == (2 if "--lazy-apps" in options else 1)
        assert server.get("x") == "x"
        assert "a print in x\n" in server.log
        assert server.stop() == 0


@EVERY_LIFE
def test_all_lines_are_in_order(tmp_path: Path, options: list[str]) -> None:
    with running(tmp_path, *options) as server:
        server.get("order")
        server.wait_for("GET /order")
        lines = server.log.split("a print in order\n")[1].splitlines()
        numbers = ["one", "two", "three", "four", "five", "six", "seven"]
        if "--logto" in options:
            assert lines[:7] == numbers
            assert (tmp_path / "out").read_text() == ""
        else:
            # Descriptor 1 is what it was, as in uWSGI.
            assert lines[:6] == numbers[:6]
            assert (tmp_path / "out").read_text() == "seven\n"
        server.stop()


@EVERY_LIFE
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_begun_line_is_written_at_the_end(tmp_path: Path, options: list[str], number: int) -> None:
    with running(tmp_path, *options) as server:
        server.get("begun")
        assert server.stop(number) == 0
        assert server.log.count("a begun line") == 1


@EVERY_LIFE
def test_a_begun_line_is_written_at_a_reload(tmp_path: Path, options: list[str]) -> None:
    with running(tmp_path, *options) as server:
        before = server.log.count("spawned uwsgi_ws worker")
        server.get("begun")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("spawned uwsgi_ws worker", before + 1)
        server.wait_for("a begun line")
        server.get("again")
        assert "a print in again" in server.log
        server.stop()


@pytest.mark.parametrize("options", [[], ["--master"]], ids=["alone", "master"])
def test_a_child_does_not_repeat_a_begun_line(tmp_path: Path, options: list[str]) -> None:
    with running(tmp_path, *options) as server:
        server.get("fork")
        server.wait_for("of the parent")
        assert server.log.count("not twice") == 1
        assert "of the child" in server.log
        server.stop()


def test_the_streams_are_what_applications_expect(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert server.get("interface") == "[True, ['<stdout>', '<stderr>'], 'backslashreplace']"
        assert "\u20ac and \\udcff\nwith flush\n" in server.log
        assert server.get("own") == "captured\n"
        assert "captured" not in server.log
        server.get("after")
        assert "a print in after" in server.log
        server.stop()


def test_a_daemon_prints_into_its_log(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION.read_text())
    command = [*COMMAND, "--http", "a.sock", "--daemonize", "log", "--pidfile", "pid", "app.py"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, **ANYWHERE}, check=True, timeout=20)
    log = tmp_path / "log"
    eventually(lambda: log.exists() and "spawned uwsgi_ws worker" in log.read_text(), 20)
    pid = int((tmp_path / "pid").read_text())
    try:
        fetch(str(tmp_path / "a.sock"), "/order")
        assert "at import" in log.read_text()
        lines = log.read_text().split("a print in order\n")[1].splitlines()
        assert lines[:7] == ["one", "two", "three", "four", "five", "six", "seven"]
    finally:
        os.kill(pid, signal.SIGINT)
        eventually(lambda: "goodbye" in log.read_text(), 15)


@pytest.mark.parametrize("options", [[], ["--master"]], ids=["alone", "master"])
@pytest.mark.parametrize("end", ["raise ValueError(1)", "sys.exit(3)", "raise KeyboardInterrupt"])
def test_what_was_printed_before_the_application_failed_to_load_is_there(
    tmp_path: Path, options: list[str], end: str
) -> None:
    (tmp_path / "app.py").write_text(f"import sys\nprint('a line')\nprint('a begun line', end='')\n{end}\n")
    ended = subprocess.run(
        [*COMMAND, "--http", "a.sock", *options, "app.py"], cwd=tmp_path, capture_output=True, text=True, timeout=30,
        env={**os.environ, **ANYWHERE, "PYTHONUNBUFFERED": ""}, check=False,
    )  # fmt: skip
    assert ended.returncode
    assert "a line\n" in ended.stderr
    assert "a begun line" in ended.stderr
    assert ended.stdout == ""


def test_a_process_of_its_own_is_named_one(tmp_path: Path) -> None:
    """As process 1 of a container, without anybody who would have given it anything."""
    (tmp_path / "app.py").write_text(APPLICATION.read_text())
    unshare: Any = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0 or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a pid namespace")
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            [*unshare, *COMMAND, "--http", "a.sock", "app.py"], cwd=tmp_path, stderr=log, stdout=log,
            env={**os.environ, **ANYWHERE, "PYTHONUNBUFFERED": ""},
        )  # fmt: skip
    try:
        eventually(lambda: "spawned uwsgi_ws worker" in (tmp_path / "log").read_text(), 20)
        fetch(str(tmp_path / "a.sock"), "/x")
        assert "(pid: 1," in (tmp_path / "log").read_text()
        assert "a print in x\n" in (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()
