"""Where lines of the log go, and in what form: the texts of options, read into parts.

Pure, as ``addresses`` is: it opens nothing, so that the option table may use it.

Source: uWSGI's core/logging.c and the plugins logfile, logsocket, syslog and rsyslog.
"""

from __future__ import annotations

import re
import syslog
from typing import NamedTuple

from uwsgi_ws.addresses import parse_address

__all__ = [
    "LogEncoder",
    "LogPattern",
    "LogRoute",
    "Logger",
    "SocketLogger",
    "SyslogLogger",
    "parse_encoder",
    "parse_logger",
    "parse_pattern",
    "parse_route",
    "parse_socket_logger",
    "parse_syslog_logger",
    "without_unknown_variables",
]

_KINDS = ("file", "fifo", "fd", "stdio", "syslog", "rsyslog", "socket")
_SYSLOG_PORT = 514
_FILE_KEYS = ("logfile", "maxsize", "backupname")
_FACILITIES = (
    *("auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog", "user", "uucp"),
    *(f"local{number}" for number in range(8)),
)
_ENCODERS = ("prefix", "suffix", "nl", "format", "json", "gzip", "compress")
_VARIABLES = ("msg", "msgnl", "unix", "micros")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class Logger(NamedTuple):
    """A place that lines go to.

    Attributes:
        kind: ``file``, ``fifo``, ``fd``, ``stdio``, ``syslog``, ``rsyslog`` or ``socket``.
        name: What routes and encoders call it; one without a name gets all lines that no route takes.
        target: A path, a descriptor's number, or a host.
        port: Of the host.
        text: What syslog calls us, or what ``socket`` puts before each line.
        facility: syslog's, as its header has it.
        max_size: Bytes past which a file is moved away; 0 for never.
        backup: The path that it is moved to; empty for its own with the time.
    """

    kind: str
    name: str = ""
    target: str = ""
    port: int = 0
    text: str = ""
    facility: int = syslog.LOG_DAEMON
    max_size: int = 0
    backup: str = ""


class SyslogLogger(Logger):
    """A logger by ``--log-syslog``."""


class SocketLogger(Logger):
    """A logger by ``--log-socket``."""


class LogEncoder(NamedTuple):
    """A step that lines take on their way.

    Attributes:
        kind: ``prefix``, ``suffix``, ``nl``, ``format``, ``json``, ``gzip`` or ``compress``.
        logger: The name of the only logger that it is for; empty for all.
        text: With the variables of ``format`` and ``json`` in it.
    """

    kind: str
    logger: str = ""
    text: str = ""


class LogRoute(NamedTuple):
    """Which lines go to a logger with a name."""

    logger: str
    pattern: str


class LogPattern(str):
    """A regular expression for lines."""


def parse_logger(text: str) -> Logger:
    """Return what ``[NAME ]KIND[:ARGUMENT]`` means.

    Raises:
        ValueError: It means nothing; the message holds the text.
    """
    name, space, rest = text.partition(" ")
    if not space or not name.isalnum():
        name, rest = "", text
    kind, _, argument = rest.lstrip().partition(":")
    kind = kind.rstrip()
    if kind not in _KINDS:
        raise ValueError(f"{text!r} has no logger {kind!r}, there are {', '.join(_KINDS)}")
    if kind == "stdio":
        return Logger(kind, name)
    if kind == "syslog":
        return _syslog(name, argument)
    if not argument:
        raise ValueError(f"{text!r} does not say where: {kind}:{'N' if kind == 'fd' else '...'}")
    if kind == "fd":
        if not re.fullmatch("[0-9]{1,7}", argument):
            raise ValueError(f"{text!r} has no descriptor's number")
        return Logger(kind, name, argument)
    if kind == "fifo":
        return Logger(kind, name, argument)
    if kind == "file":
        return _file(name, argument)
    target, _, said = argument.partition(",")
    if "/" in target or (kind == "socket" and ":" not in target):
        return Logger(kind, name, target, text=said)
    host, port = _host_and_port(kind, target)
    return Logger(kind, name, host, port, said)


def parse_syslog_logger(text: str) -> SyslogLogger:
    """Return what ``[NAME][,FACILITY]`` means."""
    return SyslogLogger(*_syslog("", text))


