"""What is done at steps of an instance's life: ``--hook-pre-app exec:COMMAND``, ``--exec-pre-app COMMAND`` and so on.

Source: uWSGI's core/hooks.c and its documentation's page on hooks.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

from uwsgi_ws.errors import BootError
from uwsgi_ws.log import say
from uwsgi_ws.options import Hook, Options
from uwsgi_ws.process.children import start

__all__ = ["run", "run_action", "spawn"]

_SHELL = "/bin/sh"


def run(options: Options, step: str, *, is_fatal: bool = True) -> None:
    """Do what is asked for at a step, hooks first.

    Args:
        options: They say it.
        step: Such as ``pre-app``.
        is_fatal: Whether what fails keeps the instance from starting; else it is only said.

    Raises:
        BootError: something failed, and is fatal.
    """
    attribute = step.replace("-", "_")
    hooks: tuple[Hook, ...] = getattr(options, f"hook_{attribute}", ())
    commands: tuple[str, ...] = getattr(options, f"exec_{attribute}", ())
    for hook in (*hooks, *(Hook("exec", command) for command in commands)):
        problem = run_action(hook, step)
        if problem and is_fatal:
            raise BootError(f"{hook.action}:{hook.argument} ({step}): {problem}")
        if problem:
            say(f"*** {hook.action}:{hook.argument} ({step}): {problem} ***")


def run_action(hook: Hook, step: str) -> str:
    """Do one action; return what went wrong, empty for nothing."""
    if hook.action == "unix_signal":
        return ""  # the master has set it up
    say(f'running "{hook.action}:{hook.argument}" ({step})...')
    try:
        return _ACTIONS[hook.action](hook.argument)
    except (OSError, ValueError) as exc:
        return getattr(exc, "strerror", None) or str(exc)


def spawn(command: str) -> int:
    """Start a command for the shell, as ``children.start`` does."""
    return start([_SHELL, "-c", command], os.environ, {})


def _exec(command: str) -> str:
    status = subprocess.run([_SHELL, "-c", command], stdin=subprocess.DEVNULL, check=False).returncode
    return f"exit status {status}" if status else ""


def _safe_exec(command: str) -> str:
    _exec(command)
    return ""


def _print(text: str) -> str:
    say(text)
    return ""


def _change_directory(path: str) -> str:
    os.chdir(path)
    return ""


def _make_directory(path: str) -> str:
    os.mkdir(path)
    return ""


def _set_variable(text: str) -> str:
    name, _, value = text.partition("=")
    os.environ[name] = value
    return ""


def _change_mode(text: str) -> str:
    path, _, mode = text.rpartition(" ")
    os.chmod(path, int(mode, 8))
    return ""


def _unlink(path: str) -> str:
    os.unlink(path)
    return ""


def _writer(mode: int, end: str) -> Callable[[str], str]:
    def write(text: str) -> str:
        path, _, content = text.partition(" ")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | mode, 0o666)
        try:
            os.write(fd, os.fsencode(content + end))
        finally:
            os.close(fd)
        return ""

    return write


_ACTIONS: dict[str, Callable[[str], str]] = {
    "append": _writer(os.O_APPEND, ""),
    "appendn": _writer(os.O_APPEND, "\n"),
    "cd": _change_directory,
    "chdir": _change_directory,
    "chmod": _change_mode,
    "create": _writer(os.O_TRUNC, ""),
    "creat": _writer(os.O_TRUNC, ""),
    "exec": _exec,
    "log": _print,
    "mkdir": _make_directory,
    "print": _print,
    "putenv": _set_variable,
    "safeexec": _safe_exec,
    "unlink": _unlink,
    "write": _writer(os.O_TRUNC, ""),
    "writen": _writer(os.O_TRUNC, "\n"),
}
