"""Start a server, put the load on it, and read from the kernel what it cost.

The server is pinned to one processor and the load to another. The server's CPU time is that of its whole
session, so workers and routers are counted; of all figures it is the one least disturbed by other work on
the machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from servers import CERTIFICATE, HERE, KEY, PEERS, Server, without_paths

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
BUILD_FOLDER = Path(tempfile.gettempdir()) / f"uwsgi_ws-benchmarks-{os.getuid()}"
START_TIMEOUT = 15.0
STOP_TIMEOUT = 2.0
LOAD_GRACE = 80.0  # seconds that the load may take beyond its own duration: it opens connections for up to 60
MEMORY_PAUSE = 0.2  # the load rests 0.4 s once its connections stand; by then servers have finished their work

# What a correct server never causes.
FAULTS = ("failed", "bad", "closed", "unanswered", "duplicates", "reordered", "gaps")


class Failure(Exception):
    """A server could not be measured; the text says why."""


@dataclass(frozen=True)
class Load:
    """What the load generator is to do: its mode and its ``key=value`` options."""

    mode: str
    options: dict[str, str | int | float]

    def argv(self, binary: Path, port: int, **changes: str | int | float) -> list[str]:
        """Return the command line against a port, with some options changed."""
        options = {**self.options, **changes, "port": port}
        return [str(binary), self.mode, *(f"{key}={value}" for key, value in options.items())]


@dataclass(frozen=True)
class Bench:
    """Where things run: the two programs and the two processors (None: not pinned)."""

    load: Path
    floor: Path
    server_cpu: int | None
    load_cpu: int | None


def build(source: Path) -> Path:
    """Compile a C program, unless this very source was compiled before."""
    text = source.read_bytes()
    binary = BUILD_FOLDER / f"{source.stem}-{hashlib.sha256(text).hexdigest()[:16]}"
    if not binary.exists():
        BUILD_FOLDER.mkdir(mode=0o700, exist_ok=True)
        scratch = binary.with_suffix(f".{os.getpid()}")
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O2", "-std=gnu11", "-o", str(scratch), str(source)], check=True)
        scratch.replace(binary)
    return binary


def make_bench(server_cpu: int, load_cpu: int) -> Bench:
    """Compile the programs, raise the descriptor limit; pin only where the machine has both processors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pinned = {server_cpu, load_cpu} <= os.sched_getaffinity(0)
    cpus = (server_cpu, load_cpu) if pinned else (None, None)
    return Bench(build(HERE / "load.c"), build(HERE / "floor.c"), *cpus)


def machine() -> dict[str, str]:
    """Describe the machine in a way that stays true tomorrow."""
    model = platform.processor() or "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": f"{model}, {os.cpu_count()} processors",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


# ---- what the kernel knows ------------------------------------------------------------------------------


#: Processes that belong to no server, though they run in its session: their CPU time is shown apart.
ENGINES = ("redis-server",)


def _session_stats(session: int) -> Iterator[tuple[int, str, list[str]]]:
    """Yield pid, name, and the fields of ``/proc/PID/stat`` after it, for every process of a session."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            fields = text.rpartition(")")[2].split()
            if int(fields[3]) == session:
                yield int(entry), text[text.index("(") + 1 : text.rindex(")")], fields


def cpu_seconds(session: int) -> tuple[float, float]:
    """Return user and system time of a session, children that have ended included: of all, and of its engine."""
    ticks = [(name, sum(map(int, fields[11:15]))) for _, name, fields in _session_stats(session)]
    engine = sum(count for name, count in ticks if name in ENGINES)
    return sum(count for _, count in ticks) / TICKS_PER_SECOND, engine / TICKS_PER_SECOND


def memory_bytes(session: int) -> int:
    """Return the proportional set size of a session: shared pages are divided among those that share them."""
    kib = 0
    for pid, _, _ in _session_stats(session):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kib += int(line.split()[1])
    return kib * 1024


# ---- processes ------------------------------------------------------------------------------------------


def _pin_to(cpu: int | None) -> Callable[[], None] | None:
    return None if cpu is None else lambda: os.sched_setaffinity(0, {cpu})


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _last_words(log: Path) -> str:
    """Return the last line with a letter in it: some servers put a traceback into brackets."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    telling = [line for line in lines if any(map(str.isalpha, line))]
    return without_paths(telling[-1])[:160] if telling else "it said nothing"


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path, pause: float = 0.05) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failure(f"exited with status {process.returncode}: {_last_words(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(pause)
    raise Failure(f"does not listen after {START_TIMEOUT:.0f} s: {_last_words(log)}")


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server, and whatever is left of its process group."""
    _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT)
    _signal_group(process, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _listening(
    argv: list[str], port: int, log: Path, cpu: int | None, environment: dict[str, str], pause: float = 0.05
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, in a session of its own, once it listens on a port; end it, and what is left of its group."""
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                argv,
                cwd=PEERS,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_pin_to(cpu),
            )
        except OSError as exc:
            raise Failure(str(exc)) from exc
    try:
        _wait_until_listening(process, port, log, pause)
        yield process
        if process.poll() is not None:
            raise Failure(f"died with status {process.returncode}: {_last_words(log)}")
    finally:
        _stop(process)
        log.unlink()


