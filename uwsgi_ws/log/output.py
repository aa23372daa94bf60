"""Where the log goes: a descriptor of the server's own, and a bounded buffer before it, so that writing never waits.

Standard error is usually shared with other programs, and so is its status: to make it non-blocking would change it for
all of them. So a pipe or a terminal is opened once more, which gives it a status of our own. Sockets, and pipes that
may not be opened again because they are another user's, are written to by calls of which each one does not wait. Files
on a disk never make a writer wait.

What cannot be written at once is kept. In a worker the event loop writes it on, in the master its own loop does
(``attend``). A process that has neither, such as one that is still loading the application or that the application has
forked, waits for the reader, but only for a while. Once the buffer is full, lines are dropped and counted, and the
count is written when there is room again.

The descriptor has a high number: an application that closes descriptors, its standard error for one, makes low
numbers free, and the next client gets them.
"""

from __future__ import annotations

import _socket  # below the standard library's and gevent's sockets, which belong to an event loop
import errno
import fcntl
import io
import os
import resource
import select
import stat
import sys
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

__all__ = ["LogOutput", "divide_prints", "fill_standard_descriptors", "flush_streams", "install_streams"]

#: Bytes that may wait in one process; some 5,000 access lines.
_LIMIT = 1_048_576
#: Bytes that a pipe takes as a whole or not at all, so that no other process writes into the midst of them (pipe(7)).
_PIECE = select.PIPE_BUF
#: Bytes for which a terminal has room once it is writable.
_TERMINAL_PIECE = 128
#: Seconds that a process without an event loop waits for a reader that takes nothing.
_PATIENCE = 1.0
#: Seconds that a process waits at its end, however slowly the reader takes what is left.
LAST_PATIENCE = 3.0
#: Bytes of a line without an end that an application prints; then it is ended.
_MAX_LINE = 65_536
#: Where the descriptor's number is looked for; the kernel's table grows with the highest one.
_LOWEST_NUMBER = 1000


