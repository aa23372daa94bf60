"""The options: one row each, under uWSGI's names; parser, ``--help`` and README derive from the rows.

Options come from sources. A source, such as `command_line`, only makes a list of `Setting`: text as
the user wrote it, and where. `build` turns such a list into `Options`; it alone knows names, types and
bounds, so that a value is judged alike wherever it comes from. A later setting wins over an earlier
one, and the settings of a repeatable option add up.

To add an option, add a field to `Options`: its annotation says what the text must be (`TYPES`).

Nothing here opens a file, resolves a name or looks at the environment, and nothing imports gevent: the
command line is known before the standard library is patched. ``addresses`` is imported because it is
as pure as this module, and an address is best refused where its option is known.
"""

from __future__ import annotations

import difflib
import os
import re
import textwrap
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, NamedTuple, NewType

from uwsgi_ws.addresses import Address, parse_address
from uwsgi_ws.errors import OptionError

__all__ = [
    "IGNORED",
    "ROWS",
    "TYPES",
    "Mount",
    "Options",
    "Origin",
    "Row",
    "Setting",
    "Type",
    "Variable",
    "build",
    "command_line",
    "help_text",
    "markdown_table",
    "opt_dict",
    "option",
    "parse",
    "rows_of",
]

_COMMAND_LINE = "command line"
_LARGEST = 2**31 - 1  # of any number; uWSGI keeps them in C ints

Origin = NewType("Origin", str)  #: ``scheme://host[:port]`` in lower case, or ``same``


class Mount(NamedTuple):
    """What is found under a path: an application for ``--mount``, a directory for ``--static-map``."""

    path: str
    target: str


