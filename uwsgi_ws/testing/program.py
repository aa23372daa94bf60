"""A server as a program of its own, as it is in production: one worker or several, its log in a file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uwsgi_ws.errors import OptionError
from uwsgi_ws.options import parse
from uwsgi_ws.testing.server import START, Server, ServerFailed
from uwsgi_ws.testing.words import FILES, file_for_test, listens, names_in

__all__ = ["Program"]

#: Seconds for each step of a program's end.
_END = 3.0
#: Seconds between two looks into a program's log. It is a file, as a pipe would need a thread here to empty it.
_LOOK = 0.01
#: Lines of the log that an error shows.
_SHOWN = 200

_BOUND = re.compile(r"(https?|socket|[a-z0-9-]+) (?:bound|activated) on (\S+?)(?::(\d+))? fd ")
_SPAWNED = re.compile(r"spawned uwsgi_ws worker (\d+)")

#: Ends a program when this process has gone without doing it: killed, or ended by a time limit of pytest's. It waits
#: for the end of its stdin, whose other end is here.
_GUARD = """
read -r _
kill -INT "$0" 2>/dev/null || exit
for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; kill -0 "$0" 2>/dev/null || exit; done
kill -KILL "$0"
"""

#: Options that have a program leave the test, or its log go elsewhere.
_ELSEWHERE = frozenset(("daemonize", "logto", "logto2", "logger", "log-socket", "log-syslog"))


class Program(Server):
    """A server as a process of its own.

    Args:
        target: A file, a module or a configuration file.
        words: Options.
        env: Variables to add to this process's environment; None takes one away.
        cwd: The directory to start in; this process's unless told.
        timeout: Seconds within which it serves.
    """

    def __init__(
        self,
        target: str,
        words: list[str],
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout: float = START,
    ) -> None:
        super().__init__(target)
        self._folder = tempfile.TemporaryDirectory(prefix="uwsgi_ws-")
        try:
            self._start(target, words, _environment(env), cwd)
        except BaseException:
            self._folder.cleanup()
            raise
        self._begin()
        try:
            self._wait(time.monotonic() + timeout)
        except BaseException:
            self.stop()
            raise

    def _start(self, target: str, words: list[str], environ: dict[str, str], cwd: Any) -> None:
        if elsewhere := names_in(words) & _ELSEWHERE:
            raise OptionError(f"--{min(elsewhere)}", "a test reads the log, and ends what it has started", "serve")
        if not listens(words):
            words = ["--http", "127.0.0.1:0", *words]
        if target.endswith(FILES):
            file = Path(self._folder.name, "test.ini")
            file.write_text(file_for_test(os.path.join(cwd or "", target), environ))
            words = [str(file), *words]
        else:
            if not names_in(words) & {"gevent", "threads"}:
                words = ["--gevent", "1000", *words]
            words = [*words, target]
        options = parse(words, environ, started_in=os.fspath(cwd or ""))  # so that what is wrong is told here
        self._workers = 0 if options.cheap else options.cheaper or options.processes
        command = [sys.executable, "-m", "uwsgi_ws", *words]
        self._file = Path(self._folder.name, "log")
        with self._file.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=cwd, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, str(self._process.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _wait(self, deadline: float) -> None:
        """Wait until all workers serve, and take note where."""
        while True:
            has_ended = self._process.poll() is not None
            log = self.log
            bound, spawned = _BOUND.search(log), set(_SPAWNED.findall(log))
            if bound is not None and len(spawned) >= self._workers:
                break
            if has_ended or time.monotonic() > deadline:
                why = f"has ended with status {self._process.returncode}" if has_ended else "does not serve in time"
                shown = "".join(log.splitlines(keepends=True)[-_SHOWN:])
                raise ServerFailed(f"{self.name}: the server {why}; its log:\n{shown}")
            time.sleep(_LOOK)
        self._is_secure = bound[1].startswith("https")
        self.host, self.port = bound[2], int(bound[3] or 0)
        if self.host in ("", "0.0.0.0", "[::]", "*"):
            self.host = "127.0.0.1"

    @property
    def log(self) -> str:
        """What the server and its application have written."""
        try:
            return self._file.read_text("utf-8", "backslashreplace")
        except FileNotFoundError:
            return self._last_log

    @property
    def pid(self) -> int:
        """See Server."""
        return self._process.pid

    def _end(self) -> None:
        process = self._process
        # A second SIGINT does not wait for requests.
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGKILL):
            if process.poll() is None:
                process.send_signal(number)
                try:
                    process.wait(_END)
                except subprocess.TimeoutExpired:
                    continue
        process.wait()
        self._guard.kill()
        self._guard.wait()
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._last_log = self.log
        self._folder.cleanup()


def _environment(changes: Mapping[str, str | None] | None) -> dict[str, str]:
    """Return a program's environment: it finds the modules that this process would find."""
    path = os.pathsep.join(os.path.abspath(each) for each in sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    for name, value in (changes or {}).items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment
