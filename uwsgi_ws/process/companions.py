"""The processes that run applications in other languages; they are the master's children.

Each generation of workers has pools of its own, with sockets of their own: what its workers connect to has been loaded
together with them. So a reload starts new processes and leaves the old ones to the old workers, and when the new ones
cannot be started, nothing has changed. A pool is told to end when no worker is left that uses it.

What they write goes through a pipe to the log, so that the log may be opened again at any time.

What a process is told, and what it says, is in ``docs/companion-protocol.md``.
"""

from __future__ import annotations

import fcntl
import math
import os
import select
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time
from typing import Any

import uwsgi_ws
from uwsgi_ws.companions.records import VERSION, VERSION_NUMBER, Decoder
from uwsgi_ws.log import say
from uwsgi_ws.options import CompanionSpec, Options
from uwsgi_ws.process.children import RestartBackoff, cause, exit_status, send, start
from uwsgi_ws.process.generations import GRACE, MIN_UPTIME, WORKER_DELAYS, Generation

__all__ = ["Companions"]

_PERL = Path(uwsgi_ws.__file__).parent / "companions" / "perl"
#: Requests that may wait in a pool's socket; the kernel allows no more by itself (somaxconn).
_BACKLOG = 4096
#: Under what numbers a process finds its sockets.
_LISTENER, _CONTROL = 3, 4
#: Descriptors that are handed on must have higher numbers than those that they get.
_FIRST_FREE = 10
#: Seconds that a process has to end once it cannot become ready any more.
_PAUSE = 1.0
_READ_SIZE = 65_536
#: Bytes of what a process writes that are taken in one turn of the master's.
_MOST_READ = 262_144
#: Bytes of a line that has no end; then it is ended.
_LONGEST_LINE = 65_536


@dataclass(slots=True, eq=False)
class _Process:
    """One of a pool's.

    Attributes:
        number: 1 to N.
        pid: 0 for none.
        control: Our end of what connects it to us; None while there is no process.
        output: What it writes comes from here; -1 once that has ended.
        rest: The beginning of a line of it.
        is_ready: Whether it has said that it accepts requests.
        started_at: When, to measure by (monotonic).
        spawned_at: The same, for people: seconds since the epoch.
        kill_at: When it is killed if it has not ended.
        starts: Processes that it has been.
        backoff: Of its early ends.
    """

    number: int
    pid: int = 0
    control: socket.socket | None = None
    output: int = -1
    rest: bytes = b""
    is_ready: bool = False
    started_at: float = 0.0
    spawned_at: int = 0
    kill_at: float = math.inf
    starts: int = 0
    backoff: RestartBackoff = field(default_factory=lambda: RestartBackoff(WORKER_DELAYS))


@dataclass(slots=True, eq=False)
class _Pool:
    """The processes of one application, for one generation of workers.

    Attributes:
        options: Those that the generation was begun with.
        was_ready: All of them have been ready.
        is_ending: They have been told to end, and none is started any more.
    """

    spec: CompanionSpec
    generation: Generation
    options: Options
    listener: socket.socket
    path: str
    processes: list[_Process]
    was_ready: bool = False
    is_ending: bool = False

    def name(self, process: _Process) -> str:
        return f"{self.spec.language} {process.number} (pid: {process.pid})"


