"""Who reads the log, and who does not: a log that stands still delays no client, and says later what it has lost."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.workers import ANYWHERE, children

COMMAND = (sys.executable, "-m", "uwsgi_ws")

# /print/N prints N lines of 100 bytes, /close closes the standard descriptors, /fork has a child print.
APPLICATION = """
import os, sys
def application(environ, start_response):
    what, _, number = environ["PATH_INFO"].strip("/").partition("/")
    if what == "print":
        for i in range(int(number)):
            print("%08d" % i + "." * 91)
    elif what == "close":
        for fd in (0, 1, 2):
            os.close(fd)
    elif what == "fork":
        pid = os.fork()
        if not pid:
            for i in range(int(number)):
                print("%08d" % i + "." * 91)
            os._exit(0)
        os.waitpid(pid, 0)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""


class Log:
    """A log that is read when the test says so."""

    def __init__(self, reader: int) -> None:
        self.reader = reader
        os.set_blocking(reader, False)
        self.text = ""

    def read(self) -> str:
        """Return all that has come so far."""
        with suppress(OSError):  # nothing has come, or a terminal's last writer is gone
            while data := os.read(self.reader, 65_536):
                self.text += data.decode()
        return self.text

    def wait_for(self, pattern: str, deadline: float = 10.0) -> re.Match[str]:
        return eventually(lambda: re.search(pattern, self.read(), re.MULTILINE), deadline)


@contextmanager
def pipe_log() -> Iterator[tuple[Log, int]]:
    reader, writer = os.pipe()
    yield Log(reader), writer
    os.close(reader)


@contextmanager
def socket_log() -> Iterator[tuple[Log, int]]:
    """As systemd's journal."""
    reader, writer = socket.socketpair()
    yield Log(reader.fileno()), writer.detach()
    reader.close()


@contextmanager
def terminal_log() -> Iterator[tuple[Log, int]]:
    reader, writer = os.openpty()
    yield Log(reader), writer
    os.close(reader)


LOGS = pytest.mark.parametrize("kind", [pipe_log, socket_log, terminal_log])
ALONE_OR_NOT = pytest.mark.parametrize("options", [[], ["-p", "2"], ["--threads", "4"]], ids=["alone", "-p", "threads"])


