"""The log: where it goes, and how its lines begin.

Everything goes to stderr, or to the file of ``--logto``: what the server says, and what the application prints. A file
is also descriptor 1 and 2 of the process, for programs that the application starts. Where there are loggers, each line
goes to those that it belongs to (``routing``); what such programs write stays where it was. What a client sent is
escaped, so that nobody writes lines of their own into the log.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from uwsgi_ws.errors import OptionError
from uwsgi_ws.log.datagrams import DatagramOutput, packets_of
from uwsgi_ws.log.file import FileRules, LogFile
from uwsgi_ws.log.output import (
    LAST_PATIENCE,
    LogOutput,
    divide_prints,
    fill_standard_descriptors,
    flush_streams,
    install_streams,
)
from uwsgi_ws.log.records import record
from uwsgi_ws.log.routing import LogRoutes, Sink
from uwsgi_ws.loggers import LogEncoder, Logger, LogRoute

__all__ = [
    "FileRules",
    "Sink",
    "configure",
    "date_format",
    "escape",
    "finish",
    "hand_on_log",
    "log_by",
    "log_descriptor",
    "log_file",
    "main_sink",
    "mark_lines",
    "name_requests",
    "open_sink",
    "outputs",
    "reopen",
    "rotate",
    "rotate_full",
    "say",
    "say_request",
    "size",
    "use_loggers",
    "use_records",
    "write_line",
]

#: The file that all output goes to; None for stderr as it is.
_file: LogFile | None = None
#: Where the log goes; None in a process that is no server, whose lines go to ``sys.stderr``.
_output: LogOutput | None = None
#: What writes lines where the process is another server's.
_other: Callable[[int, str], None] | None = None
#: Those of loggers, by what is meant by them, so that a reload goes on with what root has opened.
_sinks: dict[tuple[Logger, FileRules], Sink] = {}
#: Where lines go if not all to the log: those of requests, and all others.
_routes: LogRoutes | None = None
_request_routes: LogRoutes | None = None
#: Files of loggers that the program before this one had open, by path.
_handed_on_sinks: dict[str, int] = {}

#: An environment variable for the program that replaces this one by ``exec``: the file, and its descriptor.
_HANDED_ON = "UWSGI_WS_LOG"

#: What makes a terminal do something; lines and their indentation stay.
_TERMINAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\"\\]")


#: Whether lines are JSON objects.
_has_records = False


def _no_name() -> str | None:
    return None


#: Returns what the request is called that is being answered; None while none is.
_name_of_request: Callable[[], str | None] = _no_name

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


def use_records(is_wanted: bool) -> None:
    """Have lines be JSON objects, those that the application prints, too; to be said before ``use_loggers``."""
    global _has_records
    _has_records = is_wanted


def name_requests(name: Callable[[], str | None]) -> None:
    """Have lines say which request they belong to.

    Args:
        name: Returns what the request is called that is being answered; None while none is.
    """
    global _name_of_request
    _name_of_request = name


def _record(level: str, logger: str, message: str, **fields: object) -> str:
    return record(level, logger, message, {"request_id": _name_of_request(), **fields})


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
    if _has_records:
        text = _record("info", "uwsgi_ws", text)
    elif _date is not None or _prefix is not None:
        text = _marked(text)
    write_line(text)


def say_request(text: str, *, is_whole: bool, fields: Mapping[str, object] | None = None) -> None:
    """Write the line of a request.

    Args:
        text: Without an end.
        is_whole: Whether it has its own beginning, and gets no other.
        fields: What a JSON object has besides.
    """
    if _has_records:
        text = record("info", "uwsgi_ws.access", text, fields)
    elif not is_whole and (_date is not None or _prefix is not None):
        text = _marked(text)
    if _request_routes is None:
        write_line(text)
    else:
        _write_by(_request_routes, text.encode("utf-8", "backslashreplace") + b"\n")


def write_line(text: str) -> None:
    """Write a line as it is: it has its own beginning."""
    if _routes is not None:
        _write_by(_routes, text.encode("utf-8", "backslashreplace") + b"\n")
        return
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


def _write_by(routes: LogRoutes, data: bytes) -> None:
    """Write lines, which may be several: a traceback has many."""
    for line in data.removesuffix(b"\n").split(b"\n"):
        routes.write(line + b"\n")


def configure(
    logto: str | None, option: str = "--logto", rules: FileRules | None = None, started_in: str | None = None
) -> None:
    """Send our loggers, and all that the process prints, where they belong.

    A file that is the log's already stays so if it cannot be opened again: root may have opened it.

    Args:
        logto: The file; None for stderr as it is.
        option: What named the file, for errors.
        rules: How the file is kept; None for no rules.
        started_in: The directory that its path starts in; None for the current one.

    Raises:
        OptionError: the file cannot be opened.
    """
    global _file
    if _output is None:
        _begin()
    assert _output is not None
    if logto is not None:
        path = Path(started_in or os.getcwd(), logto)  # the application may change the directory later
        before, _file = _file, LogFile(path, rules or FileRules(), is_standard=True)
        if before is None or before.path != path:
            try:
                _file.write_to(_output)
                _file.truncate(_output)
            except OSError as exc:
                raise OptionError(option, f"cannot open {logto!r}: {exc.strerror}") from exc
        elif not _file.is_open(_output):
            _reopen(_file, _output)
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


def main_sink(name: str = "") -> Sink:
    """Return where the log goes without loggers: the one of ``stdio``."""
    assert _output is not None, "it is configured"
    return Sink(name, _output)


def open_sink(logger: Logger, rules: FileRules, started_in: str, *, packet_size: int, splits: bool) -> Sink:
    """Return where a logger's lines go; opened now, unless it has been before.

    Args:
        logger: What the option says.
        rules: How a file is kept, less its own words on rotation.
        started_in: The directory that paths start in.
        packet_size: Bytes of a packet to rsyslog.
        splits: Whether longer lines go in several.

    Raises:
        OSError: It cannot be opened; ``strerror`` says why.
    """
    if logger.kind == "stdio":
        return main_sink(logger.name)
    if logger.kind == "fd":
        what = logger, rules
        if what not in _sinks:
            _sinks[what] = Sink(logger.name, LogOutput(int(logger.target), is_shared=True))
    elif logger.kind in ("file", "fifo"):
        backup = Path(started_in, logger.backup) if logger.backup else None
        rules = replace(rules, max_size=logger.max_size, backup=backup)
        what = logger._replace(target=str(Path(started_in, logger.target))), rules
        _open_file(*what)
    else:
        target = str(Path(started_in, logger.target)) if not logger.port else logger.target
        what = logger._replace(target=target), rules
        if what not in _sinks:
            _sinks[what] = Sink(logger.name, DatagramOutput(what[0]), packets_of(logger, packet_size, splits))
    sink = _sinks[what]
    sink.output.on_loss = partial(_tell_of_loss, f"{logger.kind}:{logger.target}")
    return sink


def _open_file(logger: Logger, rules: FileRules) -> None:
    """Open the file of a logger, or look whether it still is the one."""
    sink = _sinks.get((logger, rules))
    if sink is None:
        if logger.kind == "fifo" and not os.path.lexists(logger.target):
            os.mkfifo(logger.target, 0o640)
        if logger.kind == "fifo" and not Path(logger.target).is_fifo():
            raise FileExistsError(errno.EEXIST, "There is something else")
        file = LogFile(Path(logger.target), rules)
        if logger.target in _handed_on_sinks:
            output = LogOutput(_handed_on_sinks[logger.target], is_shared=False)
        else:
            output = file.output()
            file.truncate(output)
        sink = _sinks[logger, rules] = Sink(logger.name, output, file=file)
    assert sink.file is not None
    if not sink.file.is_open(sink.output):
        _reopen(sink.file, sink.output)


def use_loggers(
    sinks: Sequence[Sink],
    request_sinks: Sequence[Sink],
    encoders: Iterable[LogEncoder] = (),
    request_encoders: Iterable[LogEncoder] = (),
    routes: Iterable[LogRoute] = (),
    request_routes: Iterable[LogRoute] = (),
    drains: Iterable[str] = (),
    filters: Iterable[str] = (),
) -> None:
    """Have lines go to loggers from now on; those that were in use before, and are not here, are closed.

    Args:
        sinks: For all lines, or all but those of requests.
        request_sinks: For lines of requests; empty for no others than those above.
        encoders: And the following: as ``LogRoutes`` takes them.
        request_encoders: For lines of requests that have their own sinks, as are ``request_routes``.
        routes: As above.
        request_routes: They may name any sink.
        drains: As above.
        filters: As above.
    """
    global _routes, _request_routes
    assert _output is not None, "it is configured"
    _output.takes_records, _output.form = False, bytes
    everything = (tuple(encoders), tuple(routes), tuple(drains), tuple(filters))
    used = {id(sink) for sink in (*sinks, *request_sinks)}
    for what in [what for what, sink in _sinks.items() if id(sink) not in used]:
        _sinks.pop(what).output.close()
    while _handed_on_sinks:
        os.close(_handed_on_sinks.popitem()[1])  # those that are in use have a descriptor of their own
    _routes = _request_routes = None
    if request_sinks:
        named = [sink for sink in sinks if sink.name]
        _request_routes = LogRoutes([*named, *request_sinks], main_sink(), request_encoders, request_routes)
    if sinks or request_sinks or any(everything):
        _routes = LogRoutes(sinks, main_sink(), *everything)
    if _has_records:
        form = _output.form
        _output.form = lambda line: form(_recorded(line))
        divide_prints(_write_prints)
    else:
        divide_prints(None if _routes is None else partial(_write_by, _routes))


def _write_prints(data: bytes) -> None:
    """Write what the application prints as JSON objects, one for each line."""
    for line in data.removesuffix(b"\n").split(b"\n"):
        write_line(_recorded(line).decode().removesuffix("\n"))


def _recorded(line: bytes) -> bytes:
    return _record("info", "print", line.decode("utf-8", "backslashreplace").removesuffix("\n")).encode() + b"\n"


def _tell_of_loss(name: str, reason: str) -> None:
    """Say where the log goes without loggers that one of them takes no lines."""
    if _output is not None:
        line = f"*** logger {name}: {reason}; its lines are lost until it takes them again ***\n".encode()
        _output.write(_output.form(line))


class _LineFormatter(logging.Formatter):
    """Escapes control characters in messages, which hold request targets: bytes beyond ASCII, among others."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; what an application's traceback says comes behind it, as it is."""
        record.message = _TERMINAL.sub(_escaped, record.message)
        if (name := _name_of_request()) is not None:
            record.message += f" [request {name}]"
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
            if _has_records:
                write_line(_of_logging(record))
            else:
                self._write(record.levelno, self.format(record))
        except Exception:
            self.handleError(record)