@contextlib.contextmanager
def running(
    server: Server, application: str, slots: int, bench: Bench, pause: float = 0.05
) -> Iterator[tuple[int, int]]:
    """Run a server on a free port; yield its process (and session) id and the port.

    Args:
        pause: Seconds between two looks whether it listens.
    """
    port = _free_port()
    argv = server.argv(application, port, slots, bench.floor)
    log = BUILD_FOLDER / f"{server.name.replace(' ', '-')}-{os.getpid()}.log"
    with _listening(argv, port, log, bench.server_cpu, server.full_environment(), pause) as process:
        yield process.pid, port


def syns_dropped() -> int:
    """Return how many connections the kernel has not taken up as a listening socket's queue was full, anybody's."""
    names, values = [line.split() for line in Path("/proc/net/netstat").read_text().splitlines()[:2]]
    return int(values[names.index("ListenDrops")])


def figures_of(line: str) -> dict[str, float]:
    """Read ``key=value`` figures; ``phase`` is a word and left out."""
    pairs = (word.partition("=") for word in line.split())
    return {key: float(value) for key, _, value in pairs if key != "phase"}


def _run_load(
    argv: list[str], cpu: int | None, timeout: float, on_open: Callable[[], None]
) -> tuple[dict[str, float], str]:
    """Run the load; return its figures and the first fault it met. ``on_open`` is called in its pause."""
    load = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_pin_to(cpu))
    assert load.stdout is not None
    figures: dict[str, float] = {}
    try:
        first = load.stdout.readline()
        if first.startswith("phase=open"):
            figures = figures_of(first)
            on_open()
        rest, fault = load.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failure(f"the load did not end within {timeout:.0f} s") from None
    finally:
        load.kill()
        load.wait()
    if not rest.startswith("phase=done"):
        raise Failure(fault.strip() or "the load broke off")
    return figures | figures_of(rest), fault.strip()


def make_certificate() -> None:
    """Have a certificate for whatever server speaks TLS, once."""
    if not (BUILD_FOLDER / CERTIFICATE).exists():
        words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x -days 999"
        files = ["-keyout", str(BUILD_FOLDER / KEY), "-out", str(BUILD_FOLDER / CERTIFICATE)]
        subprocess.run([*words.split(), *files], check=True, capture_output=True)


@contextlib.contextmanager
def haproxy_clients(port: int, through: str, bench: Bench) -> Iterator[int]:
    """Have haproxy speak what the load does not, on the load's processor; yield the port in front of it.

    Args:
        port: The server's.
        through: See ``measure``.
    """
    mode, words = {
        "full": ("tcp", "ssl verify none no-ssl-reuse"),
        "resumed": ("tcp", "ssl verify none"),
        "http1": ("http", ""),
        "http2": ("http", "proto h2 ws h2"),
    }[through]
    front = _free_port()
    config = BUILD_FOLDER / f"haproxy-{os.getpid()}.cfg"
    config.write_text(
        f"global\n nbthread 1\n maxconn 6000\ndefaults\n mode {mode}\n"
        " timeout connect 5s\n timeout client 120s\n timeout server 120s\n timeout tunnel 120s\n"
        f"listen load\n bind 127.0.0.1:{front}\n server measured 127.0.0.1:{port} {words}\n"
    )
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"}
    try:
        argv = ["haproxy", "-f", str(config)]
        with _listening(argv, front, config.with_suffix(".log"), bench.load_cpu, environment):
            yield front
    finally:
        config.unlink()


# ---- one measurement ------------------------------------------------------------------------------------