@contextmanager
def serving(folder: Path, log: Log, stderr: int, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a server; yields its process and the path of its unix socket."""
    (folder / "app.py").write_text(APPLICATION)
    process = subprocess.Popen(
        [*COMMAND, "--http", "a.sock", *options, "app.py"], cwd=folder, stderr=stderr, stdin=subprocess.DEVNULL,
        env={**os.environ, **ANYWHERE},
    )  # fmt: skip
    try:
        log.wait_for("spawned uwsgi_ws worker", 20)
        yield process, str(folder / "a.sock")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            eventually(lambda: log.read() is not None and process.poll() is not None, 10)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def drops(text: str) -> int:
    return sum(int(number) for number in re.findall(r"\*\*\* ([0-9]+) lines? w[a-z]+ dropped", text))


@ALONE_OR_NOT
@LOGS
def test_a_log_that_nobody_reads_delays_no_client(tmp_path: Path, kind: Any, options: list[str]) -> None:
    with kind() as (log, stderr), serving(tmp_path, log, stderr, *options) as (_, path):
        before = fcntl.fcntl(stderr, fcntl.F_GETFL)
        assert not before & os.O_NONBLOCK  # others who write there, such as we, have not asked for it
        os.close(stderr)
        for number in range(6):
            # A terminal and a socket make more of a line than a pipe, and each process has its own buffer.
            assert fetch(path, f"/print/{5_000 + number}").status == 200
        for _ in range(50):
            assert fetch(path).status == 200
        log.wait_for("dropped: the log could not be written")
        eventually(lambda: fetch(path, "/the-end").status == 200 and "/the-end" in log.read())


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_no_line_is_lost_but_those_that_are_counted(
    tmp_path: Path, unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with pipe_log() as (log, stderr), serving(tmp_path, log, stderr) as (_, path):
        os.close(stderr)
        assert fetch(path, "/print/30000").status == 200
        log.wait_for("dropped")
        eventually(lambda: fetch(path, "/the-end").status == 200 and "/the-end" in log.read())
        text = log.read().replace("\r", "").partition("[pid: ")[0]
        shown = [int(number) for number in re.findall(r"^([0-9]{8})\.{91}$", text, re.MULTILINE)]
        assert len(shown) + drops(text) == 30_001  # its access line was dropped, too
        assert shown == sorted(shown)
        assert shown[0] == 0


def test_a_log_that_is_read_late_loses_nothing_of_what_has_room(tmp_path: Path) -> None:
    with pipe_log() as (log, stderr), serving(tmp_path, log, stderr) as (_, path):
        os.close(stderr)
        assert fetch(path, "/print/5000").status == 200
        log.wait_for("GET /print/5000")
        text = log.read()
        assert re.findall(r"^([0-9]{8})\.{91}$", text, re.MULTILINE) == [f"{number:08}" for number in range(5_000)]
        assert drops(text) == 0


@pytest.mark.parametrize("options", [[], ["--master"]], ids=["alone", "master"])
def test_what_waits_is_written_at_the_end(tmp_path: Path, options: list[str]) -> None:
    with pipe_log() as (log, stderr), serving(tmp_path, log, stderr, *options) as (process, path):
        os.close(stderr)
        assert fetch(path, "/print/5000").status == 200
        process.send_signal(signal.SIGINT)
        log.wait_for("goodbye to uwsgi_ws")
        assert log.read().count("." * 91) == 5_000


def test_what_waits_is_written_at_a_reload(tmp_path: Path) -> None:
    with pipe_log() as (log, stderr), serving(tmp_path, log, stderr) as (process, path):
        os.close(stderr)
        assert fetch(path, "/print/5000").status == 200
        process.send_signal(signal.SIGHUP)
        eventually(lambda: log.read().count("spawned uwsgi_ws worker") == 2, 20)
        assert log.read().count("." * 91) == 5_000
        assert fetch(path, "/print/20000").status == 200  # and the next program waits for nobody either
        log.wait_for("dropped: the log could not be written")


@pytest.mark.parametrize("options", [[], ["--master"]], ids=["alone", "master"])
def test_an_end_waits_for_nobody_for_long(tmp_path: Path, options: list[str]) -> None:
    with pipe_log() as (log, stderr), serving(tmp_path, log, stderr, *options) as (process, path):
        os.close(stderr)
        assert fetch(path, "/print/30000").status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_process_that_the_application_forks_waits_for_a_reader_but_not_for_ever(tmp_path: Path) -> None:
    with pipe_log() as (log, stderr), serving(tmp_path, log, stderr) as (_, path):
        os.close(stderr)
        assert fetch(path, "/fork/30000").status == 200
        log.wait_for("GET /fork/30000")
        lines = re.findall(r"^([0-9]{8})\.{91}$", log.read(), re.MULTILINE)
        assert lines == sorted(set(lines))


@pytest.mark.parametrize("options", [[], ["-p", "2"]], ids=["alone", "-p"])
def test_a_fifo_need_not_have_a_reader(tmp_path: Path, options: list[str]) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "app.py").write_text(APPLICATION)
    command = [*COMMAND, "--http", "a.sock", "--logto", "fifo", "--safe-pidfile", "pid", *options, "app.py"]
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **ANYWHERE}, stdin=subprocess.DEVNULL)
    path = str(tmp_path / "a.sock")
    try:
        eventually((tmp_path / "pid").exists, 20)
        for _ in range(4):
            assert fetch(path, "/print/10000").status == 200
        log = Log(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
        log.wait_for("dropped: the log could not be written")
        assert "spawned uwsgi_ws worker" in log.read()  # the first lines have waited in the fifo
        process.send_signal(signal.SIGINT)
        eventually(lambda: log.read() is not None and process.poll() is not None, 15)
        assert "goodbye to uwsgi_ws" in log.read()
        os.close(log.reader)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_reader_that_comes_back_gets_the_count_of_what_it_has_missed(tmp_path: Path) -> None:
    """A full disk and a reader that has gone are the same: lines are lost, and no client."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    first = Log(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
    with serving(tmp_path, first, os.open(fifo, os.O_WRONLY)) as (process, path):
        os.close(first.reader)
        for _ in range(20):
            assert fetch(path).status == 200
        first.reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        assert fetch(path).status == 200
        first.wait_for(r"^\*\*\* [0-9]+ lines were dropped")
        process.send_signal(signal.SIGINT)
        first.wait_for("goodbye")
    os.close(first.reader)


# Descriptors


@pytest.mark.parametrize("options", [[], ["--master"], ["--logto", "log"]], ids=["alone", "master", "--logto"])
def test_an_application_that_closes_its_standard_descriptors_harms_neither_clients_nor_the_log(
    tmp_path: Path, options: list[str]
) -> None:
    with pipe_log() as (log, stderr), ExitStack() as stack:
        if "--logto" in options:
            os.close(stderr)
            (tmp_path / "log").touch()
            log.reader, stderr = os.open(tmp_path / "log", os.O_RDONLY), os.open(os.devnull, os.O_WRONLY)
        _, path = stack.enter_context(serving(tmp_path, log, stderr, *options))
        os.close(stderr)
        assert fetch(path, "/close").status == 200
        clients = [HttpClient(path) for _ in range(5)]
        for number, client in enumerate(clients):
            response = client.request("GET", f"/print/{number}")
            assert response.text.isdigit()
        for client in clients:
            assert client.is_silent(0.05)
            client.close()
        eventually(lambda: log.read().count("." * 91) == 10)
        assert log.read().count("GET /print/") == 5


def test_a_log_without_a_descriptor_is_no_log_and_no_client_gets_the_number(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION)
    shell = 'exec "$@" <&- >&- 2>&-'
    command = ["sh", "-c", shell, "sh", *COMMAND, "--http", "a.sock", "--safe-pidfile", "pid", "app.py"]
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **ANYWHERE})
    try:
        eventually((tmp_path / "pid").exists, 20)
        assert fetch(str(tmp_path / "a.sock"), "/print/5").text == str(process.pid)
        assert [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in (0, 1, 2)] == ["/dev/null"] * 3
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_programs_that_the_application_starts_do_not_inherit_the_log(tmp_path: Path) -> None:
    with pipe_log() as (log, stderr), serving(tmp_path, log, stderr, "--master") as (process, _):
        os.close(stderr)
        for pid in eventually(lambda: (found := children(process.pid)) and len(found) == 2 and found):
            numbers = {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
            own = max(numbers)
            assert own >= 900
            assert is_closed_on_exec(pid, own)


def is_closed_on_exec(pid: int, fd: int) -> bool:
    flags = re.search(r"^flags:\s*([0-7]+)", Path(f"/proc/{pid}/fdinfo/{fd}").read_text(), re.MULTILINE)
    assert flags is not None
    return bool(int(flags[1], 8) & os.O_CLOEXEC)
