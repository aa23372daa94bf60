"""What the text of a value may be, by the annotation of its field."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, NewType

from uwsgi_ws.addresses import Address, parse_address, parse_trusted
from uwsgi_ws.certificates import parse_named_certificate, parse_redirect, parse_secure_address
from uwsgi_ws.crontab import CronTime
from uwsgi_ws.loggers import (
    parse_encoder,
    parse_logger,
    parse_pattern,
    parse_route,
    parse_socket_logger,
    parse_syslog_logger,
    without_unknown_variables,
)
from uwsgi_ws.options.memories import pairs, parse_area, parse_cache, parse_metric

__all__ = [
    "TYPES",
    "ChannelHistory",
    "CheaperAlgorithm",
    "CompanionSpec",
    "CronSpec",
    "DaemonSpec",
    "Dialect",
    "Expiry",
    "FileMode",
    "FilePattern",
    "Header",
    "HeaderMap",
    "HeaderName",
    "Hook",
    "KeyedCron",
    "KeyedDaemon",
    "Leniency",
    "LocalAddress",
    "MetricsAddress",
    "Mount",
    "Origin",
    "SignalFile",
    "SignalTimer",
    "SmartDaemon",
    "TouchCommand",
    "TouchHook",
    "Type",
    "Umask",
    "UniqueCron",
    "Variable",
    "is_perl",
]

Dialect = NewType("Dialect", str)  #: what is spoken at an address: ``uwsgi`` or ``http``
HeaderName = NewType("HeaderName", str)  #: of a header
CheaperAlgorithm = NewType("CheaperAlgorithm", str)  #: one of ``ALGORITHMS``
ALGORITHMS = ("spare", "spare2", "backlog", "busyness", "manual")
HeaderMap = NewType("HeaderMap", str)  #: ``drop``, ``keep`` or ``refuse``
Origin = NewType("Origin", str)  #: ``scheme://host[:port]`` in lower case, or ``same``


Leniency = NewType("Leniency", frozenset[str])  #: some of ``LENIENCIES``

#: Seconds that fit where they go.
_LONGEST = 2**31 - 1

LENIENCIES = ("handshake", "masking", "subprotocol")


class FileMode(int):
    """Permissions, as ``chmod`` takes them."""


class Mount(NamedTuple):
    """What is served under a path: an application for ``--mount``, a directory for ``--static-map``."""

    path: str
    target: str


class MetricsAddress(NamedTuple):
    """Where metrics are told.

    Attributes:
        address: Where it listens.
        path: Of the page there.
    """

    address: Address
    path: str


#: Where only this machine listens, unless another host is named.
LocalAddress = NewType("LocalAddress", Address)


class ChannelHistory(NamedTuple):
    """What is kept of some channels.

    Attributes:
        pattern: Of their names, as in a shell.
        messages: The last so many.
        seconds: For so long.
    """

    pattern: str
    messages: int
    seconds: int


class Header(NamedTuple):
    """A response header."""

    name: str
    value: str


class Expiry(NamedTuple):
    """How long a static file may be kept by clients.

    Attributes:
        pattern: What its name or type must match.
        seconds: From now, or from its last change.
    """

    pattern: str
    seconds: int


class Hook(NamedTuple):
    """An action at a step of the instance's life: ``exec:COMMAND``."""

    action: str
    argument: str


class TouchHook(NamedTuple):
    """An action when a file changes."""

    path: str
    hook: Hook


class TouchCommand(NamedTuple):
    """A command to run when a file changes."""

    path: str
    hook: Hook


class DaemonSpec(NamedTuple):
    """A program to attach.

    Attributes:
        command: For the shell.
        pidfile: Where it tells its process, once it has gone to the background; empty when it stays.
        every: Seconds between two looks at that file.
        stop_signal: What ends it.
        reload_signal: What ends it for a reload.
        ends_with_us: Whether a program with a pidfile ends with the server, too.
    """

    command: str
    pidfile: str = ""
    every: float = 10.0
    stop_signal: int = 15
    reload_signal: int = 15
    ends_with_us: bool = False


class SmartDaemon(DaemonSpec):
    """A program with a pidfile."""