class Variable(NamedTuple):
    """An environment variable to set."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Setting:
    """One option as the user gave it.

    Args:
        name: The long name without dashes, as written; an alias stays an alias.
        value: The text, or None when only the name was given.
        source: Where it was: ``command line``, ``FILE:LINE`` or an environment variable's name.
    """

    name: str
    value: str | None
    source: str = _COMMAND_LINE

    def error(self, problem: str) -> OptionError:
        """Return the error that names this setting and says what is wrong with it."""
        return OptionError(self.spell(self.name), problem, self.source)

    def spell(self, name: str) -> str:
        """Return an option's name the way this setting's source writes it."""
        return f"--{name}" if self.source == _COMMAND_LINE else name


def option(default: object, **details: Any) -> Any:
    """Return the dataclass field of one option; `details` are the arguments of `Row` that it needs.

    ``name`` is the field's with dashes for underscores and ``metavar`` the type's, unless given.
    """
    return field(default=default, metadata=details)


# The rows ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options in effect, converted and checked by `build`.

    Durations are seconds, sizes bytes; where uWSGI has another unit a property converts it.
    ``given`` holds the settings they were built from, in order.
    """

    http: tuple[Address, ...] = option(
        (),
        group="Listening",
        help="Serve HTTP/1.1, with keep-alive, and WebSocket here: :PORT (all of IPv4), HOST:PORT, "
        "[IPV6]:PORT, the path of a unix socket, or @NAME for an abstract one.",
    )
    http_socket: tuple[Address, ...] = option(
        (),
        aliases=("http11-socket",),
        group="Listening",
        help="The same as --http: workers serve their clients themselves, without a router process.",
    )
    listen: int = option(
        100,
        short="l",
        at_least=1,
        at_most=65_535,
        group="Listening",
        help="Connections the kernel keeps waiting for each address; its own limit is net.core.somaxconn.",
    )

    wsgi_file: str | None = option(
        None,
        aliases=("file",),
        metavar="FILE",
        group="Application",
        help="Load the application from this file. A bare app.py or app.py:callable does the same.",
    )
    module: str | None = option(
        None,
        short="w",
        aliases=("wsgi",),
        metavar="MODULE[:CALLABLE]",
        group="Application",
        help="Load the application from this module. A bare pkg.mod:callable does the same.",
    )
    callable: str = option(
        "application",
        metavar="NAME",
        group="Application",
        help="The application's name in its file or module.",
    )
    mount: tuple[Mount, ...] = option(
        (),
        metavar="/PATH=APP",
        group="Application",
        help="Serve another application under a path; APP is app.py[:callable] or pkg.mod:callable.",
    )
    manage_script_name: bool = option(
        False,
        group="Application",
        help="Move the longest mount point that matches from PATH_INFO to SCRIPT_NAME.",
    )
    need_app: bool = option(False, group="Application", help="End with an error when no application could be loaded.")
    chdir: str | None = option(
        None, metavar="DIR", group="Application", help="Change to this directory before loading."
    )
    chdir2: str | None = option(
        None, metavar="DIR", group="Application", help="Change to this directory after loading."
    )
    pythonpath: tuple[str, ...] = option(
        (),
        aliases=("python-path", "pp"),
        metavar="DIR",
        group="Application",
        help="Put this directory, or those a glob pattern matches, in front of sys.path.",
    )
    virtualenv: str | None = option(
        None,
        short="H",
        aliases=("venv", "home", "pyhome"),
        metavar="DIR",
        group="Application",
        help="Use the packages of this virtual environment.",
    )
    pyargv: str | None = option(
        None,
        metavar="ARGUMENTS",
        group="Application",
        help="The application's sys.argv after the program's name, separated by spaces.",
    )
    env: tuple[Variable, ...] = option((), group="Application", help="Set an environment variable before loading.")

    gevent: int = option(
        1_000,
        at_least=1,
        group="Concurrency",
        help="Connections a worker serves at once, a greenlet each; the next one waits to be accepted.",
    )
    gevent_monkey_patch: bool = option(
        True,
        aliases=("gevent-early-monkey-patch",),
        group="Concurrency",
        help="Make the standard library cooperative, before anything else is imported.",
    )
    no_monkey_patch: bool = option(
        False,
        group="Concurrency",
        help="Leave the standard library alone: what blocks in it then blocks all connections.",
    )

    buffer_size: int = option(
        32_768,
        short="b",
        unit="bytes",
        at_least=1_024,
        at_most=65_535,  # what the length field of a uwsgi packet can say
        group="HTTP",
        help="Largest request line and headers together. uWSGI's default, 4096, is too small for the "
        "cookies and tokens of today.",
    )
    socket_timeout: float = option(
        30.0,  # what uWSGI raises its 4 to under --gevent
        short="z",
        unit="s",
        at_least=0.1,
        group="HTTP",
        help="Longest wait for a client that is in the middle of sending a request or taking a response.",
    )
    http_timeout: float = option(
        60.0,
        unit="s",
        at_least=0.1,
        group="HTTP",
        help="Longest time a kept-alive connection may lie idle between two requests.",
    )
    limit_post: int = option(
        0,
        unit="bytes",
        group="HTTP",
        help="Largest request body; 0 is no limit. Past it the client gets 413.",
    )

    websockets_ping_freq: float = option(
        30.0,
        unit="s",
        aliases=("websocket-ping-freq",),
        group="WebSocket",
        help="Silence after which a peer is pinged, whatever the application does; 0 switches pings off.",
    )
    websockets_pong_tolerance: float = option(
        3.0,
        unit="s",
        at_least=0.1,
        aliases=("websocket-pong-tolerance",),
        group="WebSocket",
        help="Time a pinged peer has to send anything at all before it is taken for dead.",
    )
    websockets_max_size: int = option(
        1_024,
        unit="KiB",
        at_least=1,
        aliases=("websocket-max-size",),
        group="WebSocket",
        help="Largest message accepted, its fragments counted together; past it the peer gets 1009.",
    )
    websockets_max_outbox: int = option(
        1_024,
        unit="KiB",
        at_least=1,
        aliases=("websocket-max-outbox",),
        group="WebSocket",
        help="What may wait for a client that is slower than what is broadcast to it; past it the client gets 1008, or "
        "loses messages where the application prefers that.",
    )
    websockets_origin: tuple[Origin, ...] = option(
        (),
        aliases=("websocket-origin",),
        group="WebSocket",
        help="Let only pages of this origin connect, such as https://example.org, or 'same' for the "
        "server's own; others get 403 before the application runs. uWSGI has no such option and lets "
        "every origin in, which is the default here too.",
    )

    static_map: tuple[Mount, ...] = option(
        (), metavar="/PATH=DIR", group="Static files", help="Serve the files of a directory under a path."
    )
    check_static: tuple[str, ...] = option(
        (),
        metavar="DIR",
        group="Static files",
        help="Serve a file of this directory when the request's path names one, else ask the application.",
    )
    static_index: tuple[str, ...] = option(
        (), metavar="NAME", group="Static files", help="File to serve for a directory, such as index.html."
    )

    disable_logging: bool = option(
        False, short="L", group="Logging", help="Write no access lines, only errors and what the server does."
    )
    log_format: str | None = option(
        None,
        aliases=("logformat",),
        metavar="FORMAT",
        group="Logging",
        help="Access line in uWSGI's notation, such as '%(addr) %(uri) %(status)'.",
    )
    logto: str | None = option(
        None, metavar="FILE", group="Logging", help="Append the log to this file, not to stderr."
    )

    die_on_term: bool = option(
        False, group="Process", help="Stop on SIGTERM, which uWSGI otherwise takes for a reload."
    )
    pidfile: str | None = option(None, metavar="FILE", group="Process", help="Write the process id to this file.")
    procname: str | None = option(None, metavar="NAME", group="Process", help="Name of the process in ps and top.")
    procname_prefix: str | None = option(
        None, metavar="TEXT", group="Process", help="Text in front of the process's name."
    )
    auto_procname: bool = option(
        False, group="Process", help="Name the process after the part it plays and its command line."
    )

    version: bool = option(False, group="Information", help="Print the version and end.")
    help: bool = option(False, short="h", group="Information", help="Print this text and end.")

    given: tuple[Setting, ...] = ()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Every address that speaks HTTP, whichever option named it."""
        return self.http + self.http_socket

    @property
    def max_message_size(self) -> int:
        """Largest WebSocket message, in bytes."""
        return self.websockets_max_size * 1024

    @property
    def monkey_patch(self) -> bool:
        """Whether the standard library is to be made cooperative."""
        return self.gevent_monkey_patch and not self.no_monkey_patch

    def error(self, name: str, problem: str) -> OptionError:
        """Return an error about an option found wrong only later, such as a port in use.

        Args:
            name: The option's long name.
            problem: What is wrong, with the value.
        """
        row = _BY_NAME[name]
        settings = [setting for setting in self.given if setting.name in row.names]
        last = settings[-1] if settings else Setting(row.name, None, "default")
        return last.error(problem)


# What a value's text may be ---------------------------------------------------------------------------


def _truth(text: str) -> bool:
    return text.lower() not in ("false", "off", "no", "0")  # uWSGI: anything else is true


def _whole_number(text: str) -> int:
    if not re.fullmatch("[+-]?[0-9]{1,99}", text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[+-]?[0-9]{1,99}(\.[0-9]{0,99})?", text):  # no nan, inf or 1e9
        raise ValueError(f"{text!r} is not a number of seconds")
    return float(text)


def _mount(text: str) -> Mount:
    path, _, target = text.partition("=")
    if not path.startswith("/") or not target:
        raise ValueError(f"{text!r} is not of the form /path=target")
    return Mount(path, target)


def _variable(text: str) -> Variable:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"{text!r} is not of the form NAME=VALUE")
    return Variable(name, value)


def _origin(text: str) -> Origin:
    if not re.fullmatch(r"same|[a-z][a-z0-9+.-]*://[^/?#@\s]+", text.lower()):
        raise ValueError(f"{text!r} is neither 'same' nor of the form https://example.org[:port]")
    return Origin(text.lower())


class Type(NamedTuple):
    """How an annotation's text is read: ``parse`` raises ValueError with a message that holds the text."""

    parse: Callable[[str], object]
    metavar: str = ""


