"""From the command line to a running server: options first, then monkey-patching, then everything else."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from uwsgi_ws import __version__, _build
from uwsgi_ws.errors import BootError, OptionError
from uwsgi_ws.options import Options, help_text, parse

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; return its exit status: 1 when it could not start, 2 for a command line that is wrong."""
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
    except OptionError as exc:
        return _complain(str(exc), 2)
    if options.help:
        print(help_text())
        return 0
    if options.monkey_patch:
        from gevent import monkey

        monkey.patch_all()
    # Not before: it imports what must be patched.
    from uwsgi_ws.process.worker import Worker

    if options.version:
        print(f"uwsgi_ws {__version__} ({_build.name()})")
        return 0
    try:
        started_in = os.getcwd()
        _prepare(options)
        return Worker(options, started_in).run()
    except OptionError as exc:
        return _complain(str(exc), 1)
    except BootError as exc:
        return _complain(str(exc), exc.exit_status)
    except KeyboardInterrupt:
        return _complain("interrupted before it was up", 130)
    except Exception:
        # The application's own code failed while it was imported: that traceback is the user's to see.
        import traceback

        traceback.print_exc()
        return _complain("the application could not be loaded", 1)


def _prepare(options: Options) -> None:
    """Do what must come before the application: log, environment, directory."""
    from uwsgi_ws.log import configure

    configure(options.logto)
    for variable in options.env:
        os.environ[variable.name] = variable.value
    if options.chdir is not None:
        try:
            os.chdir(options.chdir)
        except OSError as exc:
            raise options.error("chdir", f"cannot change to {options.chdir!r}: {exc.strerror}") from exc


def _complain(problem: str, status: int) -> int:
    print(f"uwsgi_ws: {problem}", file=sys.stderr)
    return status