def measure(server: Server, application: str, load: Load, bench: Bench, through: str = "") -> dict[str, float]:
    """Measure one server once.

    Args:
        through: What carries the load's bytes: nothing else, TLS with a ``full`` handshake for each connection, or
            ``resumed``, or HTTP/2 (``http2``), or what that is held against, HTTP/1.1 by the same haproxy (``http1``).

    Returns:
        The load's figures, and ``cpu_us`` (the server's CPU time per message), ``own_cpu_us`` and ``engine_cpu_us``
        (the same without Redis, and Redis's), ``open_cpu_us`` (per connection opened), ``kept_cpu_us`` (per connection
        and second), ``memory_per_connection`` in bytes, ``syns_dropped`` (by the kernel, while connections were
        opened), ``load_share`` (how busy the load was: near 1 it measured itself), ``open_per_s`` and ``faults``.

    Raises:
        Failure: the server did not start, did not answer, or died.
    """
    connections = int(load.options["connections"])
    seconds = float(load.options["seconds"])
    with contextlib.ExitStack() as stack:
        if through in ("full", "resumed"):
            make_certificate()
        session, port = stack.enter_context(running(server, application, max(1000, connections + 100), bench))
        if through:
            port = stack.enter_context(haproxy_clients(port, server.through or through, bench))
        load = replace(load, options={**load.options, **server.load})
        warm_up = load.argv(bench.load, port, connections=2, seconds=0.2)
        _run_load(warm_up, bench.load_cpu, LOAD_GRACE, lambda: None)
        memory, cpu, dropped = [memory_bytes(session)], [cpu_seconds(session)], [syns_dropped()]

        def on_open() -> None:
            time.sleep(MEMORY_PAUSE)
            cpu.append(cpu_seconds(session))
            memory.append(memory_bytes(session))
            dropped.append(syns_dropped())

        argv = load.argv(bench.load, port)
        figures, fault = _run_load(argv, bench.load_cpu, seconds + LOAD_GRACE, on_open)
        cpu.append(cpu_seconds(session))

    opening, (used, engine_used) = (
        [later - earlier for later, earlier in zip(cpu[n + 1], cpu[n], strict=True)] for n in (0, 1)
    )
    messages = max(figures["total"], 1)
    faults = sum(figures.get(key, 0) for key in FAULTS)
    if figures["opened"] == 0 and figures["total"] == 0:
        raise Failure(fault or "nothing was answered")
    if fault and faults:
        print(f"  {server.name}: {faults:.0f} faults, the first: {fault}")
    return figures | {
        "cpu_us": used * 1e6 / messages,
        "own_cpu_us": (used - engine_used) * 1e6 / messages,
        "engine_cpu_us": engine_used * 1e6 / messages,
        "open_cpu_us": opening[0] * 1e6 / connections,
        "kept_cpu_us": used * 1e6 / (connections * seconds),
        "open_per_s": figures["opened"] / max(figures["connect_s"], 1e-9),
        "memory_per_connection": (memory[1] - memory[0]) / connections,
        "syns_dropped": dropped[1] - dropped[0],
        "load_share": figures["client_cpu"] / seconds,
        "faults": faults,
    }


def measure_http2(server: Server, application: str, load: Load, bench: Bench) -> dict[str, float]:
    """Have h2load, of nghttp2, ask one server for as much as it can give, without TLS.

    Returns:
        ``per_s`` and ``cpu_us``, the server's CPU time for a request.

    Raises:
        Failure: there is no h2load, or the server did not start or did not answer.
    """
    seconds = float(load.options["seconds"])
    words = f"h2load --clients {load.options['connections']} --max-concurrent-streams {load.options['depth']}"
    with running(server, application, 1000, bench) as (session, port):
        url = f"http://127.0.0.1:{port}/"
        try:
            _h2load([*words.split(), "--requests", "200", url], bench.load_cpu, LOAD_GRACE)
            before = cpu_seconds(session)[0]
            done = _h2load([*words.split(), "--duration", f"{seconds:.0f}", url], bench.load_cpu, seconds + LOAD_GRACE)
            used = cpu_seconds(session)[0] - before
        except (OSError, subprocess.SubprocessError) as exc:
            raise Failure(f"h2load: {exc}") from exc
    figures = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed", done)
    if figures is None or not int(figures[2]):
        raise Failure("it did not answer")
    succeeded = int(figures[2])
    return {"per_s": succeeded / seconds, "cpu_us": used * 1e6 / succeeded, "faults": int(figures[1]) - succeeded}


def _h2load(argv: list[str], cpu: int | None, timeout: float) -> str:
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=timeout, check=True, preexec_fn=_pin_to(cpu)
    ).stdout


def measure_start(server: Server, application: str, bench: Bench) -> dict[str, float]:
    """Start a server once.

    Returns:
        ``start_ms`` until its first request has been answered, and ``start_cpu_ms``, the CPU time up to then.

    Raises:
        Failure: it did not start or did not answer.
    """
    begun = time.perf_counter()
    with running(server, application, 1000, bench, pause=0.001) as (session, port):
        try:
            with socket.create_connection(("127.0.0.1", port), START_TIMEOUT) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                if not client.recv(100).startswith(b"HTTP/1.1 200"):
                    raise Failure("it did not answer as it should")
        except OSError as exc:
            raise Failure(f"it did not answer: {exc}") from exc
        seconds = time.perf_counter() - begun
        return {"start_ms": seconds * 1_000, "start_cpu_ms": cpu_seconds(session)[0] * 1_000, "faults": 0}
