"""Each system call that a worker makes for a client fails in turn: ``make faults``.

strace has the n-th call of a kind fail with an error, for n from 1 until a scenario is through before the n-th. After
each: another client, which came before, is served as before; a new one is served; descriptors and greenlets are back
at what they were; the log has not got longer than a few lines. A worker may die only where nothing else is possible,
and then the master says so and replaces it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.eventually import eventually  # noqa: E402
from support.http2_client import Http2Client  # noqa: E402
from support.http_client import HttpClient  # noqa: E402
from support.server import APPLICATIONS, Server, faults, free_port  # noqa: E402
from support.tls import Authority  # noqa: E402
from support.uwsgi_client import packet, variables  # noqa: E402
from support.websocket_client import RawClient, handshake  # noqa: E402
from support.workers import is_alive  # noqa: E402
from websockets.exceptions import WebSocketException  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

from faults.outcomes import Outcome, table  # noqa: E402
from faults.start import START_CALLS, START_FEW, START_SCENARIOS, fail_starts  # noqa: E402

#: What fails, and with what. Not close: where it fails the descriptor is closed, but strace leaves the call out; nor
#: epoll_wait, in which the worker is while strace leaves it, with an error then that no kernel gives.
CALLS: dict[str, tuple[str, ...]] = {
    "recvfrom": ("ECONNRESET", "ENOMEM"),
    "recvmsg": ("ECONNRESET", "ENOMEM"),
    "read": ("EIO",),
    "sendto": ("EPIPE", "ENOBUFS"),
    "sendmsg": ("EPIPE", "ENOBUFS"),
    "write": ("EPIPE", "ENOSPC"),
    "writev": ("EPIPE", "ENOBUFS"),
    "epoll_ctl": ("ENOMEM", "ENOSPC"),
    "openat": ("EMFILE", "EACCES"),
    "mmap": ("ENOMEM",),
    "ioctl": ("EINVAL",),
    "setsockopt": ("ENOMEM",),
    "getsockopt": ("EINVAL",),
    "getsockname": ("ENOBUFS",),
    "getpeername": ("ENOTCONN",),
    "shutdown": ("ENOTCONN",),
    "sendfile": ("EIO",),
    "fstat": ("EIO",),
    "newfstatat": ("EIO",),
    "pipe2": ("EMFILE",),
    "socketpair": ("EMFILE",),
    "eventfd2": ("EMFILE",),
    "clone3": ("EAGAIN",),
    "accept4": ("EMFILE", "ECONNABORTED"),
}
#: Applications at once in native threads.
THREADS = 8
#: How applications run.
MODES: dict[str, tuple[str, ...]] = {"gevent": ("--gevent", "1000"), "threads": ("--threads", str(THREADS))}
#: What else fails in threads, or with other errors. A worker with threads reads and writes eventfds alone, with which
#: hub and threads wake one another: EAGAIN is the one error that these have. A write has it at 2^64 - 2 wakes not yet
#: read, which cannot be; threads then no longer reach the hub. Not ppoll, which nobody calls, nor futex, for the
#: interpreter's own locks.
CALLS_OF_THREADS: dict[str, tuple[str, ...]] = {"read": ("EAGAIN",), "write": (), "poll": ("ENOMEM",)}
#: Those that `--few` takes.
FEW = {"accept4": ("EMFILE",), "recvfrom": ("ECONNRESET",), "sendto": ("EPIPE",), "openat": ("EMFILE",)}
#: Lines that one failure may put into the log.
MOST_LINES = 12
#: Calls of a kind in a scenario that fail, at most.
MOST_CALLS = 60

#: The last line of a traceback that says that a call has failed.
_INJECTED = re.compile(r"(\S*\s)*(\w+: \[Errno [0-9]+\]|MemoryError)")
SECONDS = 9.0  # that a client waits; the server gives up sooner


@dataclass(frozen=True)
class Doors:
    """Where a server is reached."""

    http: int
    https: int
    http2: int
    uwsgi: int
    trust: ssl.SSLContext


class Refused(Exception):
    """The answer has another status than it should."""


def expect(answer: Any, body: bytes) -> None:
    """See that this is the answer."""
    if answer.status != 200:
        raise Refused(answer.status)
    assert answer.body == body, f"{len(answer.body)} bytes came"


def http(doors: Doors) -> None:
    with HttpClient(("127.0.0.1", doors.http)) as client:
        client.sock.settimeout(SECONDS)
        expect(client.request("POST", "/", body=b"x" * 70_000), b"x" * 70_000)
        expect(client.request("GET", "/"), b"hello")


def websocket(doors: Doors) -> None:
    with RawClient.open(doors.http, "/room") as one, RawClient.open(doors.http, "/room") as other:
        one.sock.settimeout(SECONDS)
        other.sock.settimeout(SECONDS)
        one.expect_text("joined")
        other.expect_text("joined")
        one.send_text("hello")
        one.expect_text("hello")
        other.expect_text("hello")
        one.finish()
    with RawClient.open(doors.http, "/echo") as client:
        client.sock.settimeout(SECONDS)
        client.send_text("x" * 70_000)
        client.expect_text("x" * 70_000)
        client.finish()


def tls(doors: Doors) -> None:
    with HttpClient(("127.0.0.1", doors.https), tls=doors.trust) as client:
        client.sock.settimeout(SECONDS)
        expect(client.request("POST", "/", body=b"x" * 20_000), b"x" * 20_000)
    with socket.create_connection(("127.0.0.1", doors.https), SECONDS) as raw:
        secure = doors.trust.wrap_socket(raw, server_hostname="127.0.0.1")
        client = RawClient(secure)
        client.shake_hands(handshake("/echo"))
        client.send_text("hello")
        client.expect_text("hello")
        secure.close()


def http2(doors: Doors) -> None:
    with Http2Client(("127.0.0.1", doors.http2)) as client:
        client.sock.settimeout(SECONDS)
        answer = client.request("POST", "/", body=b"x" * 10_000)
        assert answer.reset is None
        expect(answer, b"x" * 10_000)


def uwsgi(doors: Doors) -> None:
    with socket.create_connection(("127.0.0.1", doors.uwsgi), SECONDS) as client:
        client.sendall(packet(variables()))
        answer = b""
        while piece := client.recv(65_536):
            answer += piece
        if answer and b" 200 " not in answer[:20]:
            raise Refused(answer.split()[1].decode())
        assert answer.endswith(b"hello")


def static(doors: Doors) -> None:
    with HttpClient(("127.0.0.1", doors.http)) as client:
        client.sock.settimeout(SECONDS)
        expect(client.request("GET", "/static/large"), b"x" * 300_000)
        expect(client.request("GET", "/"), b"hello")


SCENARIOS: dict[str, Callable[[Doors], None]] = {
    "http": http,
    "websocket": websocket,
    "tls": tls,
    "http2": http2,
    "uwsgi": uwsgi,
    "static": static,
}


class Bench:
    """A server with one worker under a master, beside which a client has a WebSocket all the time.

    Args:
        folder: For files.
        mode: How applications run, one of ``MODES``.
    """

    def __init__(self, folder: Path, mode: str) -> None:
        authority = Authority(folder)
        (folder / "static").mkdir()
        (folder / "static/large").write_bytes(b"x" * 300_000)
        ports = [free_port() for _ in range(3)]
        self.server = Server(
            APPLICATIONS / "system_calls.py",
            *MODES[mode],
            *("--master", "--disable-logging", "--https", f"127.0.0.1:{ports[0]},{authority.issue()}"),
            *("--http2-socket", f"127.0.0.1:{ports[1]}", "--uwsgi-socket", f"127.0.0.1:{ports[2]}"),
            # The server gives up sooner than the scenarios' clients.
            *("--socket-timeout", "1", "--http-timeout", "1"),
            *("--websockets-ping-freq", "5", "--websockets-pong-tolerance", "1"),
            *("--static-map", f"/static={folder / 'static'}"),
            deadline=90,
        )
        self.doors = Doors(self.server.port, *ports, authority.client_context())
        self._mode = mode
        self._trace = folder / "trace"
        self._replaced = 0
        self._stack = ExitStack()
        try:
            for scenario in SCENARIOS.values():  # what is made once is made
                scenario(self.doors)
            self._settle()
        except BaseException:
            self.server.stop()
            raise

    def _settle(self) -> None:
        """Take the worker that is there now for what later ones are compared with."""
        self.worker = int(re.findall(r"spawned uwsgi_ws worker 1 \(pid: ([0-9]+)", self.server.log)[-1])
        eventually(lambda: self._is_served(), 30)
        self._start_threads()
        self._enter_bystander()
        self.held = self._held()

    def _start_threads(self) -> None:
        """Have as many applications at once as there may be threads, each of which is started when first needed."""
        if self._mode == "threads":
            with ExitStack() as stack:
                clients = [stack.enter_context(RawClient.open(self.doors.http, "/echo")) for _ in range(THREADS)]
                for client in clients:
                    client.send_text("hello")
                    client.expect_text("hello")
                for client in clients:
                    client.finish()

    def _enter_bystander(self) -> None:
        """Have another client open a WebSocket, which answers pings by itself."""
        self._stack.close()
        way = connect(self.server.ws_url("/echo"), open_timeout=30, ping_interval=None)
        self.bystander = self._stack.enter_context(way)

    def _is_served(self) -> bool:
        try:
            with HttpClient(("127.0.0.1", self.doors.http)) as client:
                return client.request("GET", "/").status == 200
        except (OSError, AssertionError):
            return False

    def _held(self) -> tuple[int, int]:
        """Return how many descriptors and greenlets the worker has while nobody asks for anything else."""
        with HttpClient(("127.0.0.1", self.doors.http)) as client:
            answer = client.request("GET", "/greenlets")
            assert answer.status == 200, answer.body
            greenlets = int(answer.body)
            return len(os.listdir(f"/proc/{self.worker}/fd")), greenlets

    def fail(self, scenario: str, call: str, error: str) -> Outcome:
        """Run a scenario again and again, each time with the next call of a kind failing."""
        outcome = Outcome()
        for number in range(1, MOST_CALLS + 1):
            way = self._run(scenario, call, error, number, outcome)
            if way is None:
                return outcome
            outcome.failed += 1
            outcome.ways[way] += 1
        return outcome

    def _run(self, scenario: str, call: str, error: str, number: int, outcome: Outcome) -> str | None:
        """Return how a scenario went whose ``number``-th call failed; None if it has none so many."""
        where = f"{call} {number}, {error}, {scenario}"
        before = len(self.server.log.splitlines())
        tracer = subprocess.Popen(
            [
                *("strace", "-f", "-p", str(self.worker), "-o", str(self._trace)),
                *("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}"),
            ],
            stderr=subprocess.PIPE,
        )
        assert tracer.stderr is not None
        assert b"attached" in tracer.stderr.readline()
        try:
            SCENARIOS[scenario](self.doors)
            way = "survived"
        except Refused as exc:
            way = f"answered {exc}"
        except AssertionError as exc:
            way = "answered 503" if " 503 " in str(exc) or "status=503" in str(exc) else "connection closed"
        except TimeoutError:
            way = "timed out"
        except OSError:
            way = "connection closed"
        is_dead = not is_alive(self.worker)
        if not is_dead:
            tracer.send_signal(signal.SIGINT)
        tracer.communicate()
        if b"INJECTED" not in self._trace.read_bytes():
            if way != "survived" and not is_dead:
                outcome.problems.append(f"{where}: {way}, although no call failed")
            return None
        if is_dead or not is_alive(self.worker):
            self.server.wait_for_log(rf"worker 1 \(pid: {self.worker}\) died", 10)
            eventually(lambda: len(re.findall("spawned uwsgi_ws worker 1", self.server.log)) > self._replaced + 1, 60)
            self._replaced += 1
            self._settle()
            return "worker replaced"
        if way == "timed out":
            outcome.problems.append(f"{where}: the client waited in vain")
        self._look_around(where, before, outcome)
        return way

    def _look_around(self, where: str, before: int, outcome: Outcome) -> None:
        """See that a failure has harmed nobody else, and that nothing of it is left."""
        try:
            self.bystander.send("still here")
            assert self.bystander.recv(timeout=10) == "still here"
        except (OSError, AssertionError, WebSocketException) as exc:
            outcome.problems.append(f"{where}: another client's WebSocket: {exc!r}")
            self._enter_bystander()
        try:
            eventually(lambda: all(now <= was for now, was in zip(self._held(), self.held, strict=True)), 12)
        except (OSError, AssertionError) as exc:
            now = self._held()
            outcome.problems.append(f"{where}: descriptors and greenlets {self.held} before, {now} after ({exc})")
            self.held = now
        lines = self.server.log.splitlines()[before:]
        if len([line for line in lines if not line.startswith((" ", "\t"))]) > MOST_LINES:
            outcome.problems.append(f"{where}: {len(lines)} lines in the log")

    def close(self) -> list[str]:
        """End; return the tracebacks in the log that do not end with the error of a call."""
        self._stack.close()
        self.server.stop()
        found = [block for block in faults(self.server.log) if not _INJECTED.match(block.splitlines()[-1])]
        return found + (["the server did not end"] if self.server.killed else [])


def why_not_attach() -> str | None:
    """Return what strace says where kernel or container do not let it attach to a process; None where they do."""
    with subprocess.Popen(["sleep", "60"]) as process:
        tracer = subprocess.Popen(["strace", "-p", str(process.pid), "-o", os.devnull], stderr=subprocess.PIPE)
        assert tracer.stderr is not None
        said = tracer.stderr.readline().decode().strip()
        process.kill()
        tracer.communicate()
    return None if "attached" in said else said


def fail_in_worker(
    calls: dict[str, tuple[str, ...]], scenarios: list[str] | None, mode: str
) -> tuple[list[str], dict[tuple[str, str, str], Outcome]]:
    """Have a worker's calls fail; return what must not be, beside what is in the outcomes, and these."""
    broken: list[str] = []
    outcomes: dict[tuple[str, str, str], Outcome] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uwsgi_ws-faults-")))
        bench = Bench(folder, mode)
        try:
            for call, errors in calls.items():
                for scenario in scenarios or SCENARIOS:
                    for error in errors:
                        outcome = bench.fail(scenario, call, error)
                        outcomes[call, error, scenario] = outcome
                        print(f"{call} {error} {scenario}: {outcome}", *outcome.problems, sep="\n  ", flush=True)
                        if not outcome.failed:
                            break  # it makes no such call
        except (AssertionError, OSError, ValueError) as exc:
            broken = [f"the worker serves no more: {type(exc).__name__}: {exc}"]
        finally:
            problems = bench.close() + broken
    if problems or any(outcome.problems for outcome in outcomes.values()):
        print(bench.server.log[-6000:])
    return problems, outcomes


