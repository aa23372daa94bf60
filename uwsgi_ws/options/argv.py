"""The command line as a source of settings."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from uwsgi_ws.errors import OptionError
from uwsgi_ws.options.files import format_of
from uwsgi_ws.options.setting import Findings, Setting
from uwsgi_ws.options.table import BY_NAME, BY_SHORT, unknown_option
from uwsgi_ws.options.uwsgi_only import FOREIGN
from uwsgi_ws.options.values import is_perl

__all__ = ["command_line"]


def command_line(argv: Sequence[str], findings: Findings | None = None) -> list[Setting]:
    """Return the settings of a command line, in order; files of configuration that stand alone come last, as in uWSGI.

    It understands ``--name value``, ``--name=value``, getopt's short flags (``-l 5``, ``-l5``, ``-LT``) and
    bare arguments that name a configuration file or an application.

    Args:
        argv: Without the program's name.
        findings: Gets what is wrong; None to have it raised.

    Raises:
        OptionError: An option is unknown or lacks its value, or a bare argument names neither.
    """
    found = Findings() if findings is None else findings
    settings: list[Setting] = []
    files: list[Setting] = []
    rest = deque(argv)
    while rest:
        argument = rest.popleft()
        try:
            if argument.startswith("--"):
                settings.append(_long(argument[2:], rest))
            elif argument.startswith("-") and argument != "-":
                settings.extend(_short(argument[1:], rest))
            elif argument == "-" or format_of(argument) is not None:
                files.append(Setting("config", argument))
            else:
                settings.extend(_bare(argument))
        except OptionError as exc:
            found.errors.append(exc)
    if findings is None:
        found.check()
    return settings + files


def _long(text: str, rest: deque[str]) -> Setting:
    name, equals, value = text.partition("=")
    row = BY_NAME.get(name)
    if row is None:
        _pass_over_value(rest, equals)
        raise unknown_option(Setting(name, None))
    if equals:
        return Setting(name, value)
    return Setting(name, None if row.is_flag else _next(f"--{name}", rest, bare=row.bare))


def _short(letters: str, rest: deque[str]) -> Iterator[Setting]:
    while letters:
        letter, letters = letters[0], letters[1:]
        row = BY_SHORT.get(letter)
        if row is None:
            _pass_over_value(rest, letters)
            advice = f"; {FOREIGN[letter]}" if letter in FOREIGN else ""
            raise OptionError(f"-{letter}", f"unknown option{advice}")
        if row.is_flag:
            yield Setting(row.name, None)
        else:
            yield Setting(row.name, letters or _next(f"-{letter}", rest, bare=row.bare))
            return


def _pass_over_value(rest: deque[str], value: str) -> None:
    """Skip the value behind an unknown option, so that it is no further error."""
    if not value and rest and not rest[0].startswith("-"):
        rest.popleft()


def _next(option: str, rest: deque[str], *, bare: str) -> str | None:
    """Take the next argument as a value, unless it is an option: ``--chdir --http :80`` lacks a directory."""
    if not rest or (rest[0].startswith("--") and rest[0][2:].partition("=")[0] in BY_NAME):
        if bare:
            return None
        raise OptionError(option, "needs a value")
    return rest.popleft()


def _bare(argument: str) -> Iterator[Setting]:
    """Read ``app.py``, ``app.wsgi``, ``pkg.mod``, ``pkg.mod:callable`` or ``app.psgi``, as uWSGI's magic does.

    Whether ``mysite.wsgi`` is a file or a module is decided when it is loaded.
    """
    if is_perl(argument):
        yield Setting("psgi", argument)
        return
    target, colon, name = argument.partition(":")
    is_module = ("." in target or colon) and all(part.isidentifier() for part in target.split("."))
    if not is_module and not target.endswith((".py", ".wsgi")):
        problem = (
            "neither an option nor an application (app.py, app.py:callable or pkg.mod:callable, app.psgi) nor a file "
            "of configuration (.ini, .yaml, .json, .xml)"
        )
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