class KeyedDaemon(DaemonSpec):
    """A program described by ``KEY=VALUE,...``."""


class CompanionSpec(NamedTuple):
    """An application in another language, run by processes of its own.

    Attributes:
        language: ``perl`` or ``go``.
        file: The application; of Go, the program.
    """

    language: str
    file: str


def is_perl(target: str) -> bool:
    """Return whether an application is in Perl, by the name of its file."""
    return target.endswith((".psgi", ".pl"))


class CronSpec(NamedTuple):
    """A command to be run at times of the day.

    Attributes:
        time: When.
        command: For the shell.
        unique: Whether it is left out while it still runs.
        harakiri: Seconds that it may take; 0 is no limit, None the one for all.
    """

    time: CronTime
    command: str
    unique: bool = False
    harakiri: int | None = None


class UniqueCron(CronSpec):
    """A command that is left out while it still runs."""


class KeyedCron(CronSpec):
    """A command whose times are ``KEY=VALUE,...`` before it."""


class SignalTimer(NamedTuple):
    """A signal of uWSGI's, and how often it is raised, in seconds."""

    number: int
    seconds: int


class SignalFile(NamedTuple):
    """A signal of uWSGI's that is raised when a file changes."""

    path: str
    number: int


class FilePattern(str):
    """A regular expression for paths."""


class Umask(int):
    """Permissions that new files do not get."""


class Variable(NamedTuple):
    """An environment variable to set."""

    name: str
    value: str


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


def _mode(text: str) -> FileMode:
    if not re.fullmatch("[0-7]{3,4}", text):
        raise ValueError(f"{text!r} is not of the form 660: three or four octal digits")
    return FileMode(int(text, 8))


def _channel_history(text: str) -> ChannelHistory:
    pattern, equals, numbers = text.rpartition("=")
    messages, comma, seconds = numbers.partition(",")
    if not equals or not pattern or not messages.isdecimal() or (comma and not seconds.isdecimal()):
        raise ValueError(f"{text!r} is not PATTERN=MESSAGES[,SECONDS]")
    history = ChannelHistory(pattern, int(messages), int(seconds) if comma else 86_400)
    if history.messages > 1_000_000:
        raise ValueError(f"{text!r} keeps more than 1000000 messages of a channel")
    if not 1 <= history.seconds <= _LONGEST:
        raise ValueError(f"{text!r} keeps them for {history.seconds} seconds, 1 to {_LONGEST} allowed")
    return history


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


def _header(text: str) -> Header:
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not value.isprintable():
        raise ValueError(f"{text!r} is not of the form NAME: VALUE")
    return Header(name, value.strip())


def _header_name(text: str) -> HeaderName:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text):
        raise ValueError(f"{text!r} is no header's name")
    return HeaderName(text)


def _expiry(text: str) -> Expiry:
    pattern, _, seconds = text.strip().rpartition(" " if " " in text.strip() else "=")
    if not pattern or not re.fullmatch("[0-9]{1,10}", seconds):
        raise ValueError(f"{text!r} is not of the form PATTERN SECONDS")
    try:
        re.compile(pattern)
    except re.error as exc:
        raise ValueError(f"{text!r}: {exc}") from None
    return Expiry(pattern.strip(), int(seconds))


def _file_pattern(text: str) -> FilePattern:
    try:
        re.compile(text)
    except re.error as exc:
        raise ValueError(f"{text!r}: {exc}") from None
    return FilePattern(text)


#: Actions of hooks; uWSGI has more.
_HOOK_ACTIONS = (
    *("append", "appendn", "cd", "chdir", "chmod", "create", "creat", "exec", "log", "mkdir", "print", "putenv"),
    *("safeexec", "unix_signal", "unlink", "write", "writen"),
)
_SIGNAL_FUNCTIONS = ("gracefully_kill_them_all", "kill_them_all", "grace_them_all", "reap_them_all")


def _hook(text: str) -> Hook:
    action, colon, argument = text.partition(":")
    if not colon or action not in _HOOK_ACTIONS:
        raise ValueError(f"{text!r} is not of the form ACTION:ARGUMENT with one of {', '.join(_HOOK_ACTIONS)}")
    if action == "unix_signal":
        number, _, function = argument.partition(" ")
        if not re.fullmatch("[0-9]{1,2}", number) or not 0 < int(number) < 32 or function not in _SIGNAL_FUNCTIONS:
            raise ValueError(f"{text!r} is not a signal's number and one of {', '.join(_SIGNAL_FUNCTIONS)}")
    return Hook(action, argument)