def _asked(calls: dict[str, tuple[str, ...]], arguments: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Return those of the calls that have been asked for."""
    return {call: errors for call, errors in calls.items() if not arguments.call or call in arguments.call}


def main() -> int:
    """Have all fail; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", action="store_true", help="only what .ci/run takes")
    parser.add_argument("--call", action="append", help="only this one; may be given again")
    parser.add_argument("--start", action="store_true", help="those of a start, instead of a worker's")
    parser.add_argument("--mode", choices=MODES, default="gevent", help="how applications run")
    parser.add_argument("--scenario", action="append", choices=[*SCENARIOS, *START_SCENARIOS])
    parser.add_argument("--table", type=Path, help="where the table goes")
    arguments = parser.parse_args()
    if shutil.which("strace") is None:
        print("faults: strace is not installed")
        return 2
    if (refusal := why_not_attach()) is not None:
        print(f"faults: not run, as strace may not look into processes here: {refusal}")
        return 0
    begun = time.monotonic()
    if arguments.start:
        problems, outcomes = fail_starts(
            _asked(START_FEW if arguments.few else START_CALLS, arguments), arguments.scenario
        )
    else:
        calls = FEW if arguments.few else CALLS | (CALLS_OF_THREADS if arguments.mode == "threads" else {})
        problems, outcomes = fail_in_worker(_asked(calls, arguments), arguments.scenario, arguments.mode)
    problems += [problem for outcome in outcomes.values() for problem in outcome.problems]
    if arguments.table is not None:
        arguments.table.write_text(table(outcomes) + "\n")
    if problems:
        print(*problems, sep="\n")
    ways: Counter[str] = sum((outcome.ways for outcome in outcomes.values()), Counter())
    print(
        f"faults: {ways.total()} calls failed in {time.monotonic() - begun:.0f} s "
        f"({', '.join(f'{count} {way}' for way, count in ways.most_common())}): {len(problems)} problems"
    )
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
