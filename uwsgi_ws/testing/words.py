"""From the keywords of a test to the words of a command line, and from a production's file to one for a test."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from uwsgi_ws.options import BY_NAME, Options, ini_text, parse

__all__ = ["FILES", "file_for_test", "listens", "names_in", "words_of"]

#: Endings of configuration files.
FILES = (".ini", ".yaml", ".yml", ".json", ".xml")

_ADDRESSES = {
    *("http", "http-socket", "http2-socket", "https", "https-socket", "http-to-https"),
    *("shared-socket", "socket", "uwsgi-socket"),
}
#: What a configuration says of the place where it is in production: a test has another.
_OF_ITS_PLACE = _ADDRESSES | {
    *("channel-socket", "chmod-socket", "chown-socket", "stats", "metrics", "control", "control-token"),
    *("pidfile", "pidfile2", "safe-pidfile", "daemonize", "logto", "logto2", "logger", "req-logger"),
    *("log-socket", "log-syslog", "uid", "gid", "master-fifo"),
}


def words_of(given: Mapping[str, object]) -> Iterator[str]:
    """Yield the words for options by keyword: True is a flag, None and False are nothing, a list is several."""
    for name, value in given.items():
        option = "--" + name.replace("_", "-")
        values = value if isinstance(value, (list, tuple)) else [value]
        for each in values:
            if each is True:
                yield option
            elif each is not None and each is not False:
                yield from (option, os.fspath(each) if isinstance(each, os.PathLike) else str(each))


def names_in(words: Iterable[str]) -> set[str]:
    """Return the options that words name, by uWSGI's names."""
    names = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
    return {BY_NAME[name].name if name in BY_NAME else name for name in names}


def listens(words: Iterable[str]) -> bool:
    """Say whether words name an address to serve at."""
    return bool(names_in(words) & _ADDRESSES)


def file_for_test(file: str, environ: Mapping[str, str]) -> str:
    """Return a configuration as an ini file for a test: without addresses, log, pidfile and user of production's.

    Raises:
        OptionError: The file cannot be used.
    """
    options: Options = parse([file], environ)
    kept = [each for each in options.given if not names_in([f"--{each.name}"]) & _OF_ITS_PLACE]
    return ini_text(replace(options, given=tuple(kept)))