class Companions:
    """All of them: a ``ChildKind``.

    Args:
        is_used: Tells whether a generation has workers, or will have.
        failed: Called when a generation cannot be, as its application could not be started, with an exit status.
    """

    def __init__(self, is_used: Callable[[Generation], bool], failed: Callable[[Generation, int], None]) -> None:
        self._is_used = is_used
        self._failed = failed
        self._pools: list[_Pool] = []
        self._folder = ""
        self._sockets = 0  # made so far
        self._is_stopping = False

    # What the master asks

    def begin(self, generation: Generation, options: Options) -> Mapping[CompanionSpec, str]:
        """Start the processes of a generation; return the sockets where they serve.

        Raises:
            OptionError: they cannot be started.
        """
        pools = [self._open(spec, generation, options) for spec in options.companions]
        self._pools += pools
        for pool in pools:
            for process in pool.processes:
                try:
                    self._start(pool, process)
                except OSError as exc:
                    self.give_up(generation)
                    option, what = ("go-app", pool.spec.file) if pool.spec.language == "go" else ("psgi", "perl")
                    raise options.error(option, f"cannot run {what!r}: {exc.strerror}") from exc
        return {pool.spec: pool.path for pool in pools}

    def is_ready(self, generation: Generation) -> bool:
        """Return whether all of a generation's processes accept requests, or have done so."""
        return all(pool.was_ready for pool in self._pools if pool.generation is generation)

    def give_up(self, generation: Generation) -> None:
        """A generation will not be: end its processes."""
        for pool in self._pools:
            if pool.generation is generation:
                self._end_pool(pool)

    def register(self, poll: select.poll) -> None:
        """Have the master woken when a process has something to say."""
        for _, process in self._all():
            if process.output >= 0:
                poll.register(process.output, select.POLLIN)
            if process.control is not None and not process.is_ready:
                poll.register(process.control, select.POLLIN)

    def leave_master(self, generation: Generation) -> None:
        """Close, in a fork server, what only the master and the processes may hold.

        The control sockets of its own generation stay: should the master be killed, the processes live as long as the
        workers, which go on then unless they are told otherwise (``--no-orphans``).
        """
        for pool, process in self._all():
            if process.control is not None and pool.generation is not generation:
                process.control.close()
            self._close_output(process)
        for pool in self._pools:
            pool.listener.close()

    def close(self) -> None:
        """Remove the sockets' files."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def described(self) -> list[dict[str, Any]]:
        """Return how they stand, for the statistics."""
        return [
            {
                "language": pool.spec.language,
                "app": pool.spec.file,
                "id": process.number,
                "pid": process.pid,
                "status": self._state(pool, process),
                "respawn_count": max(0, process.starts - 1),
                "last_spawn": process.spawned_at,
            }
            for pool, process in self._all()
        ]

    # What it asks of each kind of child

    @property
    def live(self) -> bool:
        """See ChildKind."""
        return any(process.pid for _, process in self._all())

    @property
    def due(self) -> list[float]:
        """See ChildKind."""
        return [
            process.kill_at if process.pid else process.backoff.next_at
            for pool, process in self._all()
            if process.pid or not pool.is_ending
        ]

    def look(self) -> None:
        """See ChildKind."""
        now = monotonic()
        for pool, process in [*self._all()]:
            self._read_output(process)
            self._hear(pool, process)
            if process.pid and process.kill_at <= now:
                say(f"{pool.name(process)} does not end, it is killed")
                process.kill_at = math.inf
                send(process.pid, signal.SIGKILL)
            elif not process.pid and not pool.is_ending and process.backoff.next_at <= now:
                try:
                    self._start(pool, process)
                except OSError as exc:
                    say(f"*** cannot run {pool.spec.file!r}: {exc.strerror} ***")
                    process.backoff.fail()
        for pool in self._pools:
            if not pool.is_ending and not self._is_used(pool.generation):
                self._end_pool(pool)
        for pool in [pool for pool in self._pools if pool.is_ending]:
            if not any(process.pid for process in pool.processes):
                for process in pool.processes:
                    self._close_output(process)  # what they have started may have it still
                self._pools.remove(pool)

    def exited(self, pid: int, status: int) -> bool:
        """See ChildKind."""
        for pool, process in self._all():
            if process.pid == pid:
                self._ended(pool, process, status)
                return True
        return False

    def renew(self) -> None:
        """See ChildKind: a generation's processes come and go with it."""

    def stop(self) -> None:
        """See ChildKind: they are needed until the last worker has left."""
        self._is_stopping = True

    # How they live

    def _all(self) -> Iterator[tuple[_Pool, _Process]]:
        return ((pool, process) for pool in self._pools for process in pool.processes)

    def _open(self, spec: CompanionSpec, generation: Generation, options: Options) -> _Pool:
        if not self._folder:
            # Nobody else may enter it.
            self._folder = tempfile.mkdtemp(prefix="uwsgi_ws-")
        self._sockets += 1
        path = f"{self._folder}/{self._sockets}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        count = (options.perl_workers or options.processes) if spec.language == "perl" else 1
        return _Pool(spec, generation, options, listener, path, [_Process(number + 1) for number in range(count)])

    def _start(self, pool: _Pool, process: _Process) -> None:
        ours, its = socket.socketpair()
        readable, writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(writable, True)
        # Above those that they are put in the place of.
        high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE) for each in (pool.listener, its, writable)]
        try:
            process.pid = start(
                self._command(pool),
                {**os.environ, **self._variables(pool, process)},
                {_LISTENER: high[0], _CONTROL: high[1], 1: high[2], 2: high[2]},
            )
        except OSError:
            ours.close()
            os.close(readable)
            raise
        finally:
            its.close()
            for fd in (writable, *high):
                os.close(fd)
        ours.setblocking(False)
        self._close_output(process)  # of its predecessor, kept open by what that has started
        process.control, process.output, process.rest = ours, readable, b""
        process.is_ready = False
        process.started_at = monotonic()
        process.spawned_at = int(time())
        process.starts += 1
        say(f"spawned companion {pool.name(process)} of {pool.spec.file}")

    def _command(self, pool: _Pool) -> list[str]:
        if pool.spec.language == "go":
            file = pool.spec.file
            return [file if "/" in file else f"./{file}"]
        options = pool.options
        arguments = [*options.perl_arg, *(word for text in options.perl_args for word in text.split())]
        return ["perl", f"-I{_PERL}", str(_PERL / "companion.pl"), pool.spec.file, *arguments]

    def _variables(self, pool: _Pool, process: _Process) -> dict[str, str]:
        options = pool.options
        is_perl = pool.spec.language == "perl"
        variables = {
            "UWSGI_WS_COMPANION": str(VERSION_NUMBER),
            "UWSGI_WS_COMPANION_FD": str(_LISTENER),
            "UWSGI_WS_COMPANION_CONTROL_FD": str(_CONTROL),
            "UWSGI_WS_WORKER": str(process.number),
            "UWSGI_WS_WORKERS": str(len(pool.processes)),
            "UWSGI_WS_CONCURRENCY": str(options.coroae or 1) if is_perl else str(options.goroutines),
        }
        if options.channel_socket:
            variables["UWSGI_WS_CHANNEL_SOCKET"] = options.channel_socket[0].path.replace("\0", "@", 1)
        if is_perl:
            given = {
                "CORO": "1" if options.coroae else "",
                "NO_PLACK": "1" if options.perl_no_plack else "",
                "LOCAL_LIB": "\n".join(options.perl_local_lib),
                "PSGIX_IO": "1" if options.psgi_enable_psgix_io else "",
                "NO_DIE_CATCH": "1" if options.perl_no_die_catch else "",
                "EXEC": "\n".join(options.perl_exec),
                "EXEC_POST_FORK": "\n".join(options.perl_exec_post_fork),
                "AUTO_RELOAD": str(options.perl_auto_reload or ""),
                "AUTO_RELOAD_IGNORE": "\n".join(options.perl_auto_reload_ignore),
            }
            variables |= {f"UWSGI_WS_PERL_{name}": value for name, value in given.items() if value}
        return variables

    def _read_output(self, process: _Process) -> None:
        """Write whole lines of what a process has written to the log."""
        data, has_ended = b"", False
        while process.output >= 0 and not has_ended and len(data) < _MOST_READ:
            try:
                piece = os.read(process.output, _READ_SIZE)
            except BlockingIOError:
                break
            data += piece
            has_ended = not piece
        if not data and not has_ended:
            return
        *lines, process.rest = (process.rest + data).split(b"\n")
        if process.rest and (has_ended or len(process.rest) > _LONGEST_LINE):
            lines.append(process.rest)
            process.rest = b""
        for line in lines:
            say(line.decode(errors="backslashreplace"))
        if has_ended:
            self._close_output(process)

    def _close_output(self, process: _Process) -> None:
        if process.output >= 0:
            os.close(process.output)
            process.output = -1

    def _hear(self, pool: _Pool, process: _Process) -> None:
        """Take note that a process is ready."""
        if process.control is None or process.is_ready:
            return
        try:
            data = process.control.recv(64)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            # It has ended, or else can never be ready.
            process.control.close()
            process.control = None
            process.kill_at = min(process.kill_at, monotonic() + _PAUSE)
            return
        said = Decoder(64).feed(data)
        version = said[0][1][0] if said and said[0][0] == VERSION else None
        if version == VERSION_NUMBER:
            process.is_ready = True
            pool.was_ready = pool.was_ready or all(each.is_ready for each in pool.processes)
            return
        what = f"version {version}" if version is not None else "something else"
        say(
            f"uwsgi_ws: {pool.spec.file}: it speaks {what}, and this server {VERSION_NUMBER}, of the protocol for "
            "companions"
        )
        process.kill_at = 0.0
        self._fail(pool, 1)

    def _ended(self, pool: _Pool, process: _Process, status: int) -> None:
        how = cause(status)
        name, was_ready = pool.name(process), process.is_ready
        process.pid, process.kill_at, process.is_ready = 0, math.inf, False
        if process.control is not None:
            process.control.close()
            process.control = None
        self._read_output(process)
        if pool.is_ending:
            say(f"companion {name} has left")
            return
        if not was_ready and not pool.was_ready:
            say(f"companion {name} could not start, {how}")
            self._fail(pool, exit_status(status))
            return
        say(f"DAMN ! companion {name} died, {how} :( trying respawn ...")
        if was_ready and monotonic() - process.started_at >= MIN_UPTIME:
            process.backoff.succeed()
        process.backoff.fail()

    def _fail(self, pool: _Pool, status: int) -> None:
        if not pool.was_ready:
            self.give_up(pool.generation)
            self._failed(pool.generation, status or 1)

    def _end_pool(self, pool: _Pool) -> None:
        """Tell the processes of a pool to end."""
        if pool.is_ending:
            return
        pool.is_ending = True
        pool.listener.close()
        with suppress(OSError):
            os.unlink(pool.path)
        for process in pool.processes:
            if process.pid:
                process.kill_at = min(process.kill_at, monotonic() + GRACE)
                send(process.pid, signal.SIGTERM)

    def _state(self, pool: _Pool, process: _Process) -> str:
        if not process.pid:
            return "dead"
        return "ending" if pool.is_ending else "ready" if process.is_ready else "starting"
