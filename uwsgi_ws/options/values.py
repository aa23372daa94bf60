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
    """Return what C's ``atoi`` sees of a text, and what there is to say where that is not what was meant."""
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
        lenient: Makes of a text in a file, of which uWSGI reads only the beginning, the text that it means to uWSGI,
            and a remark where somebody may have meant something else.
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