class LogOutput:
    """One destination of the log, and what waits for it.

    All of it may be called from any thread, and from a signal handler or finalizer that has interrupted it.

    Args:
        fd: An open descriptor. It may be closed afterwards; the output has one of its own.
        is_shared: Whether other programs have the same open file: its status stays as it is then.

    Attributes:
        takes_records: Whether each ``write`` is a line of its own, which may have lost its end to an encoder.
        form: Makes of a line of the output's own what lines look like there.
        on_loss: Called when lines begin to be lost, with the reason; it may not use this output.
    """

    takes_records = False

    def __init__(self, fd: int, *, is_shared: bool) -> None:
        self._queue: deque[bytes] = deque()
        self._size = 0  # of what is in the queue
        self._dropped = 0  # lines that no count in the queue tells of
        self._owed = 0  # lines that counts in the queue tell of, less those counts themselves
        self._is_full = False
        self._is_losing = False  # since the last write that succeeded
        self._late: deque[bytes] = deque(maxlen=1000)  # written while we were interrupted at our work
        self._is_busy = False
        self._is_patient = True
        self._is_muted = False
        self._wake: Callable[[], None] | None = None
        self._streams: list[io.TextIOWrapper] = []
        self._lock = _new_lock()
        self._socket: Any = None
        self.form: Callable[[bytes], bytes] = bytes
        self.on_loss: Callable[[str], None] | None = None
        self._fd = _own(fd, is_shared)
        self._write = self._choose()
        os.register_at_fork(after_in_child=self._begin_anew)

    def fileno(self) -> int:
        """Return the descriptor; its number never changes."""
        return self._fd

    @property
    def is_waiting(self) -> bool:
        """Whether something waits until the reader takes it."""
        return bool(self._queue)

    def attend(self, wake: Callable[[], None]) -> None:
        """Have ``write`` wait no more: the caller will call ``write_on`` whenever the descriptor is writable.

        Args:
            wake: Called, from any thread, when something begins to wait.
        """
        self._wake = wake

    def write(self, data: bytes) -> None:
        """Write whole lines. What cannot be written costs the lines, and is never an exception."""
        with self._lock:
            if self._is_busy:
                self._late.append(data)
                return
            had_to_wait = bool(self._queue)
            self._is_busy = True
            try:
                if had_to_wait or self._dropped or not self._goes_at_once(data):
                    self._take(data)
                while self._late:
                    self._take(self._late.popleft())
            finally:
                self._is_busy = False
        if self._queue:
            if self._wake is None:
                self._wait()
            elif not had_to_wait:
                self._wake()

    def write_on(self) -> bool:
        """Write what can be written now; return whether nothing waits any more."""
        with self._lock:
            if not self._is_busy:
                self._is_busy = True
                try:
                    self._drain()
                finally:
                    self._is_busy = False
            return not self._queue

    def wait_for(self, fd: int) -> None:
        """Wait until a descriptor is readable and write on meanwhile; for a process without an event loop."""
        ready: list[int] = []
        while self._queue and fd not in ready:
            poll = _original("select", "poll")()
            poll.register(fd, select.POLLIN)
            poll.register(self._fd, select.POLLOUT)
            ready = [number for number, _ in poll.poll()]
            if self._fd in ready:
                self.write_on()

    def finish(self, end: float | None = None) -> None:
        """Wait for the reader a last time; what it does not take is lost.

        Args:
            end: By when, in monotonic time; None for some seconds from now.
        """
        end = monotonic() + LAST_PATIENCE if end is None else end
        self._is_patient = True
        while self._queue and self._is_patient and monotonic() < end:
            self._wait(until=end)

    def close(self) -> None:
        """Write no more; nobody may call ``write`` any more."""
        with self._lock:
            self._queue.clear()
            if self._socket is not None:
                self._socket.detach()
            os.close(self._fd)

    def move(self, fd: int, *, is_shared: bool) -> None:
        """Go on in another file; what waits goes there, too.

        Args:
            fd: An open descriptor. It may be closed afterwards.
            is_shared: As above.
        """
        own = _own(fd, is_shared)
        with self._lock:
            os.dup2(own, self._fd, inheritable=False)
            self._write = self._choose()
        os.close(own)
        if self._queue and self._wake is not None:
            self._wake()

    def _goes_at_once(self, data: bytes) -> bool:
        """Write data where nothing waits; return False if nothing of it has gone. Almost every line takes this way."""
        try:
            sent = self._write(data)
        except OSError:
            return False  # the other way finds out why
        self._is_patient = True
        self._is_losing = False
        if sent == len(data):
            return True
        self._take(data[sent:])
        return True

    def _take(self, data: bytes) -> None:
        if self._is_full and self._size > _LIMIT // 2:
            # Half of the buffer must be free first: else the count would be written after almost every line.
            self._dropped += self._lines(data)
            return
        self._tell_of_drops()
        if self._queue and self._size + len(data) > _LIMIT:
            self._is_full = True
            self._dropped += self._lines(data)
            self._lose("it takes no more")
            return
        self._keep(data)
        self._drain()
        if self._size > _LIMIT:
            # One long text, of which the reader has taken a part.
            rest = self._queue.popleft()
            end = rest.rfind(b"\n", 0, _LIMIT) + 1 or _LIMIT
            self._dropped += self._lines(rest[end:])
            self._queue.appendleft(rest[:end])
            self._size = end

    def _keep(self, data: bytes) -> None:
        self._queue.append(data)
        self._size += len(data)

    def _tell_of_drops(self) -> None:
        self._is_full = False
        if self._dropped:
            what = "1 line was" if self._dropped == 1 else f"{self._dropped} lines were"
            self._owed += self._dropped - 1
            self._dropped = 0
            self._keep(self.form(f"*** {what} dropped: the log could not be written ***\n".encode()))

    def _lose(self, reason: str) -> None:
        if not self._is_losing:
            self._is_losing = True
            if self.on_loss is not None:
                self.on_loss(reason)

    def _lines(self, data: bytes) -> int:
        # Without buffering (python -u) a line comes in several pieces.
        return 1 if self.takes_records else data.count(b"\n")

    def _drain(self) -> None:
        while True:
            if not self._queue:
                self._owed = 0
                if not self._dropped:
                    return
                self._tell_of_drops()
            data = self._queue.popleft()
            while self._queue and not self.takes_records and len(data) + len(self._queue[0]) <= _PIECE:
                data += self._queue.popleft()
            try:
                sent = self._write(data)
            except BlockingIOError:
                self._queue.appendleft(data)
                return
            except OSError as exc:
                # A full disk, a pipe without a reader. The count is written when a line can be.
                self._dropped += self._lines(data) + sum(map(self._lines, self._queue)) + self._owed
                self._queue.clear()
                self._size = self._owed = 0
                self._lose(exc.strerror or "it cannot be written to")
                return
            except BaseException:
                # A signal handler has raised.
                self._queue.appendleft(data)
                raise
            self._size -= sent
            self._is_patient = True
            self._is_losing = False
            if sent < len(data):
                self._queue.appendleft(data[sent:])

    def _wait(self, until: float = float("inf")) -> None:
        """Write on until nothing waits, or the reader takes nothing for a while."""
        while self._is_patient and not self.write_on() and monotonic() < until:
            if not _is_writable(self._fd, _PATIENCE):
                self._is_patient = False

    def _begin_anew(self) -> None:
        """Forget what waits: the process that this one has been forked from writes it."""
        self._lock = _new_lock()
        self._queue.clear()
        self._late.clear()
        self._size = self._dropped = self._owed = 0
        self._is_busy = self._is_full = self._is_losing = False
        self._is_patient = True
        self._wake = None
        self._is_muted = True
        for stream in self._streams:
            try:
                stream.flush()  # drops the begun line
            except (OSError, ValueError):
                pass  # the application has closed or detached it
            _forget_begun(stream)
        self._is_muted = False

    # Ways to write that do not wait

    def _choose(self) -> Callable[[bytes], int]:
        if self._socket is not None:
            self._socket.detach()
            self._socket = None
        mode = os.fstat(self._fd).st_mode
        if stat.S_ISSOCK(mode):
            self._socket = _socket.socket(fileno=self._fd)
            return self._send
        if not _may_wait(self._fd) or not os.get_blocking(self._fd):
            return self._write_plainly
        return self._write_without_waiting if stat.S_ISFIFO(mode) else self._write_when_writable

    def _write_plainly(self, data: bytes) -> int:
        return os.write(self._fd, data)

    def _send(self, data: bytes) -> int:
        sent: int = self._socket.send(data, _socket.MSG_DONTWAIT)
        return sent

    def _write_without_waiting(self, data: bytes) -> int:
        try:
            return os.pwritev(self._fd, [data], -1, os.RWF_NOWAIT)
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
        self._write = self._write_when_writable  # the kernel cannot do it for pipes
        return self._write(data)

    def _write_when_writable(self, data: bytes) -> int:
        """Write as much as there is room for now, if no other process takes it first."""
        if not _is_writable(self._fd, 0):
            raise BlockingIOError
        return os.write(self._fd, data[: _TERMINAL_PIECE if os.isatty(self._fd) else _PIECE])


