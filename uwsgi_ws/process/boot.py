"""What every process of the instance does first, and how one that cannot start says so."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable

from uwsgi_ws.errors import BootError, OptionError
from uwsgi_ws.log import configure, reopen, say
from uwsgi_ws.options import Options
from uwsgi_ws.process.signals import REOPEN

__all__ = ["complain", "prepare", "say_concurrency", "status_of", "tell_notes"]


def prepare(options: Options) -> None:
    """Do what must come before the application: log, environment, directory.

    Raises:
        OptionError: the log cannot be opened, or there is no such directory.
    """
    if options.logto is None and options.daemonize is not None:
        configure(options.daemonize, "--daemonize")
    else:
        configure(options.logto)
    # Whoever is forked from here has it from the first moment on.
    signal.signal(REOPEN, lambda number, frame: reopen())
    for variable in options.env:
        os.environ[variable.name] = variable.value
    if options.chdir is not None:
        try:
            os.chdir(options.chdir)
        except OSError as exc:
            raise options.error("chdir", f"cannot change to {options.chdir!r}: {exc.strerror}") from exc


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


def status_of(life: Callable[[], int]) -> int:
    """Run a process's life; return the status it shall end with, having said why if it could not start."""
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
        # The application's own code failed while it was imported: that traceback is the user's to see.
        traceback.print_exc()
        return complain("the application could not be loaded", 1)


def complain(problem: str, status: int) -> int:
    """Say what is wrong, in a line for each problem; return ``status``."""
    for line in problem.splitlines():
        print(f"uwsgi_ws: {line}", file=sys.stderr, flush=True)
    return status
