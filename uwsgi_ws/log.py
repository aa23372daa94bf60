"""The log: where it goes, and the access line in uWSGI's format.

Everything goes to stderr, or to the file of ``--logto``: what the server says, and what the application prints. A file
is also descriptor 1 and 2 of the process, for programs that the application starts. What a client sent is escaped, so
that nobody writes lines of their own into the log.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uwsgi_ws.errors import OptionError
from uwsgi_ws.files import open_file
from uwsgi_ws.log_output import LogOutput, fill_standard_descriptors, flush_streams, install_streams
from uwsgi_ws.stats import Stats

if TYPE_CHECKING:
    from uwsgi_ws.fronts.base import Request

__all__ = [
    "AccessLog",
    "Selection",
    "configure",
    "escape",
    "finish",
    "hand_on_log",
    "log_descriptor",
    "log_file",
    "mark_lines",
    "output",
    "reopen",
    "rotate",
    "say",
    "size",
]

#: The file that all output goes to; None for stderr as it is.
_file: Path | None = None
#: Where the log goes; None in a process that is no server, whose lines go to ``sys.stderr``.
_output: LogOutput | None = None
#: Users, besides root, whose file the log may be.
_users: tuple[int, ...] = ()

#: An environment variable for the program that replaces this one by ``exec``: the file, and its descriptor.
_HANDED_ON = "UWSGI_WS_LOG"

_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
#: What makes a terminal do something; lines and their indentation stay.
_TERMINAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\"\\]")


#: What the server's lines begin with: strftime's notation, or empty for ctime's, and a text; None for nothing.
_date: str | None = None
_prefix: str | None = None


def mark_lines(date: str | None, prefix: str | None) -> None:
    """Have the server's own lines begin with the time and a text.

    Args:
        date: In strftime's notation; ``true`` and its like for ctime's; None for no time.
        prefix: None for none.
    """
    global _date, _prefix
    _date = "" if date is not None and date.lower() in ("true", "1", "on", "yes") else date
    _prefix = prefix


def _marked(text: str) -> str:
    """Source: uWSGI's core/logging.c (``uwsgi_logvprintf``)."""
    if _prefix is not None:
        text = f"{_prefix} - {text}"
    if _date is not None:
        text = f"{time.strftime(_date) if _date else time.ctime()} - {text}"
    return text


def say(text: str) -> None:
    """Write one line of the server's own. A full disk or a closed pipe costs the line, never a client."""
    if _date is not None or _prefix is not None:
        text = _marked(text)
    _write(text)


def _write(text: str) -> None:
    if _output is not None:
        _output.write(text.encode("utf-8", "backslashreplace") + b"\n")
        return
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        pass


def configure(
    logto: str | None, option: str = "--logto", users: tuple[int, ...] = (), started_in: str | None = None
) -> None:
    """Send our loggers, and all that the process prints, where they belong.

    A file that is the log's already stays so if it cannot be opened again: whoever opened it may have been root.

    Args:
        logto: The file; None for stderr as it is.
        option: What named the file, for errors.
        users: Those who may own the file, besides root.
        started_in: The directory that its path starts in; None for the current one.

    Raises:
        OptionError: the file cannot be opened.
    """
    global _file, _users
    _users = users
    if _output is None:
        _begin()
    if logto is not None:
        before, _file = _file, Path(started_in or os.getcwd(), logto)  # the application may change the directory later
        if before != _file:
            try:
                _write_to(_file)
            except OSError as exc:
                raise OptionError(option, f"cannot open {logto!r}: {exc.strerror}") from exc
        elif not _is_open(_file):
            reopen()
    logger = logging.getLogger("uwsgi_ws")
    logger.handlers = [_Handler()]  # a process that was forked has its parent's already
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _LineFormatter(logging.Formatter):
    """Escapes control characters in messages, which hold request targets: bytes beyond ASCII, among others."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; what an application's traceback says comes behind it, as it is."""
        record.message = _TERMINAL.sub(_escaped, record.message)
        return super().formatMessage(record)