def _touch_hook(text: str) -> TouchHook:
    path, _, action = text.partition(" ")
    return TouchHook(path, _hook(action.strip()))


def _touch_command(text: str) -> TouchCommand:
    path, _, command = text.partition(" ")
    if not command.strip():
        raise ValueError(f"{text!r} is not of the form FILE COMMAND")
    return TouchCommand(path, Hook("exec", command.strip()))


def _daemon(text: str) -> DaemonSpec:
    return DaemonSpec(text)


def _smart_daemon(text: str) -> SmartDaemon:
    words = text.split(None, 2)
    if len(words) > 2 and re.fullmatch("[0-9]{1,6}", words[1]):
        return SmartDaemon(words[2], words[0], float(words[1]))
    if len(words) < 2:
        raise ValueError(f"{text!r} is not of the form PIDFILE [SECONDS] COMMAND")
    return SmartDaemon(text.split(None, 1)[1], words[0])


_DAEMON_KEYS = {
    "command": "command",
    "cmd": "command",
    "exec": "command",
    "pidfile": "pidfile",
    "pid": "pidfile",
    "freq": "every",
    "stopsignal": "stop_signal",
    "stop_signal": "stop_signal",
    "reloadsignal": "reload_signal",
    "reload_signal": "reload_signal",
}


def _keyed_daemon(text: str) -> KeyedDaemon:
    values: dict[str, Any] = {}
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        name = _DAEMON_KEYS.get(key.strip())
        if name is None or not equals:
            raise ValueError(f"{pair!r} is none of {', '.join(sorted(_DAEMON_KEYS))}, with =VALUE")
        if name in ("command", "pidfile"):
            values[name] = value
        elif not re.fullmatch("[0-9]{1,6}", value):
            raise ValueError(f"{pair!r} is no number")
        else:
            values[name] = float(value) if name == "every" else int(value)
    if "command" not in values:
        raise ValueError(f"{text!r} has no command")
    return KeyedDaemon(**values)


def _cron(text: str, kind: type[CronSpec] = CronSpec) -> CronSpec:
    words = text.split(None, 5)
    if len(words) < 6 or not all(re.fullmatch("[+-]?[0-9]{1,4}", word) for word in words[:5]):
        hint = ": write -1 for *, and -5 for */5" if "*" in "".join(words[:5]) else ""
        raise ValueError(f"{text!r} is not of the form 'MINUTE HOUR DAY MONTH WEEKDAY COMMAND'{hint}")
    return kind(CronTime(*map(int, words[:5])), words[5], unique=kind is UniqueCron)


def _unique_cron(text: str) -> CronSpec:
    return _cron(text, UniqueCron)


def _keyed_cron(text: str) -> KeyedCron:
    first, _, rest = text.strip().partition(" ")
    keys, command = (first, rest.strip()) if "=" in first else ("", text.strip())
    values: dict[str, int] = {}
    known = {key: key for key in (*CronTime._fields, "unique", "harakiri")}
    for key, value in pairs(keys, known, {"legion": "there is no legion"}) if keys else ():
        if not re.fullmatch("[+-]?[0-9]{1,9}", value):
            raise ValueError(f"{f'{key}={value}'!r} is no number")
        values[key] = int(value)
    if not command:
        raise ValueError(f"{text!r} has no command")
    unique, harakiri = bool(values.pop("unique", 0)), values.pop("harakiri", None)
    return KeyedCron(CronTime(**values), command, unique, harakiri)


def _signal_timer(text: str) -> SignalTimer:
    found = re.fullmatch(r"\s*([0-9]{1,3})\s+([0-9]{1,9})\s*", text)
    if found is None or int(found[1]) > 255:
        raise ValueError(f"{text!r} is not of the form 'SIGNAL SECONDS', with a signal of 0 to 255")
    return SignalTimer(int(found[1]), int(found[2]))


