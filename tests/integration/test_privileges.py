"""A server that root starts and that becomes somebody else: all that it opened before is there at a reload and a stop.

Nobody must be able to run the interpreter, as a reload does.
"""

from __future__ import annotations

import os
import pwd
import re
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.eventually import eventually
from support.http_client import fetch
from support.server import ROOT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")

APPLICATION = """
import os
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"%d" % os.geteuid()]
"""


#: Where whatever runs the tests has the server and what it needs.
PATHS = f"{ROOT}:{sysconfig.get_path('purelib')}"


def interpreter() -> str | None:
    """One of our version that nobody may run, if they may also read what it has to import."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for path in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            command = [path, "-c", "import ssl, gevent, uwsgi_ws"]
            env = {"PYTHONPATH": PATHS}
            subprocess.run(command, capture_output=True, check=True, cwd="/", env=env, user="nobody", extra_groups=[])
        except (OSError, subprocess.CalledProcessError):
            continue
        return path
    return None


@pytest.fixture(scope="module")
def python() -> str:
    path = interpreter()
    if path is None:
        pytest.skip("nobody can run no interpreter of this version")
    return path


@pytest.fixture
def folder() -> Iterator[Path]:
    """One of root's that everybody may look into, as /var/log."""
    with tempfile.TemporaryDirectory(prefix="uwsgi_ws-") as name:
        os.chmod(name, 0o755)
        Path(name, "app.py").write_text(APPLICATION)
        yield Path(name)


