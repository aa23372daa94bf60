"""What every process of the instance does first, and how one that cannot start says so."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from uwsgi_ws.errors import BootError, OptionError
from uwsgi_ws.hub.own import keep_signal
from uwsgi_ws.log import configure, finish, log_file, mark_lines, reopen, say, use_records
from uwsgi_ws.options import Options
from uwsgi_ws.process.loggers import file_rules, set_up_loggers
from uwsgi_ws.process.privileges import drop, drop_at_once
from uwsgi_ws.process.signals import REOPEN

__all__ = [
    "become_user",
    "complain",
    "end",
    "go_back",
    "prepare",
    "print_traceback_of_application",
    "say_concurrency",
    "starting",
    "status_of",
    "tell_notes",
]

#: Modules whose frames lead to the application while it is imported.
_OUTER = re.compile(r"(?:uwsgi_ws|importlib|_frozen_importlib)(?:\..*)?|_frozen_importlib_external")

#: The directories that were entered, and their descriptors: a process that is root no more may find no way there.
_directories: dict[str, int] = {}


def prepare(options: Options, started_in: str) -> None:
    """Do what must come before the application: log, environment, directory.

    Args:
        options: Checked already.
        started_in: The directory that the paths of log and directory start in.

    Raises:
        OptionError: the log cannot be opened, or there is no such directory, user or group.
    """
    drop_at_once(options)
    if options.umask is not None:
        os.umask(options.umask)
    if options.force_cwd is not None:
        started_in = _enter(options, "force-cwd", started_in, options.force_cwd)
    mark_lines(options.log_date, options.log_prefix)
    use_records(options.log_json)
    if options.logto2 is not None and os.path.join(started_in, options.logto2) == log_file():
        _begin_late_log(options, started_in)  # another user opened the first log
    elif options.logto is None and options.daemonize is not None:
        configure(options.daemonize, "--daemonize", file_rules(options, started_in), started_in)
    else:
        configure(options.logto, "--logto", file_rules(options, started_in), started_in)
    set_up_loggers(options, started_in)
    # Processes forked later inherit it from their first moment on.
    signal.signal(REOPEN, lambda number, frame: reopen())
    keep_signal(REOPEN)
    _set_limits(options)
    if options.thread_stacksize:
        try:
            threading.stack_size(options.thread_stacksize * 1024)
        except ValueError as exc:
            raise options.error("thread-stacksize", str(exc)) from None
    for folder in options.envdir:
        try:
            for file in sorted(Path(folder).iterdir()):
                if file.is_file() and "=" not in file.name:
                    os.environ[file.name] = file.read_text(errors="surrogateescape").partition("\n")[0].rstrip()
        except OSError as exc:
            raise options.error("envdir", f"cannot read {folder!r}: {exc.strerror}") from exc
    for variable in options.env:
        os.environ[variable.name] = variable.value
    for name in options.unenv:
        os.environ.pop(name, None)
    if options.chdir is not None:
        _enter(options, "chdir", started_in, options.chdir)


def _enter(options: Options, name: str, started_in: str, directory: str) -> str:
    """Change to a directory and return its path."""
    path = os.path.join(started_in, directory)
    try:
        _change_to(path)
    except OSError as exc:
        raise options.error(name, f"cannot change to {directory!r}: {exc.strerror}") from exc
    return path


def _set_limits(options: Options) -> None:
    """Set what the kernel lets a process have; as in uWSGI, what it refuses is said and does not matter."""
    for name, what, value in (
        ("limit-as", resource.RLIMIT_AS, options.limit_as << 20),
        ("limit-nproc", resource.RLIMIT_NPROC, options.limit_nproc),
        ("max-fd", resource.RLIMIT_NOFILE, options.max_fd),
    ):
        if value and resource.getrlimit(what) != (value, value):
            try:
                resource.setrlimit(what, (value, value))
            except (OSError, ValueError) as exc:
                say(f"*** {options.error(name, f'cannot set this limit: {exc}')} ***")


def say_concurrency(options: Options) -> None:
    """Say how requests run where no option does, as an application may notice."""
    if options.is_serial:
        say(
            "concurrency: one request at a time in a worker, WebSockets in threads beside it, nothing monkey-patched "
            "(--gevent 1000: all at once, in greenlets)"
        )


def tell_notes(options: Options) -> None:
    """Say what the configuration holds that does not count, or not as it seems."""
    for note in options.notes:
        say(f"*** {note} ***")


def _change_to(path: str) -> None:
    try:
        os.chdir(path)
    except PermissionError:
        if path not in _directories:
            raise
        os.fchdir(_directories[path])
    else:
        if path not in _directories:
            _directories[path] = os.open(".", os.O_PATH | os.O_CLOEXEC)


def _begin_late_log(options: Options, started_in: str) -> None:
    if options.logto2 is not None:
        configure(options.logto2, "--logto2", file_rules(options, started_in), started_in)


def go_back(started_in: str) -> None:
    """Change to the directory that relative paths start in, if this user may."""
    try:
        os.chdir(started_in)
    except PermissionError:
        pass  # it is root's own


def become_user(options: Options, started_in: str) -> None:
    """Become the user and the group that the options name, and open what shall be theirs.

    Raises:
        OptionError: it cannot be.
    """
    drop(options)
    _begin_late_log(options, started_in)
    for path in options.touch_reload:
        try:
            os.stat(path)
        except PermissionError:
            say(f"*** WARNING: --touch-reload {path} cannot be seen by user {options.uid} ***")
        except OSError:
            pass  # it may come yet


@contextmanager
def starting() -> Iterator[None]:
    """Have a line say what the system refuses to a process that starts: it is no fault of the server's.

    Raises:
        BootError: for any OSError, and where there is no thread left.
    """
    try:
        yield
    except (OSError, RuntimeError) as exc:
        if isinstance(exc, RuntimeError) and str(exc) != "can't start new thread":
            raise
        frame = [frame for frame, _ in traceback.walk_tb(exc.__traceback__)][-1]
        what = getattr(exc, "strerror", None) or str(exc)
        filename = getattr(exc, "filename", None)
        if filename is not None:
            what += f": {filename!r}"
        raise BootError(f"cannot start: {what} ({frame.f_globals.get('__name__')}, {frame.f_code.co_name})") from exc


def status_of(life: Callable[[], int]) -> int:
    """Run a process; return its exit status. If it could not start, the log says why."""
    try:
        return life()
    except OptionError as exc:
        return complain(str(exc), 1)
    except BootError as exc:
        return complain(str(exc), exc.exit_status)
    except SystemExit as exc:
        # The application's own words while it was imported.
        if exc.code is None or isinstance(exc.code, int):
            return exc.code or 0
        return complain(str(exc.code), 1)
    except KeyboardInterrupt:
        return complain("interrupted before it was up", 130)
    except Exception:
        traceback.print_exc()
        return complain("an error of the server's own ends this process", 1)


def print_traceback_of_application(exc: BaseException) -> None:
    """Print a traceback without the frames that lead to the application: the loader's and the import system's."""
    first = exc.__traceback__
    while first is not None and _OUTER.fullmatch(first.tb_frame.f_globals.get("__name__") or ""):
        first = first.tb_next
    if first is None:
        if isinstance(exc, SyntaxError):  # the application's own; it names its place itself
            print("Traceback (most recent call last):", file=sys.stderr)
        else:
            first = exc.__traceback__  # it is ours
    traceback.print_exception(type(exc), exc, first)


def end(status: int) -> NoReturn:
    """End this process at once: neither return into frames of its parent's nor wait for threads."""
    finish()
    os._exit(status)


def complain(problem: str, status: int) -> int:
    """Say what is wrong, in a line for each problem; return ``status``."""
    for line in problem.splitlines():
        say(f"uwsgi_ws: {line}")
    return status