TYPES = {
    "bool": Type(_truth),
    "int": Type(_whole_number, "N"),
    "float": Type(_seconds, "SECONDS"),
    "str": Type(str),
    "Address": Type(parse_address, "ADDRESS"),
    "Mount": Type(_mount),
    "Variable": Type(_variable, "NAME=VALUE"),
    "Origin": Type(_origin, "ORIGIN"),
}


# What a row is ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Everything there is to know about one option.

    Args:
        name: uWSGI's name, without dashes.
        attribute: The field of `Options` that holds the value; empty when the option is ignored.
        type: A key of `TYPES`.
        repeats: Whether the option may be given more than once, its values collected in a tuple.
        default: The value without any setting, converted.
        help: One or two sentences; for an ignored option, why it needs nothing here.
        group: The heading it stands under.
        aliases: Further long names, without dashes.
        short: The letter of the short flag, without its dash.
        metavar: What stands for the value in texts; empty for a flag.
        unit: Of a number, for texts.
        at_least: Smallest number allowed.
        at_most: Largest number allowed.
    """

    name: str
    help: str
    group: str
    type: str
    attribute: str = ""
    repeats: bool = False
    default: object = None
    aliases: tuple[str, ...] = ()
    short: str = ""
    metavar: str = ""
    unit: str = ""
    at_least: float = 0
    at_most: float = _LARGEST

    @property
    def names(self) -> tuple[str, ...]:
        """Every long name, uWSGI's first."""
        return (self.name, *self.aliases)

    def in_units(self, *words: object) -> str:
        """Return numbers and the words between them as a text, this option's unit at the end."""
        texts = [f"{word:.10g}" if isinstance(word, float) else str(word) for word in (*words, self.unit)]
        return " ".join(texts).rstrip()

    @property
    def is_flag(self) -> bool:
        """Whether the option stands alone, without a value after it."""
        return self.type == "bool"

    def value(self, setting: Setting) -> Any:
        """Return a setting's value, converted and within bounds.

        Raises:
            OptionError: There is no value, or it cannot be used.
        """
        text = setting.value
        if not text:
            if self.is_flag:
                return True
            raise setting.error("needs a value")
        try:
            value = TYPES[self.type].parse(text)
        except ValueError as exc:
            raise setting.error(str(exc)) from None
        if isinstance(value, int | float) and not self.at_least <= value <= self.at_most:
            bounds = self.in_units(self.at_least, "to", self.at_most)
            raise setting.error(f"{text!r} is out of bounds, {bounds}")
        return value