def _escaped(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"


class _Handler(logging.Handler):
    """Writes records as lines of the server's own."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_LineFormatter("[%(name)s] %(levelname)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(self.format(record))
        except Exception:
            self.handleError(record)


def _begin() -> None:
    """Write to the descriptor of the program before this one, else to stderr."""
    global _file, _output
    fill_standard_descriptors()
    fd, is_shared = 2, True
    try:
        handed_on: dict[str, Any] = json.loads(os.environ.pop(_HANDED_ON, "{}"))
        if handed_on:
            os.fstat(handed_on["fd"])
            fd, is_shared = handed_on["fd"], False
            _file = None if handed_on["file"] is None else Path(handed_on["file"])
    except (OSError, ValueError):
        pass  # it is not ours
    _output = LogOutput(fd, is_shared=is_shared)
    if fd != 2:
        os.close(fd)
    install_streams(_output)


def _write_to(path: Path) -> None:
    assert _output is not None
    fd = open_file(str(path), os.O_WRONLY | os.O_APPEND, 0o640, _users)
    try:
        may_wait = stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd)
        _output.move(fd, is_shared=may_wait and os.get_blocking(fd))
        # Other programs do not expect that a write fails instead of waiting.
        for standard in (1, 2):
            if may_wait and not os.get_blocking(fd):
                waiting = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
                os.dup2(waiting, standard)
                os.close(waiting)
            else:
                os.dup2(fd, standard)
    finally:
        os.close(fd)


def _is_open(path: Path) -> bool:
    """Whether the log goes to this file, as far as one may look."""
    try:
        return os.path.samestat(path.stat(), os.fstat(log_descriptor()))
    except PermissionError:
        return True
    except OSError:
        return False


def output() -> LogOutput | None:
    """Return where the log goes, for an event loop to write on what waits; None in a process that is no server."""
    return _output


def log_file() -> str | None:
    """Return the path of the log's file; None while the log is stderr."""
    if _output is None:
        _begin()
    return None if _file is None else str(_file)


def log_descriptor() -> int:
    """Return the descriptor of the log: the server's own, which no application knows."""
    return 2 if _output is None else _output.fileno()


def finish() -> None:
    """Write all that waits, as far as the reader takes it in a moment: the process ends, or becomes another program."""
    flush_streams()
    if _output is not None:
        _output.finish()


def hand_on_log() -> None:
    """Leave the log to the program that this process is about to become by ``exec``."""
    finish()
    if _output is not None:
        os.set_inheritable(_output.fileno(), True)
        file = None if _file is None else str(_file)
        os.environ[_HANDED_ON] = json.dumps({"file": file, "fd": _output.fileno()})


def reopen() -> None:
    """Write to the file that has the log's name now; go on with the one before where it cannot be opened."""
    if _file is not None:
        try:
            _write_to(_file)
        except OSError as exc:
            say(f"*** cannot open {str(_file)!r} again: {exc.strerror}; the log goes on where it was ***")


def size() -> int:
    """Return the bytes in the log's file; 0 when there is none."""
    try:
        return 0 if _file is None else _file.stat().st_size
    except OSError:
        return 0


def rotate() -> bool:
    """Give the log's file a name with the time in it, for ``reopen`` to begin another; return whether there is one."""
    if _file is None:
        return False
    try:
        _file.rename(f"{_file}.{int(time.time())}")
    except OSError as exc:
        say(f"*** cannot rename {str(_file)!r}: {exc.strerror} ***")
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which requests have an access line where not all have one; any of these is enough.

    Args:
        client_errors: Those with a status of 400 to 499.
        server_errors: Those with 500 to 599.
        slow: Those that took so many milliseconds; 0 for none.
        big: Those whose response body has so many bytes; 0 for none.
        empty: Those whose has none.
    """

    client_errors: bool = False
    server_errors: bool = False
    slow: int = 0
    big: int = 0
    empty: bool = False

    def __bool__(self) -> bool:
        return self != Selection()

    def has(self, request: Request) -> bool:
        """Say whether a request that is over is among them."""
        size = _generated(request)
        return (
            (self.client_errors and 400 <= request.status < 500)
            or (self.server_errors and 500 <= request.status < 600)
            or 0 < self.slow <= _milliseconds(request)
            or 0 < self.big <= size
            or (self.empty and not size)
        )


class AccessLog:
    """Writes one line a request, when it is over.

    Args:
        log_format: uWSGI's notation, ``%(name)`` for each value; None for uWSGI's own line.
        worker_id: For ``%(wid)``.
        stats: The worker's.
        selection: Which requests have a line; None for all.
        dates_as_lines: Write ``%(ftime)`` as the time that lines begin with.
        forwarded_for: Whether a client is called as X-Forwarded-For has it, where it is there, whoever wrote that.
    """

    def __init__(
        self,
        log_format: str | None,
        worker_id: int,
        stats: Stats,
        selection: Selection | None = None,
        *,
        dates_as_lines: bool = False,
        forwarded_for: bool = False,
    ) -> None:
        self._selection = selection
        self._dates_as_lines = dates_as_lines
        self._address = _forwarded_for if forwarded_for else _VALUES["addr"]
        self._worker_id = worker_id
        self._stats = stats
        self._pieces = None if log_format is None else [*self._compile(log_format)]

    def write(self, request: Request) -> None:
        """Write the request's line, if it is to have one."""
        if self._selection is not None and not self._selection.has(request):
            return
        if self._pieces is None:
            line = self._default_line(request)
        else:
            # As in uWSGI, one's own format has its own time, or none.
            _write("".join([piece if isinstance(piece, str) else piece(request) for piece in self._pieces]))
            return
        say(line)

    def _default_line(self, request: Request) -> str:
        line = (
            f"[pid: {os.getpid()}|app: 0|req: {request.request_id}/{self._stats.requests}] "
            f"{self._address(request)} ({_var(request, 'REMOTE_USER')}) "
            f"{{{request.variable_count} vars in {request.head_size} bytes}} [{time.ctime(request.started_at)}] "
            f"{_var(request, 'REQUEST_METHOD')} {_var(request, 'REQUEST_URI')} => "
            f"generated {_generated(request)} bytes in {_milliseconds(request)} msecs "
            f"({_var(request, 'SERVER_PROTOCOL')} {request.status}) "
            f"{request.header_count} headers in {request.header_bytes} bytes (1 switches on core {request.core})"
        )
        websocket = request.websocket
        if websocket is None:
            return line
        return (
            f"{line} websocket: received {websocket.messages_received} messages in {websocket.bytes_received} bytes, "
            f"sent {websocket.messages_sent} in {websocket.bytes_sent}, closed {websocket.close_code}"
            f"{'' if (forgiven := _lenient(request)) == '-' else f', lenient {forgiven}'}"
        )

    def _compile(self, log_format: str) -> list[str | Callable[[Request], str]]:
        pieces: list[str | Callable[[Request], str]] = []
        for name, literal in re.findall(r"%\(([^)]*)\)|([^%]+|%)", log_format):
            pieces.append(literal if literal else self._value(name))
        return pieces

    def _value(self, name: str) -> Callable[[Request], str]:
        if name == "addr":
            return self._address
        if name == "ftime" and self._dates_as_lines and _date:
            form = _date
            return lambda request: time.strftime(form, time.localtime(request.started_at))
        if name in _VALUES:
            return _VALUES[name]
        if name.startswith("var."):
            key = name[4:]
            return lambda request: _var(request, key)
        if name == "wid":
            return lambda request: str(self._worker_id)
        # Anything else is a log variable that an application may set (uwsgi.set_logvar).
        return lambda request: escape((request.logvars or {}).get(name, "-"))


def escape(text: str) -> str:
    """Return a client's text for the log: what could end a line or a quotation is shown, not written."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def _var(request: Request, name: str) -> str:
    value = request.environ.get(name, "")
    return escape(value) if isinstance(value, str) else "-"


def _forwarded_for(request: Request) -> str:
    return _var(request, "HTTP_X_FORWARDED_FOR") or _var(request, "REMOTE_ADDR")


def _memory(number: int) -> int:
    """Return bytes of address space (0) or of resident memory (1)."""
    return int(Path("/proc/self/statm").read_text().split()[number]) * _PAGE_SIZE


def _generated(request: Request) -> int:
    return request.body_bytes if request.websocket is None else request.websocket.bytes_sent


def _milliseconds(request: Request) -> int:
    return int((time.monotonic() - request.began_at) * 1000)


def _time_format(request: Request) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(request.started_at))


def _lenient(request: Request) -> str:
    """Return what ``--websockets-lenient`` has forgiven a client, a dash for nothing."""
    words = [word] if (word := (request.logvars or {}).get("websocket.lenient")) else []
    if request.websocket is not None and request.websocket.has_unmasked:
        words.append("masking")
    return ",".join(words) or "-"


def _of_websocket(attribute: str) -> Callable[[Request], str]:
    return lambda request: "-" if request.websocket is None else str(getattr(request.websocket, attribute))


#: uWSGI's names (its LogFormat page), then ours for WebSockets.
_VALUES: dict[str, Callable[[Request], str]] = {
    "addr": lambda request: _var(request, "REMOTE_ADDR"),
    "user": lambda request: _var(request, "REMOTE_USER"),
    "method": lambda request: _var(request, "REQUEST_METHOD"),
    "uri": lambda request: _var(request, "REQUEST_URI"),
    "proto": lambda request: _var(request, "SERVER_PROTOCOL"),
    "host": lambda request: _var(request, "HTTP_HOST"),
    "uagent": lambda request: _var(request, "HTTP_USER_AGENT"),
    "referer": lambda request: _var(request, "HTTP_REFERER"),
    "status": lambda request: str(request.status),
    "msecs": lambda request: str(_milliseconds(request)),
    "secs": lambda request: f"{time.monotonic() - request.began_at:.3f}",
    "micros": lambda request: str(int((time.monotonic() - request.began_at) * 1e6)),
    "size": lambda request: str(_generated(request) + request.header_bytes),
    "rsize": lambda request: str(_generated(request)),
    "hsize": lambda request: str(request.header_bytes),
    "headers": lambda request: str(request.header_count),
    "vars": lambda request: str(request.variable_count),
    "pktsize": lambda request: str(request.head_size),
    "pid": lambda request: str(os.getpid()),
    "core": lambda request: str(request.core),
    "switches": lambda request: "1",
    "ctime": lambda request: time.ctime(request.started_at),
    "ltime": _time_format,
    "ftime": _time_format,
    "rss": lambda request: str(_memory(1)),
    "rssM": lambda request: str(_memory(1) >> 20),
    "vsz": lambda request: str(_memory(0)),
    "vszM": lambda request: str(_memory(0) >> 20),
    "time": lambda request: str(int(request.started_at)),
    "epoch": lambda request: str(int(time.time())),
    "websocket.received": _of_websocket("messages_received"),
    "websocket.sent": _of_websocket("messages_sent"),
    "websocket.bytes_received": _of_websocket("bytes_received"),
    "websocket.bytes_sent": _of_websocket("bytes_sent"),
    "websocket.close_code": _of_websocket("close_code"),
    "websocket.lenient": _lenient,
}
