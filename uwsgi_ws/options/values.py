"""What the text of a value may be, by the annotation of its field."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, NewType

from uwsgi_ws.addresses import parse_address, parse_trusted
from uwsgi_ws.certificates import parse_named_certificate, parse_redirect, parse_secure_address

__all__ = ["TYPES", "Dialect", "FileMode", "Leniency", "Mount", "Origin", "Type", "Variable"]

Dialect = NewType("Dialect", str)  #: what is spoken at an address: ``uwsgi`` or ``http``
Origin = NewType("Origin", str)  #: ``scheme://host[:port]`` in lower case, or ``same``


Leniency = NewType("Leniency", frozenset[str])  #: some of ``LENIENCIES``

LENIENCIES = ("handshake", "masking", "subprotocol")


class FileMode(int):
    """Permissions, as ``chmod`` takes them."""


class Mount(NamedTuple):
    """What is found under a path: an application for ``--mount``, a directory for ``--static-map``."""

    path: str
    target: str


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


def _dialect(text: str) -> Dialect:
    if text not in ("uwsgi", "http"):
        raise ValueError(f"{text!r} is not spoken here, only uwsgi and http")
    return Dialect(text)


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
    "Dialect": Type(_dialect, "NAME"),
    "Trusted": Type(parse_trusted, "PEERS"),
    "SecureAddress": Type(parse_secure_address),
    "Redirect": Type(parse_redirect, "ADDRESS[,PORT]"),
    "NamedCertificate": Type(parse_named_certificate, "'NAME CERT,KEY'"),
    "FileMode": Type(_mode, "MODE"),
    "Mount": Type(_mount),
    "Variable": Type(_variable, "NAME=VALUE"),
    "Origin": Type(_origin, "ORIGIN"),
    "Leniency": Type(_leniency, "WHAT"),
}