def parse_socket_logger(text: str) -> SocketLogger:
    """Return what an address means as that of a logger."""
    return SocketLogger(*parse_logger(f"socket:{text}"))


def _syslog(name: str, argument: str) -> Logger:
    ident, _, facility = argument.partition(",")
    if facility and facility.lower() not in _FACILITIES:
        raise ValueError(f"{argument!r} has no facility {facility!r}, there are {', '.join(_FACILITIES)}")
    number: int = getattr(syslog, f"LOG_{facility.upper() or 'DAEMON'}")
    return Logger("syslog", name, "/dev/log", text=ident or "uwsgi", facility=number)


def _file(name: str, argument: str) -> Logger:
    if not re.match(rf"({'|'.join(_FILE_KEYS)})=", argument):
        return Logger("file", name, argument)
    values: dict[str, str] = {}
    for pair in argument.split(","):
        key, equals, value = pair.partition("=")
        if key not in _FILE_KEYS or not equals:
            raise ValueError(f"{pair!r} is none of {', '.join(_FILE_KEYS)}, with =VALUE")
        values[key] = value
    if not values.get("logfile"):
        raise ValueError(f"{argument!r} has no logfile=PATH")
    size = values.get("maxsize", "0")
    if not re.fullmatch("[0-9]{1,18}", size):
        raise ValueError(f"'maxsize={size}' is no number of bytes")
    return Logger("file", name, values["logfile"], max_size=int(size), backup=values.get("backupname", ""))


def _host_and_port(kind: str, text: str) -> tuple[str, int]:
    has_port = re.search(r":[0-9]+$", text) and ("]:" in text or text.count(":") == 1)
    if kind == "rsyslog" and not has_port:
        return text.strip("[]"), _SYSLOG_PORT
    address = parse_address(text)
    if address.family != "tcp":
        raise ValueError(f"{text!r} is not of the form HOST:PORT")
    return address.host or "127.0.0.1", address.port


def parse_encoder(text: str) -> LogEncoder:
    """Return what ``KIND[:LOGGER][ TEXT]`` means.

    Raises:
        ValueError: It means nothing; the message holds the text.
    """
    head, _, said = text.partition(" ")
    kind, _, logger = head.partition(":")
    if kind not in _ENCODERS:
        raise ValueError(f"{text!r} has no encoder {kind!r}, there are {', '.join(_ENCODERS)}")
    if kind in ("format", "json"):
        if not said:
            raise ValueError(f'{text!r} has no text, such as {kind} {{"time":${{unix}},"text":"${{msg}}"}}')
        for variable in _VARIABLE.findall(said):
            if not _is_known(variable):
                known = ", ".join(f"${{{each}}}" for each in (*_VARIABLES, "strftime:FORMAT"))
                raise ValueError(f"'${{{variable}}}' is no variable, there are {known}")
    return LogEncoder(kind, logger, said)


def without_unknown_variables(text: str) -> tuple[str, str]:
    """Return an encoder's text without the variables that stand for nothing, and a remark where there were some."""
    unknown = [variable for variable in _VARIABLE.findall(text) if not _is_known(variable)]
    for variable in unknown:
        text = text.replace(f"${{{variable}}}", "")
    names = ", ".join(f"'${{{variable}}}'" for variable in unknown)
    return text, f"{names} is nothing, as in uWSGI" if unknown else ""


def _is_known(variable: str) -> bool:
    return variable in _VARIABLES or variable.startswith("strftime:")


def parse_route(text: str) -> LogRoute:
    """Return what ``LOGGER REGEX`` means.

    Raises:
        ValueError: It means nothing; the message holds the text.
    """
    logger, space, pattern = text.partition(" ")
    if not space or not logger or not pattern:
        raise ValueError(f"{text!r} is not of the form LOGGER REGEX")
    return LogRoute(logger, parse_pattern(pattern))


def parse_pattern(text: str) -> LogPattern:
    """Return a regular expression that can be used.

    Raises:
        ValueError: It cannot; the message holds the text.
    """
    try:
        re.compile(text.encode("utf-8", "surrogateescape"))
    except re.error as exc:
        raise ValueError(f"{text!r}: {exc}") from None
    return LogPattern(text)