class _LogBuffer(io.BufferedIOBase):
    """What is below ``sys.stdout`` and ``sys.stderr``: bytes go to the log at once."""

    mode = "wb"

    def __init__(self, output: LogOutput, name: str) -> None:
        self._output = output
        self._lock = _new_lock()
        self.begun = b""  # of a line that has no end yet, where lines are divided
        self.name = name

    @property
    def raw(self) -> _LogBuffer:
        return self

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        # What programs get to which the application hands the stream on: a descriptor whose writer may wait.
        return 2

    def isatty(self) -> bool:
        return os.isatty(2)

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError("write to closed file")
        text = bytes(data)
        if text and not self._output._is_muted:
            if _divide is None:
                self._output.write(text)
            else:
                self._divide_lines(text)
        return len(text)

    def _divide_lines(self, text: bytes) -> None:
        assert _divide is not None
        with self._lock:
            text, self.begun = self.begun + text, b""
            end = len(text) if len(text) - text.rfind(b"\n") > _MAX_LINE else text.rfind(b"\n") + 1
            self.begun = text[end:]
        if end:
            _divide(text[:end])

    def flush(self) -> None:
        if self.closed:
            raise ValueError("flush of closed file")


def install_streams(output: LogOutput) -> None:
    """Send what the application prints to the log, line by line, in order with the server's own lines.

    A stream that has been replaced before stays as it is.
    """
    for name in ("stdout", "stderr"):
        before: Any = getattr(sys, name)
        if before is not getattr(sys, f"__{name}__"):
            continue
        if before is None:
            encoding, errors, write_through = "utf-8", "backslashreplace", False
        else:
            encoding, errors, write_through = before.encoding, before.errors, before.write_through
            try:
                before.reconfigure(line_buffering=True)  # for those who have got hold of it; flushes it, too
            except OSError:
                pass  # a full disk
            _replaced.append(before)  # closed when nobody has it any more, and its lines with it
        stream = io.TextIOWrapper(
            _LogBuffer(output, f"<{name}>"),
            encoding,
            errors,
            line_buffering=True,
            write_through=write_through,
        )
        stream.mode = "w"  # type: ignore[misc]  # as the interpreter does
        output._streams.append(stream)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