class Instance:
    """A server that becomes nobody, and whose log is ``log`` in its folder, or another file there."""

    def __init__(self, python: str, folder: Path, *options: str, log: str = "log", cwd: Path | None = None) -> None:
        self.folder = folder
        self._log = folder / log
        env = {**os.environ, "PYTHONPATH": PATHS, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [python, "-m", "uwsgi_ws", "--http", str(folder / "a.sock"), "--uid", "nobody", "--gid", "nogroup"]
        with open(folder / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(
                [*command, *options], cwd=cwd or folder, stdin=subprocess.DEVNULL, stderr=stderr, env=env
            )

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def wait_for(self, text: str, times: int = 1) -> None:
        def has_come() -> bool:
            assert self.process.poll() is None, self.log + (self.folder / "stderr").read_text()
            return self.log.count(text) >= times

        eventually(has_come, 20)

    def answers(self) -> bool:
        return fetch(str(self.folder / "a.sock")).text == str(pwd.getpwnam("nobody").pw_uid)

    def reload(self) -> None:
        before = self.log.count("spawned uwsgi_ws worker")
        self.process.send_signal(signal.SIGHUP)
        self.wait_for("spawned uwsgi_ws worker", before + 1)
        eventually(self.answers)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(15) == 0, self.log


@contextmanager
def running(python: str, folder: Path, *options: str, log: str = "log", cwd: Path | None = None) -> Iterator[Instance]:
    os.chmod(folder, 0o755)
    instance = Instance(python, folder, *options, log=log, cwd=cwd)
    try:
        instance.wait_for("spawned uwsgi_ws worker")
        yield instance
    finally:
        if instance.process.poll() is None:
            instance.process.kill()
            instance.process.wait()


ALONE_OR_NOT = pytest.mark.parametrize("master", [[], ["--master"]], ids=["alone", "master"])


@ALONE_OR_NOT
@pytest.mark.parametrize(
    "options",
    [
        ["--logto", "log", "app.py"],
        ["--logto", "log", "--pidfile", "pid", "--safe-pidfile", "safe", "app.py"],
        ["--ini", "secret.ini"],
        ["--logto", "log", "--chdir", "."],
        ["--logto", "early", "--logto2", "theirs/log", "app.py"],
        ["--logto2", "theirs/log", "app.py"],
        ["--logto", "log", "--channel-socket", "c.sock", "--chmod-socket", "660", "--chown-socket", "nobody", "app.py"],
    ],
    ids=["logto", "pidfiles", "ini", "chdir", "logto and logto2", "logto2", "sockets"],
)
def test_it_starts_and_reloads_with_what_only_root_may_open(
    python: str, folder: Path, options: list[str], master: list[str]
) -> None:
    (folder / "secret.ini").write_text("[uwsgi]\nlogto = log\nwsgi-file = app.py\npidfile = pid\n")
    os.chmod(folder / "secret.ini", 0o600)
    (folder / "theirs").mkdir()
    os.chown(folder / "theirs", pwd.getpwnam("nobody").pw_uid, -1)
    log = "theirs/log" if "theirs/log" in options else "log"
    if "--chdir" in options:
        options = [*options, "--wsgi-file", str(folder / "app.py")]
    with running(python, folder, *options, *master, log=log) as server:
        eventually(server.answers)
        for name in ("pid", "safe"):
            if f"--{name}" in options or (folder / name).exists():
                eventually(lambda name=name: (folder / name).read_text() == f"{server.process.pid}\n")
        server.reload()
        server.reload()
        for name in ("pid", "safe"):
            if (folder / name).exists():
                assert (folder / name).read_text() == f"{server.process.pid}\n"
        server.stop()
        assert "Permission denied ***" not in server.log.replace("stays: Permission denied ***", "")
        assert server.log.rstrip().endswith("goodbye to uwsgi_ws.")


@ALONE_OR_NOT
def test_it_reloads_where_only_root_may_be(python: str, folder: Path, master: list[str]) -> None:
    """As in /root, root's home."""
    secret = folder / "secret"
    secret.mkdir(mode=0o700)
    (secret / "a.ini").write_text(f"[uwsgi]\nlogto = log\nchdir = {folder}\nwsgi-file = {folder}/app.py\n")
    with running(python, folder, "--ini", "a.ini", *master, log="secret/log", cwd=secret) as server:
        server.reload()
        server.reload()
        server.stop()


@ALONE_OR_NOT
def test_standard_error_stays_roots_pipe(python: str, folder: Path, master: list[str]) -> None:
    """Nobody may not open it, and yet a log that is not read holds up no client, after a reload, too."""
    fifo = folder / "log"
    os.mkfifo(fifo, 0o600)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY)
    os.rename(fifo, folder / "stderr")  # what Instance opens
    text = ""

    def read(pattern: str) -> bool:
        nonlocal text
        try:
            text += os.read(reader, 65_536).decode()
        except BlockingIOError:
            pass
        return len(re.findall(pattern, text)) > 0

    instance = Instance(python, folder, "app.py", *master)
    os.close(writer)
    try:
        eventually(lambda: read("spawned uwsgi_ws worker"), 20)
        text = ""
        instance.process.send_signal(signal.SIGHUP)
        eventually(lambda: read("spawned uwsgi_ws worker"), 20)
        for _ in range(2_000):
            assert instance.answers()
        eventually(lambda: (read("x") or True) and text.count("GET / ") == 2_000)
        instance.process.send_signal(signal.SIGTERM)
        eventually(lambda: read("goodbye"), 15)
        assert instance.process.wait(15) == 0
    finally:
        instance.process.kill()
        instance.process.wait()
        os.close(reader)


def test_a_log_that_was_moved_is_begun_anew_where_the_user_may(python: str, folder: Path) -> None:
    theirs = folder / "theirs"
    theirs.mkdir()
    os.chown(theirs, pwd.getpwnam("nobody").pw_uid, -1)
    options = ["--logto2", "theirs/log", "--master-fifo", "fifo", "app.py"]
    with running(python, folder, *options, log="theirs/log") as server:
        (theirs / "log").rename(theirs / "moved")
        (folder / "fifo").write_text("l")
        server.wait_for("the log has been opened again")
        assert server.answers()
        server.wait_for("GET / ")
        server.stop()


def test_a_log_that_cannot_be_begun_anew_goes_on_and_says_why(python: str, folder: Path) -> None:
    with running(python, folder, "--logto", "log", "--master-fifo", "fifo", "app.py") as server:
        (folder / "log").rename(folder / "moved")
        (folder / "fifo").write_text("l")
        moved = folder / "moved"
        eventually(lambda: "again: Permission denied; the log goes on where it was" in moved.read_text())
        assert server.answers()
        eventually(lambda: "GET / " in moved.read_text())
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "reloaded: new workers serve" in moved.read_text(), 20)
        server.stop()


def test_a_file_whose_change_the_user_cannot_see_is_told(python: str, folder: Path) -> None:
    (folder / "secret").mkdir(mode=0o700)
    (folder / "secret" / "trigger").touch()
    with running(python, folder, "--logto", "log", "--touch-reload", "secret/trigger", "app.py") as server:
        server.wait_for("WARNING: --touch-reload secret/trigger cannot be seen by user nobody")
        server.stop()


# Files that somebody has put in the way


def refused(python: str, folder: Path, *options: str) -> str:
    """Return what a server says that does not start."""
    command = [python, "-m", "uwsgi_ws", "--http", "127.0.0.1:0", *options, str(folder / "app.py")]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}"}
    ended = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode
    return ended.stderr