def _signal_file(text: str) -> SignalFile:
    path, _, number = text.strip().rpartition(" ")
    if not path or not re.fullmatch("[0-9]{1,3}", number) or int(number) > 255:
        raise ValueError(f"{text!r} is not of the form 'FILE SIGNAL', with a signal of 0 to 255")
    return SignalFile(path.strip(), int(number))


def _umask(text: str) -> Umask:
    if not re.fullmatch("[0-7]{1,4}", text):
        raise ValueError(f"{text!r} is not of the form 022: octal digits")
    return Umask(int(text, 8))


def _dialect(text: str) -> Dialect:
    if text not in ("uwsgi", "http"):
        raise ValueError(f"{text!r} is not spoken here, only uwsgi and http")
    return Dialect(text)


def _metrics_address(text: str) -> MetricsAddress:
    found = re.fullmatch(r"([^/]*:[0-9]+)(/[^?#\s]*)", text)  # the path of a unix socket has slashes itself
    address, path = found.groups() if found else (text, "/metrics")
    if path in ("/healthz", "/readyz"):
        raise ValueError(f"{text!r} has the path of another page")
    return MetricsAddress(parse_address(address), path)


def _local_address(text: str) -> LocalAddress:
    port = re.fullmatch(r":?([0-9]+)", text)
    return LocalAddress(parse_address(f"127.0.0.1:{port[1]}" if port else text))


def _header_map(text: str) -> HeaderMap:
    if text not in ("drop", "keep", "refuse"):
        raise ValueError(f"{text!r} is neither drop, keep nor refuse")
    return HeaderMap(text)


def _algorithm(text: str) -> CheaperAlgorithm:
    if text not in ALGORITHMS:
        raise ValueError(f"{text!r} is none of {', '.join(ALGORITHMS)}")
    return CheaperAlgorithm(text)


def _algorithm_of_file(text: str) -> tuple[str, str]:
    if text in ALGORITHMS:
        return text, ""
    return "spare", f"{text!r} is 'spare', as in uWSGI: it is none of {', '.join(ALGORITHMS)}"


def _origin(text: str) -> Origin:
    if not re.fullmatch(r"same|[a-z][a-z0-9+.-]*://[^/?#@\s]+", text.lower()):
        raise ValueError(f"{text!r} is neither 'same' nor of the form https://example.org[:port]")
    return Origin(text.lower())


def _leniency(text: str) -> Leniency:
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in LENIENCIES:
            raise ValueError(f"{word!r} is none of {', '.join(LENIENCIES)}")
    return Leniency(frozenset(words))


def _mount_of_file(text: str) -> tuple[str, str]:
    """Return a mount whose path begins where paths do."""
    path, equals, _ = text.partition("=")
    if not equals or not path or path.startswith("/") or "://" in path:
        return text, ""
    return f"/{text}", f"{text!r} is taken for {'/' + text!r}: a path begins with a slash"


_COMMENT = re.compile(r"\s[;#].*", re.DOTALL)


def _flag_of_file(text: str) -> tuple[str, str]:
    """Return a flag's text without the comment behind it; uWSGI takes all but its four words for true."""
    bare = _COMMENT.sub("", text).rstrip(" \t;,")
    if bare == text or _truth(bare):
        return text, ""
    return (
        "true",
        f"{text!r} is true, as in uWSGI: there are no comments behind a value, and only {bare!r} alone is not",
    )


def _number_of_file(text: str) -> tuple[str, str]:
    """Return what C's ``atoi`` reads of a text, and a remark where that may surprise."""
    if not text:
        return "0", ""
    found = re.match(r"\s*([+-]?[0-9]+(?:\.[0-9]+)?)(.*)", text, re.DOTALL)
    if found is None:
        if text.lower() in ("false", "off", "no"):
            return "0", ""
        if text.lower() in ("true", "on", "yes"):
            return "0", f"{text!r} is 0, as in uWSGI: give a number"
        return text, ""
    number, rest = found.groups()
    is_comment = re.fullmatch(r"\s*([;#,].*)?", rest, re.DOTALL)
    return number, "" if is_comment else f"{text!r} is {number}, as in uWSGI: the rest means nothing"


