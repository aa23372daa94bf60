"""The command line as a source of settings."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from uwsgi_ws.errors import OptionError
from uwsgi_ws.options.setting import Setting
from uwsgi_ws.options.table import BY_NAME, BY_SHORT, row_named

__all__ = ["command_line"]


def command_line(argv: Sequence[str]) -> list[Setting]:
    """Return the settings of a command line, in order.

    Understood are ``--name value``, ``--name=value``, getopt's short flags (``-l 5``, ``-l5``, ``-LT``) and
    bare arguments that name a configuration file or an application.

    Raises:
        OptionError: An option is unknown or lacks its value, or a bare argument names neither.
    """
    settings: list[Setting] = []
    rest = deque(argv)
    while rest:
        argument = rest.popleft()
        if argument.startswith("--"):
            settings.append(_long(argument[2:], rest))
        elif argument.startswith("-"):
            settings.extend(_short(argument[1:], rest))
        else:
            settings.extend(_bare(argument))
    return settings


def _long(text: str, rest: deque[str]) -> Setting:
    name, equals, value = text.partition("=")
    row = row_named(Setting(name, None))
    if equals:
        return Setting(name, value)
    return Setting(name, None if row.is_flag else _next(f"--{name}", rest))


def _short(letters: str, rest: deque[str]) -> Iterator[Setting]:
    if not letters:
        raise OptionError("-", "unknown option")
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter not in BY_SHORT:
            raise OptionError(f"-{letter}", "unknown option")
        row = BY_SHORT[letter]
        if row.is_flag:
            yield Setting(row.name, None)
        else:
            yield Setting(row.name, letters or _next(f"-{letter}", rest))
            return


def _next(option: str, rest: deque[str]) -> str:
    """Take the next argument as a value, unless it is an option: ``--chdir --http :80`` lacks a directory."""
    if not rest or (rest[0].startswith("--") and rest[0][2:].partition("=")[0] in BY_NAME):
        raise OptionError(option, "needs a value")
    return rest.popleft()


def _bare(argument: str) -> Iterator[Setting]:
    """Read ``app.ini``, ``app.py``, ``app.wsgi``, ``pkg.mod`` or ``pkg.mod:callable`` (uWSGI's ``uwsgi_python_magic``).

    Whether ``mysite.wsgi`` is a file or a module is seen where it is loaded from.
    """
    target, colon, name = argument.partition(":")
    if target.endswith(".ini"):
        yield Setting("ini", argument)
        return
    is_module = ("." in target or colon) and all(part.isidentifier() for part in target.split("."))
    if not is_module and not target.endswith((".py", ".wsgi")):
        problem = "neither an option nor an application (app.py, app.py:callable or pkg.mod:callable) nor a file.ini"
        raise OptionError(repr(argument), problem)
    if colon and not name.removesuffix("()").isidentifier():
        raise OptionError(repr(argument), f"{name!r} cannot be the name of a callable")
    if target.endswith(".py") or not is_module:
        option = "wsgi-file"
    else:
        option = "module" if colon and not target.endswith(".wsgi") else "application"
    yield Setting(option, target)
    if colon:
        yield Setting("callable", name)