def rows_of(table: type) -> tuple[Row, ...]:
    """Return the rows of a dataclass whose fields were made by `option`; other fields are passed over."""
    return tuple(_row_of(each) for each in fields(table) if each.metadata)


def _row_of(each: Field[Any]) -> Row:
    annotation = str(each.type)  # a string, because annotations are postponed
    element = annotation.removesuffix(" | None").removeprefix("tuple[").removesuffix(", ...]")
    derived = {"name": each.name.replace("_", "-"), "metavar": TYPES[element].metavar}
    return Row(
        attribute=each.name,
        type=element,
        repeats=annotation.startswith("tuple["),
        default=each.default,
        **{**derived, **each.metadata},
    )


def _ignored(name: str, why: str, *aliases: str, short: str = "", metavar: str = "") -> Row:
    """Return a row for an option that uWSGI's users carry along and that needs nothing here."""
    return Row(
        name=name,
        help=why,
        group="Accepted from uWSGI command lines, without effect here",
        type="str" if metavar else "bool",
        aliases=aliases,
        short=short,
        metavar=metavar,
    )


IGNORED = (
    _ignored("http-websockets", "Every address speaks WebSocket."),
    _ignored("http-raw-body", "Nothing stands between a client's bytes and the worker."),
    _ignored("http-keepalive", "It is always on; --http-timeout bounds the idle time."),
    _ignored("http-auto-chunked", "It is always on: a response of unknown length is sent in chunks."),
    _ignored("http-chunked-input", "A request body sent in chunks is read like any other."),
    _ignored("http-processes", "There is no router process.", metavar="N"),
    _ignored("http-connect-timeout", "There is no router that would connect to a worker.", metavar="SECONDS"),
    _ignored("http-buffer-size", "There is no router with a buffer; see --buffer-size.", metavar="BYTES"),
    _ignored("post-buffering", "Request bodies are read while the application reads them.", metavar="BYTES"),
    _ignored("max-vars", "The number of headers is bounded by --buffer-size.", short="v", metavar="N"),
    _ignored("tcp-nodelay", "It is always on."),
    _ignored("close-on-exec", "Programs the application starts never inherit sockets."),
    _ignored("thunder-lock", "Accepting a connection takes no lock."),
    _ignored("ignore-sigpipe", "Python ignores SIGPIPE."),
    _ignored("ignore-write-errors", "A client that goes away is not logged as an error."),
    _ignored("disable-write-exception", "A client that goes away ends its own response and nothing else."),
    _ignored("write-errors-tolerance", "The first failed write ends the response.", metavar="N"),
    _ignored("enable-threads", "Python's threads always run.", short="T"),
    _ignored("single-interpreter", "There is one Python interpreter.", short="i"),
    _ignored("py-call-osafterfork", "Python always knows of its own forks."),
    _ignored("plugins", "All there is is built in.", "plugin", "need-plugin", "need-plugins", metavar="NAME"),
    _ignored("plugins-dir", "There are no plugins to look for.", "plugin-dir", metavar="DIR"),
    _ignored("offload-threads", "Greenlets transfer files without keeping others waiting.", metavar="N"),
    _ignored("gevent-wait-for-hub", "A worker that stops waits for its requests in any case."),
    _ignored("strict", "An unknown option is always an error."),
)
ROWS = rows_of(Options) + IGNORED
_BY_NAME = {name: row for row in ROWS for name in row.names}
_BY_SHORT = {row.short: row for row in ROWS if row.short}


