"""What people who run services do: files that ask for a reload, fifos, systemd, daemons, users and permissions."""

from __future__ import annotations

import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.server import Program, Server, ServerFailed
from support.workers import ANYWHERE, APPLICATION, address, all_workers, crew, is_alive, wait_for_workers, who

COMMAND = (sys.executable, "-m", "uwsgi_ws")
NO_ADDRESS = Program(COMMAND, r"spawned uwsgi_ws worker")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")


# Files that ask for a reload


def test_touching_a_file_reloads(serve_many: Any, tmp_path: Path) -> None:
    trigger = tmp_path / "trigger"
    server = serve_many(APPLICATION, "--touch-reload", str(trigger), processes=1)
    before = who(server)
    trigger.touch()
    server.wait_for_log(f"{trigger} has been touched", 10)
    wait_for_workers(server, 2)
    eventually(lambda: who(server) != before)


def test_a_changed_module_reloads_and_a_broken_one_can_be_mended(serve_many: Any, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("VALUE = 1\n")
    (tmp_path / "app.py").write_text(APPLICATION.read_text() + "import helper\nVERSION = helper.VALUE\n")
    options = ["--wsgi-file", "app.py", "--py-autoreload", "0.1"]
    server = serve_many(None, *options, processes=1, cwd=tmp_path, env=ANYWHERE, allow_traceback=True)
    (tmp_path / "helper.py").write_text("VALUE = = 2\n")
    server.wait_for_log("reload failed", 10)
    assert fetch(address(server)).text.endswith(" 1")
    (tmp_path / "helper.py").write_text("VALUE = 22\n")
    eventually(lambda: fetch(address(server)).text.endswith(" 22"), 10)


# The fifo


def test_letters_in_a_fifo_are_orders(serve_many: Any, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    server = serve_many(APPLICATION, "--master-fifo", str(fifo))
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    before = all_workers(server, 2)
    fifo.write_text("r\n")
    wait_for_workers(server, 4)
    eventually(lambda: not any(is_alive(pid) for pid in before), 10)
    assert server.log.count("loaded by worker 0") == 2
    again = all_workers(server, 2)
    fifo.write_text("w")
    wait_for_workers(server, 6)
    eventually(lambda: not any(is_alive(pid) for pid in again), 10)
    assert server.log.count("loaded by worker 0") == 2  # replaced, without loading again
    fifo.write_text("s?+")
    status = r"worker 2 \(pid: [0-9]+\): idle, [0-9]+ requests, 0 connections, [0-9]+ MiB"
    server.wait_for_log(status)
    os.kill(server.pid, signal.SIGUSR1)
    server.wait_for_log(rf"{status}(?s:.+){status}")
    server.wait_for_log(r"'\?' has no effect, it is not known")
    server.wait_for_log(r"'\+' has no effect, the number of workers is that of --processes")
    fifo.write_text("q")
    assert server.wait() == 0
    assert not fifo.exists()


def test_new_clients_wait_during_a_pause_and_those_there_are_served(serve_many: Any, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    server = serve_many(APPLICATION, "--master-fifo", str(fifo))

    def waits() -> HttpClient | None:
        client = HttpClient(address(server))
        client.send_request("GET", "/")
        if client.is_silent(0.2):
            return client
        client.close()
        return None

    with HttpClient(address(server)) as before:
        pid = int(before.request("GET", "/").text.split()[0])
        fifo.write_text("p")
        with eventually(waits) as one:
            assert before.request("GET", "/").status == 200
            os.kill(pid, signal.SIGKILL)  # who comes instead accepts nobody either
            wait_for_workers(server, 3)
            with eventually(waits) as another:
                assert one.is_silent(0.2)
                fifo.write_text("p")
                assert (one.read_response().status, another.read_response().status) == (200, 200)


def test_a_log_that_was_moved_is_begun_anew_by_everybody(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION.read_text())
    log, fifo, pidfile = (tmp_path / name for name in ("log", "fifo", "pid"))
    options = ["--http", "a.sock", "-p", "2", "--logto", "log", "--master-fifo", "fifo", "--safe-pidfile", "pid"]
    process = subprocess.Popen([*COMMAND, *options, "app.py"], cwd=tmp_path, env={**os.environ, **ANYWHERE})

    def writers() -> set[int]:
        """The workers whose access lines are in the log."""
        fetch(str(tmp_path / "a.sock"))
        return {int(pid) for pid in re.findall(r"^\[pid: ([0-9]+)", log.read_text(), re.MULTILINE)}

    try:
        eventually(pidfile.exists, 20)
        old = eventually(lambda: len(found := writers()) == 2 and found, 20)
        log.rename(tmp_path / "moved")
        fifo.write_text("l")
        eventually(log.exists)
        eventually(lambda: writers() == old, 20)
        os.kill(min(old), signal.SIGKILL)  # whoever is forked now writes there as well
        eventually(lambda: "spawned uwsgi_ws worker" in log.read_text(), 20)
        fifo.write_text("L")
        (rotated,) = eventually(lambda: [*tmp_path.glob("log.[0-9]*")])
        assert "spawned uwsgi_ws worker" in rotated.read_text()
        eventually(lambda: log.exists() and len(writers()) == 2, 20)
        pidfile.unlink()
        fifo.write_text("P")
        eventually(pidfile.exists)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert "goodbye" in log.read_text()
    assert "goodbye" not in (tmp_path / "moved").read_text()


def test_a_fifo_is_not_put_in_place_of_a_file(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(ServerFailed, match=r"--master-fifo: .* is there, and no fifo"):
        serve(APPLICATION, "--master-fifo", str(tmp_path / "precious"))
    assert (tmp_path / "precious").read_text() == "mine"


# systemd


class Systemd:
    """The socket that sd_notify(3) writes to."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "notify")
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(self.path)
        self._sock.settimeout(20)

    def hear(self, assignment: str) -> dict[str, str]:
        """Wait for a message with this assignment; return all of its."""
        while True:
            lines = self._sock.recv(4096).decode().splitlines()
            if assignment in lines:
                return dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        self._sock.close()


@pytest.mark.parametrize("options", [[], ["--master"]], ids=["alone", "master"])
def test_systemd_is_told_of_start_reload_and_end(serve: Any, tmp_path: Path, options: list[str]) -> None:
    systemd = Systemd(tmp_path)
    try:
        server = serve(APPLICATION, *options, env={"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "1000000"})
        assert systemd.hear("READY=1")["MAINPID"] == str(server.pid)
        if options:
            systemd.hear("WATCHDOG=1")
        os.kill(server.pid, signal.SIGHUP)
        assert int(systemd.hear("RELOADING=1")["MONOTONIC_USEC"]) > 0
        systemd.hear("READY=1")
        os.kill(server.pid, signal.SIGINT)
        systemd.hear("STOPPING=1")
    finally:
        systemd.close()


# Becomes what systemd starts: descriptors from 3 on, and variables that name their number and its own process.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "uwsgi_ws", *sys.argv[2:]])
"""


@pytest.mark.parametrize("options", [[], ["--master"]], ids=["alone", "master"])
@pytest.mark.parametrize("is_named", [True, False], ids=["named", "not named"])
def test_sockets_of_systemd_are_served(tmp_path: Path, options: list[str], is_named: bool) -> None:
    (tmp_path / "app.py").write_text(APPLICATION.read_text())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        fd = listening.fileno()
        named = ["--http", f"127.0.0.1:{port}"] if is_named else []
        process = subprocess.Popen(
            [sys.executable, "-c", ACTIVATE, str(fd), *named, *options, "app.py"],
            cwd=tmp_path,
            env={**os.environ, **ANYWHERE},
            pass_fds=[fd],
            stderr=subprocess.DEVNULL,
        )
    try:
        # The connection waits in the kernel until somebody serves it.
        assert fetch(("127.0.0.1", port)).status == 200
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


# Names


def command_lines(server: Server, count: int = 1) -> list[str]:
    return sorted(Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0") for pid in crew(server, count))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--auto-procname"], ["uwsgi_ws fork server", "uwsgi_ws master", "uwsgi_ws worker 1", "uwsgi_ws worker 2"]),
        (["--procname", "hand"], ["hand"] * 4),
        (["--procname", "hand", "--procname-master", "boss"], ["boss", "hand", "hand", "hand"]),
        (
            ["--procname-master", "boss", "--procname-prefix-spaced", "shop:", "--procname-append", " (eu)"],
            ["shop: boss (eu)", *(f"shop: uwsgi_ws {part} (eu)" for part in ("fork server", "worker 1", "worker 2"))],
        ),
    ],
)
def test_processes_are_called_as_they_shall(serve_many: Any, options: list[str], names: list[str]) -> None:
    server = serve_many(APPLICATION, *options)
    assert command_lines(server, 4) == names
    assert Path(f"/proc/{server.pid}/comm").read_text().strip() in [name[:15] for name in names]
    assert fetch(address(server)).status == 200


def test_a_name_is_cut_where_the_typed_command_line_ended(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "long.ini").write_text(f"[uwsgi]\nprocname = {'x' * 10_000}\n")
    server = serve(APPLICATION, str(tmp_path / "long.ini"))
    assert command_lines(server) == ["x" * len(server.name)]
    assert Path(f"/proc/{server.pid}/environ").read_text().startswith(f"{next(iter(os.environ))}=")


def test_a_name_does_not_outlive_a_reload_that_starts_the_program_again(serve: Any) -> None:
    server = serve(APPLICATION, "--procname", "alone")
    os.kill(server.pid, signal.SIGHUP)
    server.wait_for_log("still bound on", 20)
    wait_for_workers(server, 2)
    assert command_lines(server) == ["alone"]
    assert fetch(address(server)).status == 200


# Files, users and daemons


def test_a_daemon_lives_on_without_whoever_started_it(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION.read_text())
    options = ["--http", "a.sock", "-p", "2", "--daemonize", "log", "--safe-pidfile", "pid", "app.py"]
    ended = subprocess.run(
        [*COMMAND, *options], cwd=tmp_path, env={**os.environ, **ANYWHERE}, capture_output=True, timeout=20, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    eventually(lambda: (tmp_path / "pid").exists(), 20)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert fetch(str(tmp_path / "a.sock")).status == 200
        assert os.getsid(pid) != os.getsid(0)
        assert "spawned uwsgi_ws worker 2" in (tmp_path / "log").read_text()
    finally:
        os.kill(pid, signal.SIGINT)
        eventually(lambda: not is_alive(pid), 20)
    assert not (tmp_path / "pid").exists()
    assert not (tmp_path / "a.sock").exists()


def test_a_daemon_that_cannot_log_says_so(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, "--http", ":0", "--daemonize", "missing/log"], cwd=tmp_path, env={**os.environ, **ANYWHERE},
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "--daemonize: cannot open 'missing/log'" in ended.stderr


@AS_ROOT
@pytest.mark.parametrize(
    "options",
    [["--uid", "nobody"], ["-p", "2"]],  # under a master nobody must be able to read what is loaded after it
    ids=["alone", "master"],
)
def test_another_user_is_become_after_listening(serve: Any, tmp_path: Path, options: list[str]) -> None:
    nobody = pwd.getpwnam("nobody")
    path = tmp_path / "a.sock"
    more = ["--gid", str(nobody.pw_gid), "--chmod-socket", "600", "--chown-socket", "nobody"]
    server: Server = serve(None, "--http", str(path), "--module", "examples.seed", *more, *options, program=NO_ADDRESS)
    wait_for_workers(server, 2 if "-p" in options else 1)
    info = path.stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid) == (0o600, nobody.pw_uid)
    for pid in crew(server, 4 if "-p" in options else 1):
        status = Path(f"/proc/{pid}/status").read_text()
        assert f"Gid:\t{nobody.pw_gid}\t{nobody.pw_gid}\t" in status
        if "--uid" in options:
            assert f"Uid:\t{nobody.pw_uid}\t{nobody.pw_uid}\t" in status
            assert "Groups:\t0" not in status


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--uid", "no-such-user"], "--uid: there is no user 'no-such-user'"),
        (["--gid", "no-such-group"], "--gid: there is no group 'no-such-group'"),
        (["--chmod-socket", "rw"], "--chmod-socket: 'rw' is not of the form 660"),
    ],
)
def test_a_user_or_mode_that_is_not_is_named(serve: Any, options: list[str], words: str) -> None:
    with pytest.raises(ServerFailed, match=words):
        serve(APPLICATION, *options)