def _of_logging(entry: logging.LogRecord) -> str:
    error = logging.Formatter().formatException(entry.exc_info) if entry.exc_info else None
    return _record(entry.levelname.lower(), entry.name, entry.getMessage(), exception=error)


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
            if handed_on["file"] is not None:
                _file = LogFile(Path(handed_on["file"]), FileRules(), is_standard=True)
            _handed_on_sinks.update(handed_on["sinks"])
    except (OSError, ValueError):
        pass  # it is not ours
    _output = LogOutput(fd, is_shared=is_shared)
    if fd != 2:
        os.close(fd)
    install_streams(_output)


def outputs() -> list[LogOutput]:
    """Return all that is written to, for an event loop to write on what waits; none in a process that is no server."""
    main = [] if _output is None else [_output]
    return main + [sink.output for sink in _sinks.values()]


def log_file() -> str | None:
    """Return the path of the log's file; None while the log is stderr."""
    if _output is None:
        _begin()
    return None if _file is None else str(_file.path)


def log_descriptor() -> int:
    """Return the descriptor of the log: the server's own, which no application knows."""
    return 2 if _output is None else _output.fileno()


def finish() -> None:
    """Write all that waits, as far as the reader takes it in a moment: the process ends, or becomes another program."""
    flush_streams()
    end = time.monotonic() + LAST_PATIENCE
    for output in outputs():
        output.finish(end)


