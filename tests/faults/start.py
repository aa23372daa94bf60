"""Each system call with which a server starts fails in turn: ``make faults ARGS=--start``.

strace starts the server and has the n-th call of a kind fail. It counts in each process for itself, so a worker that is
started again meets the same fault again. What the interpreter, its modules and libc call is left out: it is not ours.

Either the server serves, or it ends soon, with a status that is not 0 and a line that says why. It never hangs, starts
workers without end, or leaves a process, a pidfile, a socket or a FIFO behind.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from support.eventually import eventually
from support.http_client import HttpClient
from support.server import ROOT, free_port

from faults.outcomes import Outcome

#: What fails, and with what.
START_CALLS: dict[str, tuple[str, ...]] = {
    "openat": ("EMFILE", "EACCES"),
    "socket": ("EMFILE",),
    "setsockopt": ("ENOMEM",),
    "bind": ("EADDRINUSE", "EACCES"),
    "listen": ("EADDRINUSE",),
    "getsockname": ("ENOBUFS",),
    "getsockopt": ("ENOBUFS",),
    "fcntl": ("EMFILE",),
    "dup2": ("EBUSY",),
    "dup3": ("EBUSY",),
    "pipe2": ("EMFILE",),
    "socketpair": ("EMFILE",),
    "epoll_create1": ("EMFILE",),
    "eventfd2": ("EMFILE",),
    "timerfd_create": ("EMFILE",),
    "memfd_create": ("EMFILE",),
    "ftruncate": ("ENOSPC",),
    "mknodat": ("ENOSPC",),
    "clone": ("EAGAIN",),
    "clone3": ("EAGAIN",),
    "prctl": ("EINVAL",),
    "sendto": ("ENOBUFS",),
    "write": ("ENOSPC",),
}
#: Those that ``--few`` takes.
START_FEW: dict[str, tuple[str, ...]] = {
    "bind": ("EADDRINUSE",),
    "pipe2": ("EMFILE",),
    "socketpair": ("EMFILE",),
    "memfd_create": ("EMFILE",),
    "clone": ("EAGAIN",),
}
#: Calls that are the interpreter's, libev's or libc's, or cannot fail so, by their arguments.
_THEIRS = re.compile(
    r"socket\(AF_UNIX, SOCK_STREAM\|SOCK_CLOEXEC\|SOCK_NONBLOCK"  # libc asks nscd for users
    r"|fcntl\(\d+, F_(?:GET|SETFD|SETFL)"
    r'|openat\(AT_FDCWD, "(?!/dev/null|\./\w)'
    r"|write\((?!1000,|\d+, \"\d+\\n)"  # else a pipe or an eventfd, whose room no disk has
)
SECONDS = 15.0  # within which the server serves or has ended
#: Processes that may be started because of one fault.
MOST_SPAWNED = 6

_APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]
"""
_COMMON = """
gevent = 100
wsgi-file = app.py
logto = log
pidfile = pid
uwsgi-socket = uwsgi.sock
stats = stats.sock
"""
START_SCENARIOS = {
    "master": _COMMON + "master = true\nprocesses = 2\nmaster-fifo = fifo\ntouch-reload = app.py\n",
    "alone": _COMMON.replace("stats = stats.sock\n", ""),
}
_LEFT = ("pid", "uwsgi.sock", "stats.sock", "fifo")