_replaced: list[Any] = []
#: Takes the lines that the application prints, where they do not all go to one place.
_divide: Callable[[bytes], None] | None = None


def divide_prints(divide: Callable[[bytes], None] | None) -> None:
    """Have whole lines that the application prints go to a function, instead of to the log as they come."""
    global _divide
    _divide = divide


def flush_streams() -> None:
    """Write what has no line's end yet, and what the application's own streams hold back."""
    streams: list[Any] = [sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__]  # each may be None
    for stream in streams:
        try:
            stream.flush()
        except Exception:
            pass  # a full disk, a closed pipe, closed by the application, or an object of its own
        begun = _forget_begun(stream)
        if begun and _divide is not None:
            _divide(begun + b"\n")


def _forget_begun(stream: Any) -> bytes:
    """Return what a stream of ours holds of a line without an end, and hold it no more."""
    buffer = getattr(stream, "buffer", None) if isinstance(stream, io.TextIOWrapper) else None
    if not isinstance(buffer, _LogBuffer):
        return b""
    begun, buffer.begun = buffer.begun, b""
    return begun


def fill_standard_descriptors() -> None:
    """Open /dev/null for those of descriptors 0, 1 and 2 that are closed, before a client's socket gets the number."""
    while True:
        fd = os.open(os.devnull, os.O_RDWR)
        if fd > 2:
            os.close(fd)
            return
        os.set_inheritable(fd, True)


def _may_wait(fd: int) -> bool:
    """Whether a write may have to wait for a reader, sockets aside."""
    return stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd)


def _own(fd: int, is_shared: bool) -> int:
    """Return a descriptor with a high number, of an open file that no other program has where that is needed."""
    if is_shared and _may_wait(fd):
        try:
            opened = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            pass  # another user's, or a pipe without a reader
        else:
            try:
                return _with_high_number(opened)
            finally:
                os.close(opened)
    return _with_high_number(fd)


def _with_high_number(fd: int) -> int:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    lowest = _LOWEST_NUMBER if limit < 0 else max(3, min(_LOWEST_NUMBER, limit - 24))
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
    except OSError:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)  # all of these are taken


def _original(module: str, name: str) -> Any:
    """Return what gevent may have replaced by something that switches greenlets; without loading gevent."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return getattr(__import__(module), name) if monkey is None else monkey.get_original(module, name)


def _new_lock() -> Any:
    return _original("_thread", "RLock")()


def _is_writable(fd: int, seconds: float) -> bool:
    poll = _original("select", "poll")()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))
