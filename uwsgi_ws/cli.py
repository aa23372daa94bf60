"""From the command line to a running server: options first, then monkey-patching, then everything else.

Where there is a master, it is the one process that is never patched: it neither serves nor runs application code, and
never loads gevent.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from uwsgi_ws import __version__, _build
from uwsgi_ws.collector import at_rest
from uwsgi_ws.errors import OptionError
from uwsgi_ws.hub.own import arm
from uwsgi_ws.options import Options, help_text, ini_text, parse
from uwsgi_ws.options.setting import Findings

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; return its exit status: 1 when it could not start, 2 for a command line that is wrong.

    With ``publish`` as first argument, publish a message on a running server instead; with ``check``, tell what a
    configuration would do; with ``connect``, be a client; with ``go-module``, write out the module for programs in Go.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] == "publish":
        from uwsgi_ws.channels.client import main as publish

        return publish(arguments[1:])
    if arguments and arguments[0] == "ctl":
        from uwsgi_ws.process.ctl import main as ctl

        return ctl(arguments[1:])
    if arguments and arguments[0] == "connect":
        from uwsgi_ws.client.terminal import main as connect

        return connect(arguments[1:])
    if arguments and arguments[0] == "go-module":
        from uwsgi_ws.companions.go_module import main as go_module

        return go_module(arguments[1:])
    if arguments and arguments[0] == "check":
        from uwsgi_ws.check import main as check

        return check(arguments[1:], os.environ)
    is_a_reload = "UWSGI_WS_SOCKETS" in os.environ  # a worker without a master hands these on to itself
    files = _handed_on_files()
    started_in = os.environ.pop("UWSGI_WS_STARTED_IN", None) or os.getcwd()
    findings = Findings()
    try:
        options = parse(
            arguments, os.environ, is_a_reload=is_a_reload, findings=findings, kept=files, started_in=started_in
        )
    except OptionError as exc:
        from uwsgi_ws.check import rule_errors

        for error in (*exc.each, *rule_errors(findings.settings)):
            print(f"uwsgi_ws: {error}", file=sys.stderr)
        return 2
    if options.help:
        print(help_text())
        return 0
    if options.version:
        print(f"uwsgi_ws {__version__} ({_build.name()})")
        return 0
    for pidfile, number in (options.stop, signal.SIGINT), (options.reload, signal.SIGHUP):
        if pidfile is not None:
            return _signal(pidfile, number)
    if options.connect_and_read:
        from uwsgi_ws.process.stats_client import print_what_comes_from

        return max(map(print_what_comes_from, options.connect_and_read))
    if _build.is_free_threaded():
        print(
            "uwsgi_ws: this Python is a free-threaded build, which gevent does not support: use the usual build, "
            f"such as python{sys.version_info[0]}.{sys.version_info[1]} without a t",
            file=sys.stderr,
        )
        return 1
    if not is_a_reload:
        for text in options.print:
            print(text)
        if options.show_config:
            print(ini_text(options), end="", flush=True)
    if options.daemonize is not None and (status := _go_to_the_background(options, options.daemonize, started_in)):
        return status
    if options.has_master:
        return _supervise(options, arguments, files, started_in)
    return _serve(options, files, started_in)


def _signal(pidfile: str, number: int) -> int:
    """Send a signal to the process that a pidfile names."""
    try:
        with open(pidfile) as file:
            pid = int(file.read())
        if pid <= 0:  # the kernel would take it for all processes, or a group
            raise ValueError(f"{pid} is no process")
        os.kill(pid, number)
    except (OSError, ValueError) as exc:
        print(f"uwsgi_ws: {pidfile!r} tells of no process: {getattr(exc, 'strerror', None) or exc}", file=sys.stderr)
        return 1
    return 0


def _handed_on_files() -> dict[str, bytes]:
    """Return what configuration files held for the program before this one, which may have been root."""
    from uwsgi_ws.process.keys import handed_on_files

    return handed_on_files()


def _go_to_the_background(options: Options, log: str, started_in: str) -> int:
    """Return 0 in the process that goes on, or the exit status when none does."""
    from uwsgi_ws.log import configure
    from uwsgi_ws.process.daemon import daemonize, is_daemon
    from uwsgi_ws.process.loggers import file_rules

    if is_daemon():
        return 0
    try:
        # Opened here already, so that an error is shown where the user looks.
        configure(log, "--daemonize", file_rules(options, started_in), started_in)
    except OptionError as exc:
        print(f"uwsgi_ws: {exc}", file=sys.stderr)
        return 1
    daemonize()
    return 0


def _supervise(options: Options, arguments: Sequence[str], files: dict[str, bytes], started_in: str) -> int:
    with at_rest():
        from uwsgi_ws.log import finish
        from uwsgi_ws.process.boot import status_of
        from uwsgi_ws.process.master import Master

    def read_options(is_a_reload: bool) -> Options:
        return parse(arguments, os.environ, is_a_reload=is_a_reload, kept=files, started_in=started_in)

    try:
        return status_of(Master(options, read_options, started_in).run)
    finally:
        finish()


def _serve(options: Options, files: dict[str, bytes], started_in: str) -> int:
    try:
        arm()
    except OSError as exc:
        print(f"uwsgi_ws: cannot start: {exc.strerror}", file=sys.stderr)
        return 1
    with at_rest():
        if options.monkey_patch:
            from uwsgi_ws.hub.patching import patch

            patch()
        # Imported this late because it imports what must be patched.
        from uwsgi_ws.hub.shield import shield_signals
        from uwsgi_ws.log import finish
        from uwsgi_ws.process.alone import serve_alone
        from uwsgi_ws.process.boot import status_of

    shield_signals()
    try:
        return status_of(lambda: serve_alone(options, started_in, files))
    finally:
        finish()
