"""A server as a process of its own, the way its users run it.

``Server`` starts ``python -m uwsgi_ws`` on a free port, waits until a worker says that it is there, and keeps
what it logs. With ``program=UWSGI`` the same tests run against real uWSGI, to compare.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
APPLICATIONS = ROOT / "tests/applications"  # those that are too long to stand beside their tests

START_DEADLINE = 20.0  # seconds; generous, for machines that run many things at once
STOP_DEADLINE = 10.0

# An OSError that leaves the application is how a uWSGI loop ends when its client goes: no fault.
CLIENT_GONE = re.compile(r"^(?:OSError|IOError|uwsgi_ws\.errors\.ConnectionClosed|uwsgi_ws\.ConnectionClosed)\b")


@dataclass(frozen=True)
class Program:
    """A command to start.

    Args:
        command: Its words.
        ready: The line of its log that says that it serves.
        application: Returns how it is told of an application's file.
    """

    command: tuple[str, ...]
    ready: str
    application: Callable[[Path], tuple[str, ...]] = lambda path: ("--wsgi-file", str(path))


UWSGI_WS = Program((sys.executable, "-m", "uwsgi_ws", "--http", "127.0.0.1:0"), r"spawned uwsgi_ws worker")
HTTP2_SOCKET = Program((*UWSGI_WS.command[:3], "--http2-socket", "127.0.0.1:0"), UWSGI_WS.ready)
#: How applications run unless a test says otherwise.
GREENLETS = ("--gevent", "1000")
UWSGI = Program(("uwsgi", "--http-socket", "127.0.0.1:0", "--gevent", "100"), r"spawned uWSGI worker")

BOUND = re.compile(r"(?:bound on |bound to TCP address |Listening at: https?://)(\S+):(\d+)")


def free_port() -> int:
    """Return a port that nobody listens at; another program may still come first."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class ServerFailed(AssertionError):
    """The process ended, or did not say in time that it serves."""


class Server:
    """A running server. Its process, its log thread and its temporary files are gone after ``stop``.

    Args:
        application: The file of an application, the text of a short one, or None when the options name it.
        options: Further options, after ``--http`` and ``--wsgi-file``.
        env: Variables to add to this process's environment; None takes one away.
        cwd: The folder to start in; the checkout's root unless told.
        program: ``UWSGI_WS``, ``UWSGI``, or another command line.
        concurrency: Options for how applications run; left out where ``options`` have one, or the program is another.
        deadline: Seconds within which it serves.
    """

    def __init__(
        self,
        application: Path | str | None = None,
        *options: str,
        env: Mapping[str, str | None] | None = None,
        cwd: Path = ROOT,
        program: Program = UWSGI_WS,
        concurrency: Sequence[str] = GREENLETS,
        deadline: float = START_DEADLINE,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="uwsgi_ws-test-")
        self._lines: list[str] = []
        self.killed = False  # it did not end in time when it was asked to
        self._ended = False  # the log has come to its end
        self._changed = threading.Condition()
        command = [*program.command, *self._application_options(application, program), *options]
        if program.command[1:3] == UWSGI_WS.command[1:3] and not {"--gevent", "--threads"}.intersection(options):
            command += concurrency
        self.name = " ".join(command)
        try:
            self._process = subprocess.Popen(
                command, cwd=cwd, env=_environment(env), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        except OSError:
            self._folder.cleanup()
            raise
        self._reader = threading.Thread(target=self._collect, name="server log", daemon=True)
        self._reader.start()
        try:
            self.wait_for_log(program.ready, deadline)
        except AssertionError:
            status = self.stop()
            raise ServerFailed(f"{self.name}\nexit status {status}; its log:\n{self.log}") from None

    def _application_options(self, application: Path | str | None, program: Program) -> Sequence[str]:
        if application is None:
            return ()
        if isinstance(application, str):
            source, application = application, Path(self._folder.name, "app.py")
            application.write_text(source, encoding="utf-8")
        return program.application(application)

    def _collect(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._changed:
                self._lines.append(line.decode("utf-8", "backslashreplace"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def pid(self) -> int:
        """The process that was started: the master where there is one."""
        return self._process.pid

    @property
    def log(self) -> str:
        """All of stderr so far."""
        with self._changed:
            return "".join(self._lines)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The TCP addresses it listens at, in the order of the log, without ports that are not chosen yet (0)."""
        return [(host, int(port)) for host, port in BOUND.findall(self.log) if port != "0"]

    @property
    def port(self) -> int:
        return self.addresses[0][1]

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def ws_url(self, path: str = "/") -> str:
        return f"ws://127.0.0.1:{self.port}{path}"

    def wait_for_log(self, pattern: str, deadline: float = 5.0) -> re.Match[str]:
        """Return the first match of ``pattern`` in the log, past or to come within ``deadline`` seconds."""
        expression = re.compile(pattern, re.MULTILINE)
        end = time.monotonic() + deadline
        with self._changed:
            while True:
                text = "".join(self._lines)
                match = expression.search(text)
                if match:
                    return match
                left = end - time.monotonic()
                if self._ended or left <= 0:
                    why = "the process has ended" if self._ended else f"{deadline} s have passed"
                    raise AssertionError(f"nothing in the log matches {pattern!r}, and {why}; the log:\n{text}")
                self._changed.wait(left)

    def stop(self, signal_number: int = signal.SIGINT, deadline: float = STOP_DEADLINE) -> int:
        """Ask the process to end, kill it after ``deadline`` seconds, and return its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal_number)
        return self.wait(deadline)

    def wait(self, deadline: float = STOP_DEADLINE) -> int:
        """Wait for the process to end, kill it after ``deadline`` seconds, and return its exit status."""
        try:
            status = self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.killed = True
            self._process.kill()
            status = self._process.wait()
        self._reader.join(deadline)  # longer only if a process it left behind holds the other end
        if self._process.stderr is not None and not self._reader.is_alive():
            self._process.stderr.close()
        self._folder.cleanup()
        return status

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def _environment(changes: Mapping[str, str | None] | None) -> dict[str, str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    for name, value in (changes or {}).items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment


def faults(log: str) -> list[str]:
    """Return the tracebacks in a log, except those of a loop whose client has gone."""
    found = []
    lines = iter(log.splitlines())
    for line in lines:
        if "Traceback (most recent call last)" not in line:
            continue
        block = [line]
        for inner in lines:
            block.append(inner)
            if inner and not inner[0].isspace():
                break
        if not CLIENT_GONE.match(block[-1]):
            found.append("\n".join(block))
    return found


def finish(server: Server, allow_traceback: bool) -> None:
    """Stop a server and look at what it leaves in its log."""
    server.stop()
    sys.stderr.write(f"log of {server.name}\n{server.log}")  # pytest shows it when the test fails
    assert not server.killed, "the server did not end when it was asked to"
    if not allow_traceback:
        found = faults(server.log)
        assert not found, "the server logged a traceback:\n" + "\n".join(found)