def _whole_number_of_file(text: str) -> tuple[str, str]:
    number, remark = _number_of_file(text)
    whole, dot, _ = number.partition(".")
    if dot and re.fullmatch("[+-]?[0-9]+", whole):
        return whole, remark or f"{text!r} is {whole}, as in uWSGI"
    return number, remark


class Type(NamedTuple):
    """How an annotation's text is read.

    Attributes:
        parse: Raises ValueError with a message that holds the text.
        metavar: What stands for the value in texts.
        lenient: Reduces a text in a file to the part that uWSGI reads, and returns a remark where that may surprise.
    """

    parse: Callable[[str], object]
    metavar: str = ""
    lenient: Callable[[str], tuple[str, str]] | None = None


TYPES = {
    "bool": Type(_truth, lenient=_flag_of_file),
    "int": Type(_whole_number, "N", _whole_number_of_file),
    "float": Type(_seconds, "SECONDS", _number_of_file),
    "str": Type(str),
    "Address": Type(parse_address, "ADDRESS"),
    "MetricsAddress": Type(_metrics_address, "ADDRESS[/PATH]"),
    "LocalAddress": Type(_local_address, "[HOST:]PORT|PATH"),
    "Dialect": Type(_dialect, "NAME"),
    "Trusted": Type(parse_trusted, "PEERS"),
    "SecureAddress": Type(parse_secure_address),
    "Redirect": Type(parse_redirect, "ADDRESS[,PORT]"),
    "NamedCertificate": Type(parse_named_certificate, "'NAME CERT,KEY'"),
    "FileMode": Type(_mode, "MODE"),
    "CheaperAlgorithm": Type(_algorithm, "NAME", _algorithm_of_file),
    "FilePattern": Type(_file_pattern, "REGEX"),
    "HeaderMap": Type(_header_map, "drop|keep|refuse"),
    "ChannelHistory": Type(_channel_history, "PATTERN=MESSAGES[,SECONDS]"),
    "Mount": Type(_mount, lenient=_mount_of_file),
    "Variable": Type(_variable, "NAME=VALUE"),
    "Origin": Type(_origin, "ORIGIN"),
    "Leniency": Type(_leniency, "WHAT"),
    "Header": Type(_header, "'NAME: VALUE'"),
    "HeaderName": Type(_header_name, "NAME"),
    "Expiry": Type(_expiry, "'PATTERN SECONDS'"),
    "Hook": Type(_hook, "ACTION:ARGUMENT"),
    "TouchHook": Type(_touch_hook, "'FILE ACTION:ARGUMENT'"),
    "TouchCommand": Type(_touch_command, "'FILE COMMAND'"),
    "DaemonSpec": Type(_daemon, "COMMAND"),
    "SmartDaemon": Type(_smart_daemon, "'PIDFILE [SECONDS] COMMAND'"),
    "KeyedDaemon": Type(_keyed_daemon, "KEY=VALUE,..."),
    "CronSpec": Type(_cron, "'MINUTE HOUR DAY MONTH WEEKDAY COMMAND'"),
    "UniqueCron": Type(_unique_cron, "'MINUTE HOUR DAY MONTH WEEKDAY COMMAND'"),
    "KeyedCron": Type(_keyed_cron, "'[KEY=VALUE,...] COMMAND'"),
    "SignalTimer": Type(_signal_timer, "'SIGNAL SECONDS'"),
    "SignalFile": Type(_signal_file, "'FILE SIGNAL'"),
    "Umask": Type(_umask, "MODE"),
    "CacheShape": Type(parse_cache, "KEY=VALUE,..."),
    "MetricSpec": Type(parse_metric, "NAME"),
    "AreaSpec": Type(parse_area, "PAGES|KEY=VALUE,..."),
    "Logger": Type(parse_logger, "'[NAME ]KIND[:WHERE]'"),
    "SyslogLogger": Type(parse_syslog_logger, "NAME"),
    "SocketLogger": Type(parse_socket_logger, "ADDRESS"),
    "LogEncoder": Type(parse_encoder, "'KIND[:LOGGER] [TEXT]'", without_unknown_variables),
    "LogRoute": Type(parse_route, "'LOGGER REGEX'"),
    "LogPattern": Type(parse_pattern, "REGEX"),
}
