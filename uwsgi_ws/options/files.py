"""Configuration files: which format one has, what its magic signs stand for, and which section is meant.

Before anything else, ``%d`` and its like in a file are replaced by what they stand for there; ``%%`` is a percent
sign, and ``%(`` is left to the interpreter (``expand``).

Source: uWSGI's core/uwsgi.c (``uwsgi_opt_load``, ``config_magic_table_fill``) and its documentation's page on
placeholders.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from uwsgi_ws.options.documents import parse_json, parse_xml, parse_yaml
from uwsgi_ws.options.expand import Loaded
from uwsgi_ws.options.ini import parse_ini
from uwsgi_ws.options.setting import Findings, Note, Setting

__all__ = ["Files", "format_of"]

_SECTION = "uwsgi"  # where no section is named
_STDIN = "-"
Parser = Callable[[str, str, str, Findings], "list[Setting] | None"]
_PARSERS: dict[str, Parser] = {"ini": parse_ini, "xml": parse_xml, "yaml": parse_yaml, "json": parse_json}
_ENDINGS = {".ini": "ini", ".xml": "xml", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".js": "json"}


def format_of(name: str) -> str | None:
    """Return the format that a file's name, a ``:SECTION`` behind it or not, ends in; None for none that we know."""
    for text in (name, name.rpartition(":")[0]):
        for ending, form in _ENDINGS.items():
            if text.endswith(ending):
                return form
    return None


class Files:
    """The files of one configuration, one after the other.

    Args:
        version: What ``%V`` stands for.
        findings: Gets what is wrong with them.
        kept: What files held, by their path; those that are read are added. A file that may not be read any more is
            taken from there: a server that was started by root may have become another user.
        started_in: The directory that the files' paths start in; empty for the current one.
    """

    def __init__(self, version: str, findings: Findings, kept: dict[str, bytes], started_in: str) -> None:
        self._findings = findings
        self._kept = kept
        self._started_in = started_in or os.getcwd()
        self._last, self._last_form = "", "ini"  # what ``:SECTION`` alone means
        self._magic = _magic_of_machine(version)
        self._knows_first = False

    def load(self, setting: Setting, form: str | None) -> Loaded:
        """Return the settings of the file that a setting names.

        Args:
            setting: Its value is ``FILE``, ``FILE:SECTION``, ``:SECTION`` of the file before, or ``-``.
            form: Its format; None where its name tells.

        Raises:
            OptionError: It cannot be read or understood, or lacks the section that was named.
        """
        value = setting.value or ""
        name, colon, section = value.rpartition(":")
        if not colon:
            name, section = value, ""
        if not name and not self._last:
            raise setting.error(f"{value!r} names no file, and there is none before it")
        file = name or self._last
        if "://" in file:
            raise setting.error(f"{value!r} is not read from there: give a file, or - for standard input")
        form = form or (format_of(file) if name else self._last_form)
        if form is None and file == _STDIN:
            form = "ini"
        if form is None:
            raise setting.error(f"{value!r} ends in no format that is known: {', '.join(_ENDINGS)}")
        self._last, self._last_form = file, form
        try:
            text = self._read(file)
        except (OSError, ValueError) as exc:
            raise setting.error(f"cannot read {file!r}: {getattr(exc, 'strerror', None) or exc}") from exc
        self._learn(value, file, section, is_new=bool(name))
        shown = "standard input" if file == _STDIN else file
        try:
            found = _PARSERS[form](text, shown, section or _SECTION, self._findings)
        except ValueError as exc:
            raise setting.error(f"cannot read {file!r}: {exc}") from exc
        if found is None and section:
            raise setting.error(f"{file!r} has no section [{section}]")
        if found is None:
            self._findings.note("reading", setting, f"{file!r} has no section [{_SECTION}], so nothing in it counts")
        settings = [self._filled_in(each) for each in found or ()]
        if setting.name.startswith("ini-paste"):  # the file describes the application, too
            settings.append(Setting("paste", f"config:{self._path(file)}", setting.source))
        if setting.name == "ini-paste-logged":
            settings.append(Setting("paste-logger", None, setting.source))
        return Loaded((self._path(file), section or _SECTION), settings)

    def _path(self, file: str) -> str:
        return os.path.abspath(os.path.join(self._started_in, file))

    def _read(self, file: str) -> str:
        if file == _STDIN:
            return _read_stdin()
        path = self._path(file)
        try:
            self._kept[path] = Path(path).read_bytes()
        except PermissionError:
            if path not in self._kept:
                raise
        # Bytes that are not UTF-8 are kept, as on a command line.
        text = self._kept[path].decode("utf-8-sig", "surrogateescape")
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _learn(self, value: str, file: str, section: str, *, is_new: bool) -> None:
        """Remember what the magic signs stand for in a file."""
        if file == _STDIN:
            self._magic["o"] = file
            return
        self._magic["o"], self._magic["x"] = value, section
        if not is_new:
            return
        path = os.path.join(self._started_in, file)
        if not os.path.islink(path):
            path = os.path.realpath(path)
        folder, name = os.path.split(path)
        stem, dot, ending = name.rpartition(".")
        self._magic |= {
            "p": path,
            "s": name,
            "n": stem if dot else name,
            "e": ending if dot else "",
            "d": folder.rstrip("/") + "/",
            "c": os.path.basename(folder),
            "j": f"{_djb33x(os.fsencode(path)):08X}",
            **dict.fromkeys("0123456789", ""),
            **dict(zip("0123456789", [part for part in folder.split("/") if part], strict=False)),
        }
        try:
            self._magic["i"] = str(os.lstat(path).st_ino)
        except OSError:
            pass
        if not self._knows_first:
            self._knows_first = True
            self._magic |= {sign.upper(): self._magic.get(sign, "") for sign in "odspcenxij"}

    def _filled_in(self, setting: Setting) -> Setting:
        """Return a setting with its magic signs replaced."""
        if setting.value is None or "%" not in setting.value:
            return setting
        unknown: list[str] = []

        def stands_for(found: re.Match[str]) -> str:
            sign = found[1]
            if sign not in self._magic:
                unknown.append(f"%{sign}")
            return self._magic.get(sign, "")

        # A lone sign at the end stays, as nothing is behind it.
        value = re.sub(r"%([^(])", stands_for, setting.value, flags=re.DOTALL)
        if unknown:
            text = f"{', '.join(unknown)} stands for nothing in a configuration file and is left out; write %% for %"
            self._findings.notes.append(Note("reading", setting.name, text, setting.source))
        return Setting(setting.name, value, setting.source)