def hand_on_log() -> None:
    """Leave the log to the program that this process is about to become by ``exec``."""
    finish()
    if _output is not None:
        files = {str(sink.file.path): sink.output.fileno() for sink in _sinks.values() if sink.file is not None}
        for fd in (_output.fileno(), *files.values()):
            os.set_inheritable(fd, True)
        file = None if _file is None else str(_file.path)
        os.environ[_HANDED_ON] = json.dumps({"file": file, "fd": _output.fileno(), "sinks": files})


def _files() -> list[tuple[LogFile, LogOutput]]:
    """Return the log's files with what writes to them; a fifo or a device is one, too."""
    files = [] if _file is None or _output is None else [(_file, _output)]
    return files + [(sink.file, sink.output) for sink in _sinks.values() if sink.file is not None]


def reopen() -> None:
    """Write to the files that have the log's names now; go on with those before where they cannot be opened."""
    for file, output in _files():
        _reopen(file, output)


def _reopen(file: LogFile, output: LogOutput) -> None:
    try:
        file.write_to(output)
    except OSError as exc:
        say(f"*** cannot open {str(file.path)!r} again: {exc.strerror}; the log goes on where it was ***")


def size() -> int:
    """Return the bytes in the log's file; 0 when there is none."""
    return 0 if _file is None else _file.size()


def rotate() -> bool:
    """Give the log's files other names, for ``reopen`` to begin new ones; return whether there are files."""
    files = _files()
    for file, _ in files:
        _rotate(file)
    return bool(files)


def rotate_full() -> bool:
    """Give those of the log's files other names that have grown too large; return whether there was one."""
    return any([_rotate(file) for file, _ in _files() if file.is_full])


def _rotate(file: LogFile) -> bool:
    """Rename a file; return whether that could be done."""
    try:
        file.rotate()
    except OSError as exc:
        say(f"*** cannot rename {str(file.path)!r}: {exc.strerror} ***")
        return False
    return True


def escape(text: str) -> str:
    """Return a client's text for the log: what could end a line or a quotation is shown, not written."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