# From text to options ---------------------------------------------------------------------------------


def parse(argv: Sequence[str]) -> Options:
    """Read a command line, without the program's name.

    Raises:
        OptionError: Something on it is unknown or cannot be used.
    """
    return build(command_line(argv))


def build(settings: Sequence[Setting]) -> Options:
    """Return the options in effect; later settings win, those of a repeatable option add up.

    Raises:
        OptionError: A name is unknown, a value is missing or cannot be used.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        row = _row(setting)
        value = row.value(setting)
        if row.attribute:
            values[row.attribute] = (*values.get(row.attribute, ()), value) if row.repeats else value
    return Options(given=tuple(settings), **values)


def command_line(argv: Sequence[str]) -> list[Setting]:
    """Return the settings of a command line, in order.

    Understood are ``--name value``, ``--name=value``, getopt's short flags (``-l 5``, ``-l5``, ``-LT``) and
    bare arguments that name an application.

    Raises:
        OptionError: An option is unknown or lacks its value, or a bare argument names no application.
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


def opt_dict(options: Options) -> dict[str, bytes | bool | list[bytes]]:
    """Return what ``uwsgi.opt`` holds: names as the user wrote them, with the bytes of their values.

    A name given without a value is True; one given several values has them in a list. (uWSGI keeps only
    the last under Python 3, where its search for the first fails.)
    """
    opt: dict[str, bytes | bool | list[bytes]] = {}
    for name in dict.fromkeys(setting.name for setting in options.given):
        texts = [each.value for each in options.given if each.name == name and each.value is not None]
        values = [os.fsencode(text) for text in texts]
        opt[name] = values if len(values) > 1 else values[0] if values else True
    return opt


def _row(setting: Setting) -> Row:
    try:
        return _BY_NAME[setting.name]
    except KeyError:
        close = difflib.get_close_matches(setting.name, _BY_NAME, n=1, cutoff=0.8)
        hint = f", did you mean {setting.spell(close[0])}?" if close else ""
        raise setting.error(f"unknown option{hint}") from None