class StartBench:
    """Starts a server again and again.

    Args:
        scenario: One of START_SCENARIOS.
        folder: For its files.
    """

    def __init__(self, scenario: str, folder: Path) -> None:
        self._scenario = scenario
        self._folder = folder
        self._port = free_port()
        (folder / "app.py").write_text(_APPLICATION)
        config = f"[uwsgi]\nhttp = 127.0.0.1:{self._port}\nchdir = {folder}\n{START_SCENARIOS[scenario]}"
        (folder / "config.ini").write_text(config)
        problems: list[str] = []
        way = self._run([f"trace={','.join(START_CALLS)}"], "without a fault", problems)
        assert way == "served", f"{problems}\n{self._said()}"
        self._places = self._find_places()

    def _find_places(self) -> dict[str, list[int]]:
        """Return which of the calls of each kind are ours, in any process."""
        made: Counter[tuple[str, str]] = Counter()
        places: dict[str, set[int]] = {call: set() for call in START_CALLS}
        is_loaded = False
        for line in (self._folder / "trace").read_text(errors="replace").splitlines():
            match = re.match(r"(\d+) +(\w+)\(", line)
            if match is None:
                continue
            pid, call = match.groups()
            made[pid, call] += 1
            is_loaded = is_loaded or "config.ini" in line
            if is_loaded and self._is_ours(line):
                places[call].add(made[pid, call])
        return {call: sorted(numbers) for call, numbers in places.items()}

    def _is_ours(self, line: str) -> bool:
        return not _THEIRS.search(line.replace(str(self._folder), "."))

    def fail(self, call: str, error: str) -> Outcome:
        """Start the server once for each call of a kind, which fails."""
        outcome = Outcome()
        for number in self._places[call]:
            where = f"{call} {number}, {error}, {self._scenario}"
            problems: list[str] = []
            for _ in range(3):  # strace itself may not get to begin
                problems.clear()
                way = self._run([f"trace={call}", f"inject={call}:error={error}:when={number}"], where, problems)
                if (self._folder / "trace").exists():
                    break
            trace = (self._folder / "trace").read_text(errors="replace")
            failed = [line for line in trace.splitlines() if "INJECTED" in line]
            if not failed or not all(map(self._is_ours, failed)):
                continue  # the number was that of another call in another process
            outcome.failed += 1
            outcome.ways[way] += 1
            outcome.problems += problems
        return outcome

    def _run(self, expressions: list[str], where: str, problems: list[str]) -> str:
        """Start the server, have it answer a request if it does, end it; return how it went."""
        folder = self._folder
        for name in ("log", "trace", *_LEFT):
            (folder / name).unlink(missing_ok=True)
        command = ["strace", "-D", "-f", "--seccomp-bpf", "-o", str(folder / "trace")]
        for expression in expressions:
            command += ["-e", expression]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPATH"] = str(ROOT)
        with open(folder / "stderr", "wb") as stderr:
            server = subprocess.Popen(
                [*command, sys.executable, "-m", "uwsgi_ws", "--ini", str(folder / "config.ini")],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )
        try:
            return self._judge(server, where, problems)
        finally:
            for pid in _session(server.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            server.wait()
            _wait(lambda: not _session(server.pid, with_strace=True), 5)

    def _judge(self, server: subprocess.Popen[bytes], where: str, problems: list[str]) -> str:
        is_served = False

        def has_come() -> bool:
            nonlocal is_served
            is_served = is_served or self._is_served()
            return is_served or server.poll() is not None

        if not _wait(has_come, SECONDS):
            problems.append(f"{where}: neither served nor ended\n{self._said()}")
            return "hangs"
        if server.poll() is None:
            server.send_signal(signal.SIGINT)
            if not _wait(lambda: server.poll() is not None, 10):
                problems.append(f"{where}: served, but did not end\n{self._said()}")
                return "does not end"
        said = self._said()
        if is_served and server.returncode != 0:
            problems.append(f"{where}: served, and ended with {server.returncode}\n{said}")
        if not is_served and server.returncode <= 0:
            problems.append(f"{where}: did not serve, and ended with {server.returncode}\n{said}")
        if not is_served and not said.strip():
            problems.append(f"{where}: ended with {server.returncode} without a word")
        if "Traceback" in said and "the application could not be loaded" not in said:
            problems.append(f"{where}: a traceback\n{said}")
        if len(re.findall(r"spawned uwsgi_ws worker|died|respawn", said)) > MOST_SPAWNED:
            problems.append(f"{where}: workers without end\n{said}")
        if not _wait(lambda: not _session(server.pid), 3):
            problems.append(f"{where}: ended, and left processes\n{said}")
        left = [name for name in _LEFT if (self._folder / name).exists()]
        if left:
            problems.append(f"{where}: ended with {server.returncode}, and left {', '.join(left)}\n{said}")
        return "served" if is_served else "refused"

    def _is_served(self) -> bool:
        try:
            with HttpClient(("127.0.0.1", self._port)) as client:
                client.sock.settimeout(3)
                return client.request("GET", "/").body == b"hello"
        except (OSError, AssertionError):
            return False

    def _said(self) -> str:
        """Return what the server has written, to stderr and then to its log."""
        files = [self._folder / "stderr", self._folder / "log"]
        return "".join(file.read_text(errors="replace") for file in files if file.exists())


def _session(leader: int, *, with_strace: bool = False) -> list[int]:
    """Return the processes of a session that have not ended."""
    return [pid for pid, name in _members(leader) if with_strace or name != "strace"]


def _members(leader: int) -> Iterator[tuple[int, str]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                name, _, rest = Path("/proc", entry, "stat").read_text().partition("(")[2].rpartition(")")
            except OSError:
                continue  # it has just ended
            state, _, _, session = rest.split()[:4]
            if int(session) == leader and state not in "ZX":
                yield int(entry), name


def _wait(condition: Callable[[], object], seconds: float) -> bool:
    """Wait until a condition holds; False when it does not in time."""
    try:
        eventually(condition, seconds)
    except AssertionError:
        return False
    return True


def fail_starts(
    calls: dict[str, tuple[str, ...]], scenarios: list[str] | None
) -> tuple[list[str], dict[tuple[str, str, str], Outcome]]:
    """Have a start's calls fail; see ``run.fail_in_worker`` for what is returned."""
    outcomes: dict[tuple[str, str, str], Outcome] = {}
    for scenario in scenarios or START_SCENARIOS:
        with tempfile.TemporaryDirectory(prefix="uwsgi_ws-faults-") as name:
            bench = StartBench(scenario, Path(name))
            for call, errors in calls.items():
                for error in errors:
                    outcome = outcomes[call, error, scenario] = bench.fail(call, error)
                    print(f"{call} {error} {scenario}: {outcome}", *outcome.problems, sep="\n  ", flush=True)
    return [], outcomes