@pytest.mark.parametrize("option", ["--logto", "--daemonize", "--pidfile", "--logto2", "--safe-pidfile"])
@pytest.mark.parametrize("mode", [0o1777, 0o775, 0o755], ids=["sticky", "group", "own"])
def test_root_writes_through_no_link_in_a_folder_of_others(python: str, folder: Path, option: str, mode: int) -> None:
    others = folder / "others"
    others.mkdir()
    os.chown(others, *((0, 0) if mode == 0o1777 else (1, 1) if mode == 0o755 else (0, 1)))
    os.chmod(others, mode)
    precious = folder / "precious"
    precious.write_text("precious")
    (others / "link").symlink_to(precious)
    (others / "hard").hardlink_to(precious)
    (others / "way").symlink_to(folder)
    os.lchown(others / "way", 1, 1)
    (others / "foreign").write_text("")
    os.chown(others / "foreign", 2, 2)
    for name, why in (
        ("link", "'link' is a symbolic link"),
        ("hard", "'hard' is a hard link"),
        ("way/precious", "'way' is a symbolic link"),
        ("foreign", r"'foreign' belongs to another user \(uid 2\)"),
    ):
        if name == "foreign" and Path("/proc/sys/fs/protected_regular").read_text().strip() != "0":
            continue  # the kernel refuses it
        said = refused(python, folder, option, str(others / name), "--uid", "root")
        assert re.search(f"{option}.*{others / name}.*{why}.*, in a folder that others than root may write to", said)
    assert precious.read_text() == "precious"
    assert (others / "link").is_symlink()


def test_what_is_roots_own_may_be_a_link(python: str, folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "way").symlink_to("real")
    (folder / "link").symlink_to("way/log")
    with running(python, folder, "--logto", "link", "--pidfile", "way/pid", "app.py", log="real/log") as server:
        assert stat.S_ISREG((folder / "real/log").lstat().st_mode)
        assert (folder / "real/pid").exists()
        server.stop()


def test_in_a_folder_for_everybody_the_users_own_log_is_gone_on_with(python: str, folder: Path) -> None:
    (folder / "tmp").mkdir()
    os.chmod(folder / "tmp", 0o1777)
    (folder / "tmp/log").write_text("before\n")
    os.chown(folder / "tmp/log", pwd.getpwnam("nobody").pw_uid, -1)
    options = ["--logto", "tmp/log", "--pidfile", "tmp/pid", "app.py"]
    with running(python, folder, *options, log="tmp/log") as server:
        assert server.log.startswith("before\n")
        server.reload()
        server.stop()


@pytest.mark.parametrize("name", ["/dev/stderr", "/dev/stdout", "/proc/self/fd/2"])
def test_a_log_may_be_a_descriptor(python: str, folder: Path, name: str) -> None:
    command = [python, "-m", "uwsgi_ws", "--http", str(folder / "a.sock"), "--logto", name, str(folder / "app.py")]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}"}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    try:
        assert any(b"spawned uwsgi_ws worker" in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        assert b"goodbye" in process.stdout.read()
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@ALONE_OR_NOT
def test_loggers_go_on_in_what_root_has_opened_and_say_why_they_cannot_rotate(
    python: str, folder: Path, master: list[str]
) -> None:
    files = ["--logger", "stdio", "--logger", "file:logfile=a.log,maxsize=300", "--req-logger", "fifo:requests"]
    with running(python, folder, "--logto", "log", *files, *master, "app.py") as instance:
        reader = os.open(folder / "requests", os.O_RDONLY | os.O_NONBLOCK)
        instance.reload()
        eventually(lambda: (folder / "a.log").read_text().count("spawned uwsgi_ws worker") == 2)
        instance.wait_for(f"*** cannot rename '{folder}/a.log': Permission denied ***")
        with open(reader, "rb") as requests:
            eventually(lambda: b"GET / => " in (requests.read() or b""))
        instance.stop()
        assert "GET / => " not in instance.log


@pytest.mark.parametrize("options", [["--logto", "log"], ["--logger", "stdio", "--logger", "file:log"]])
def test_a_log_may_be_given_to_the_user(python: str, folder: Path, options: list[str]) -> None:
    with running(python, folder, *options, "--logfile-chown", "--logfile-chmod", "600", "app.py") as instance:
        info = (folder / "log").stat()
        assert (info.st_uid, info.st_mode & 0o777) == (pwd.getpwnam("nobody").pw_uid, 0o600)
        instance.stop()