def _long(text: str, rest: deque[str]) -> Setting:
    name, equals, value = text.partition("=")
    row = _row(Setting(name, None))
    if equals:
        return Setting(name, value)
    return Setting(name, None if row.is_flag else _next(f"--{name}", rest))


def _short(letters: str, rest: deque[str]) -> Iterator[Setting]:
    if not letters:
        raise OptionError("-", "unknown option")
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter not in _BY_SHORT:
            raise OptionError(f"-{letter}", "unknown option")
        row = _BY_SHORT[letter]
        if row.is_flag:
            yield Setting(row.name, None)
        else:
            yield Setting(row.name, letters or _next(f"-{letter}", rest))
            return


def _next(option: str, rest: deque[str]) -> str:
    """Take the next argument as a value, unless it is an option: ``--chdir --http :80`` lacks a directory."""
    if not rest or (rest[0].startswith("--") and rest[0][2:].partition("=")[0] in _BY_NAME):
        raise OptionError(option, "needs a value")
    return rest.popleft()


def _bare(argument: str) -> Iterator[Setting]:
    """Read ``app.py``, ``app.wsgi`` or ``pkg.mod:callable`` (uWSGI's ``uwsgi_python_magic``)."""
    target, colon, name = argument.partition(":")
    is_file = target.endswith((".py", ".wsgi"))
    is_module = colon and all(part.isidentifier() for part in target.split("."))
    if not is_file and not is_module:
        problem = "neither an option nor an application (app.py, app.py:callable or pkg.mod:callable)"
        raise OptionError(repr(argument), problem)
    if colon and not name.removesuffix("()").isidentifier():
        raise OptionError(repr(argument), f"{name!r} cannot be the name of a callable")
    yield Setting("wsgi-file" if is_file else "module", target)
    if colon:
        yield Setting("callable", name)


# From rows to texts -----------------------------------------------------------------------------------

_WIDTH = 100  # of the help text
_INDENT = " " * 30  # of its right-hand column


def help_text() -> str:
    """Return what ``--help`` prints."""
    lines = ["Usage: uwsgi-ws [OPTIONS] [app.py[:CALLABLE] | pkg.mod:CALLABLE]"]
    group = ""
    for row in ROWS:
        if row.group != group:
            group = row.group
            lines += ["", f"{group}:"]
        short = f"-{row.short}, " if row.short else ""
        head = f"  {short}--{row.name} {row.metavar}".rstrip()
        sentences = [row.help, *_limits(row)]
        if default := _default(row):
            sentences.append(f"Default: {default}.")
        if row.aliases:
            sentences.append("Also " + ", ".join(f"--{alias}" for alias in row.aliases) + ".")
        text = textwrap.wrap(" ".join(sentences), _WIDTH - len(_INDENT), break_on_hyphens=False)
        if len(head) < len(_INDENT) - 1:
            lines.append(head.ljust(len(_INDENT)) + text.pop(0))
        else:
            lines.append(head)
        lines += [_INDENT + line for line in text]
    return "\n".join(lines) + "\n"


def markdown_table() -> str:
    """Return the same for the README, as one table."""
    lines = ["| Option | Value | Default | Meaning |", "|---|---|---|---|"]
    group = ""
    for row in ROWS:
        if row.group != group:
            group = row.group
            lines.append(f"| **{group}** | | | |")
        names = [f"`--{name}`" for name in row.names] + [f"`-{row.short}`"] * bool(row.short)
        value = f"`{row.metavar}`" if row.metavar else ""
        cells = (", ".join(names), value, _default(row), " ".join([row.help, *_limits(row)]))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _limits(row: Row) -> Iterator[str]:
    if row.repeats:
        yield "May be repeated."
    if row.at_most < _LARGEST:
        yield row.in_units(row.at_least, "to", row.at_most) + "."
    elif row.at_least > 0:
        yield "At least " + row.in_units(row.at_least) + "."


def _default(row: Row) -> str:
    match row.default:
        case bool(default):
            return "on" if default else ""
        case int(default) | float(default):
            return row.in_units(default)
        case str(default):
            return default
        case _:
            return ""