def _read_stdin() -> str:
    """Return what standard input holds, in a way that a reload can read it again, here or behind an ``exec``."""
    try:
        os.lseek(0, 0, os.SEEK_SET)
    except OSError:  # a pipe can be read once, so memory takes its descriptor
        memory = os.memfd_create("standard input")
        with open(0, "rb", closefd=False) as pipe, open(memory, "wb") as copy:
            copy.write(pipe.read())
            copy.flush()
            os.lseek(memory, 0, os.SEEK_SET)
            os.dup2(memory, 0)
    with open(0, "rb", closefd=False) as stdin:
        text = stdin.read().decode("utf-8-sig", "surrogateescape")
    return text


def _magic_of_machine(version: str) -> dict[str, str]:
    """Return the magic signs that mean the same in every file."""
    uid, gid = os.getuid(), os.getgid()
    now = time.time()
    return {
        "%": "%",
        "[": "\x1b",
        "v": os.getcwd(),
        "h": os.uname().nodename,
        "t": str(int(now)),
        "T": str(int(now * 1_000_000)),
        "V": version,
        "k": str(os.sysconf("SC_NPROCESSORS_ONLN")),
        "b": sys.executable,
        "u": str(uid),
        "U": _name_of(pwd.getpwuid, uid),
        "g": str(gid),
        "G": _name_of(grp.getgrgid, gid),
    }


def _name_of(find: Callable[[int], tuple[object, ...]], number: int) -> str:
    try:
        return str(find(number)[0])
    except KeyError:
        return str(number)


def _djb33x(data: bytes) -> int:
    """Return Daniel Bernstein's hash, as uWSGI shows it: the bytes of a little-endian number."""
    value = 5381
    for byte in data:
        value = ((value << 5) + value & 0xFFFFFFFF) ^ byte
    return int.from_bytes(value.to_bytes(4, "little"), "big")
