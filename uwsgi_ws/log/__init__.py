"""The log: where it goes, and how its lines begin.

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
from pathlib import Path
from typing import Any

from uwsgi_ws.errors import OptionError
from uwsgi_ws.files import open_file
from uwsgi_ws.log.output import LogOutput, fill_standard_descriptors, flush_streams, install_streams

__all__ = [
    "configure",
    "date_format",
    "escape",
    "finish",
    "hand_on_log",
    "log_by",
    "log_descriptor",
    "log_file",
    "mark_lines",
    "output",
    "reopen",
    "rotate",
    "say",
    "size",
    "write_line",
]

#: The file that all output goes to; None for stderr as it is.
_file: Path | None = None
#: Where the log goes; None in a process that is no server, whose lines go to ``sys.stderr``.
_output: LogOutput | None = None
#: What writes lines where the process is another server's.
_other: Callable[[int, str], None] | None = None
#: Users, besides root, whose file the log may be.
_users: tuple[int, ...] = ()

#: An environment variable for the program that replaces this one by ``exec``: the file, and its descriptor.
_HANDED_ON = "UWSGI_WS_LOG"

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


def date_format() -> str | None:
    """Return the time that lines begin with, in strftime's notation; empty for ctime's, None for no time."""
    return _date


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
    write_line(text)


def write_line(text: str) -> None:
    """Write a line as it is: it has its own beginning."""
    if _output is not None:
        _output.write(text.encode("utf-8", "backslashreplace") + b"\n")
        return
    if _other is not None:
        _other(logging.INFO, text)
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

    A file that is the log's already stays so if it cannot be opened again: root may have opened it.

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
    _handle_by(lambda level, text: say(text), "[%(name)s] %(levelname)s: %(message)s")


def log_by(write: Callable[[int, str], None]) -> None:
    """Have another server's log take our loggers' lines, and those of the server's own.

    Args:
        write: Writes a line; it is told how severe that is, as ``logging`` has it.
    """
    global _other
    _other = write
    _handle_by(write, "[%(name)s] %(message)s")


def _handle_by(write: Callable[[int, str], None], form: str) -> None:
    logger = logging.getLogger("uwsgi_ws")
    logger.handlers = [_Handler(write, form)]  # a process that was forked has its parent's already
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
    """Has records written as lines, each with its level."""

    def __init__(self, write: Callable[[int, str], None], form: str) -> None:
        super().__init__()
        self._write = write
        self.setFormatter(_LineFormatter(form))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(record.levelno, self.format(record))
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


def escape(text: str) -> str:
    """Return a client's text for the log: what could end a line or a quotation is shown, not written."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
