"""An interpreter over settings: placeholders, arithmetic, variables, and the blocks of ``if`` and ``for``.

It knows the words of the language, but no option and no file format: the caller says which settings stand for a file's.
It runs in two steps, as in uWSGI. The first reads setting by setting: it puts files where they are named, and leaves
out or repeats blocks. The second fills in placeholders, in the settings that are left: first all of the environment,
``$(NAME)``, then those of files, ``@(FILE)``, at last those of other settings, ``%(name)``; so a placeholder may name
what comes later. Of several settings with one name it means the first.

Source: uWSGI's core/config.c and core/utils.c (``uwsgi_apply_config_pass``). Unlike it: blocks may be nested, and
know ``else``; the condition of a block and the name of a file may have placeholders, of settings read before; and a
placeholder that names nothing is an error, not text.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from uwsgi_ws.errors import OptionError
from uwsgi_ws.options.setting import Findings, Setting

__all__ = ["WORDS", "Expanded", "Loaded", "Outside", "expand"]

_ITEM = "%(_)"
_ENDS = ("end", "endif", "end-if", "endfor", "end-for")
_ASSIGNMENTS = ("set", "set-placeholder", "set-ph")
_SUBJECTS = ("env", "exists", "file", "dir", "opt", "plugin", "reload", "hostname", "hostname-match")
#: Openers of blocks, and what they ask for; the negation of each is between "if-" and the subject.
_CONDITIONS = {f"if-{subject}": (subject, True) for subject in (*_SUBJECTS, "directory")}
_CONDITIONS |= {f"if-not-{subject}": (subject, False) for subject in _SUBJECTS}
_CONDITIONS |= {f"if{subject}": (subject, True) for subject in ("env", "exists", "dir", "plugin")}
_LOOPS = ("for", "for-glob", "for-times", "for-readline")
#: All words of the language.
WORDS = frozenset((*_CONDITIONS, *_LOOPS, *_ENDS, "else", *_ASSIGNMENTS))

#: Placeholders filled in one after the other in one value; more are a circle.
_ENOUGH = 1_000
#: What looks like a placeholder. In a regular expression ``$(?!x)`` does not.
_NAME = re.compile(r"[\w.-]+")


class Loaded(NamedTuple):
    """A file's settings, and what identifies the file, so that circles are found."""

    place: Hashable
    settings: Sequence[Setting]


class Outside(NamedTuple):
    """What the interpreter needs to know of the world.

    Args:
        environ: The environment.
        is_a_reload: Whether the configuration has been read before, by a server that this one follows.
        names_file: Says whether an option's value names a file of settings.
        load: Returns such a file's settings; raises OptionError.
        is_late: Says whether they go behind everything else.
        is_option: Says whether a name is an option's, so that it cannot be a variable's.
        keeps: Returns which kinds of placeholder mean something else in an option's value where they name nothing here:
            of ``%$@``; all of them for a name whose value is not used.
    """

    environ: Mapping[str, str]
    is_a_reload: bool
    names_file: Callable[[str], bool]
    load: Callable[[Setting], Loaded]
    is_late: Callable[[str], bool]
    is_option: Callable[[str], bool]
    keeps: Callable[[str], str]


class Expanded(NamedTuple):
    """The settings that count, and the names that were only variables: used in a placeholder, or declared as such."""

    settings: list[Setting]
    variables: frozenset[str]


def expand(settings: Sequence[Setting], outside: Outside, findings: Findings) -> Expanded:
    """Carry out the language, and return the settings that are left.

    Args:
        settings: Of all sources, in order.
        outside: What is asked of the world.
        findings: Gets what is wrong.
    """
    interpreter = _Interpreter(outside, findings)
    interpreter.read(settings, ())
    for setting, parents in interpreter.late:
        interpreter.load(setting, parents)
    return Expanded(interpreter.filled_in(), frozenset(interpreter.variables))


@dataclass(slots=True)
class _Block:
    """A block: its opener, the settings up to its end, and those behind its ``else``."""

    opener: Setting
    body: list[Setting | _Block]
    otherwise: list[Setting | _Block]


class _Interpreter:
    def __init__(self, outside: Outside, findings: Findings) -> None:
        self._outside = outside
        self._findings = findings
        self._settings: list[Setting] = []
        self._first: dict[str, int] = {}  # where each name is first
        self._broken: set[Setting] = set()  # what could not be filled in is said once
        self.variables: set[str] = set()
        self.late: list[tuple[Setting, tuple[Hashable, ...]]] = []

    # Reading

    def read(self, settings: Sequence[Setting], parents: tuple[Hashable, ...]) -> None:
        """Carry out settings, of one file or of none.

        Args:
            settings: In order.
            parents: The files that have named it.
        """
        for unit in self._blocks(settings):
            self._run(unit, None, parents)

    def _blocks(self, settings: Iterable[Setting]) -> list[Setting | _Block]:
        """Return the settings with those of each block in it."""
        top: list[Setting | _Block] = []
        open_blocks: list[_Block] = []
        current = top
        for setting in settings:
            if setting.name in _CONDITIONS or setting.name in _LOOPS:
                block = _Block(setting, [], [])
                current.append(block)
                open_blocks.append(block)
                current = block.body
            elif setting.name == "else" or setting.name in _ENDS:
                if not open_blocks:
                    self._findings.note("reading", setting, "there is no block that it could belong to")
                elif setting.name == "else":
                    current = open_blocks[-1].otherwise
                else:
                    open_blocks.pop()
                    current = top
                    if open_blocks:
                        current = open_blocks[-1].otherwise or open_blocks[-1].body
            else:
                current.append(setting)
        for block in open_blocks:
            self._findings.note("reading", block.opener, "its end is missing, so it ends here with its file")
        return top

    def _run(self, unit: Setting | _Block, item: str | None, parents: tuple[Hashable, ...]) -> None:
        if isinstance(unit, _Block):
            self._run_block(unit, item, parents)
            return
        setting = unit
        if item is not None and setting.value is not None and _ITEM in setting.value:
            setting = Setting(setting.name, setting.value.replace(_ITEM, item), setting.source)
        if setting.name in _ASSIGNMENTS:
            self._assign(setting)
        else:
            self._add(setting)
            if not setting.value or not self._outside.names_file(setting.name):
                return
            if self._outside.is_late(setting.name):
                self.late.append((setting, parents))
            else:
                self.load(setting, parents)

    def _add(self, setting: Setting) -> None:
        self._first.setdefault(setting.name, len(self._settings))
        self._settings.append(setting)

    def load(self, setting: Setting, parents: tuple[Hashable, ...]) -> None:
        """Put in the settings of the file that a setting names."""
        try:
            loaded = self._outside.load(self._known(setting))
            if loaded.place in parents:
                raise setting.error(f"{setting.value!r} is being read already")
        except OptionError as exc:
            self._findings.errors.append(exc)
            return
        self.read(loaded.settings, (*parents, loaded.place))

    def _assign(self, setting: Setting) -> None:
        name, equals, value = (setting.value or "").partition("=")
        name = name.strip()
        if not name or not equals:
            self._findings.errors.append(setting.error(f"{setting.value!r} is not of the form NAME=VALUE"))
            return
        if setting.name != "set":
            if self._outside.is_option(name):
                self._findings.errors.append(setting.error(f"{name} is an option, no placeholder: give it by 'set'"))
                return
            self.variables.add(name)
        self._add(Setting(name, value.strip(), setting.source))

    def _known(self, setting: Setting) -> Setting:
        """Return a setting whose placeholders are filled in as far as the settings read so far can."""
        if setting.value is None:
            return setting
        value = setting.value
        for symbol in "$@%":
            value = self._filled(setting, value, symbol, self._value_so_far, keeps="")
        return Setting(setting.name, value, setting.source)

    def _value_so_far(self, name: str) -> str | None:
        index = self._first.get(name)
        if index is None:
            return None
        value = self._settings[index].value or ""
        return value if "$(" not in value and "@(" not in value else self._known(self._settings[index]).value

    # Blocks

    def _run_block(self, block: _Block, item: str | None, parents: tuple[Hashable, ...]) -> None:
        opener = block.opener
        if item is not None and opener.value is not None:
            opener = Setting(opener.name, opener.value.replace(_ITEM, item), opener.source)
        argument = self._known(opener).value or ""
        if opener.name in _LOOPS:
            items = self._items(opener, argument)
            for unit in block.body:  # each one repeated, as in uWSGI, not all of them together
                for each in items:
                    self._run(unit, each, parents)
            return
        subject, is_wanted = _CONDITIONS[opener.name]
        is_so, found = self._look(subject, argument)
        for unit in block.body if is_so is is_wanted else block.otherwise:
            self._run(unit, found, parents)

    def _items(self, opener: Setting, argument: str) -> list[str]:
        match opener.name:
            case "for":
                return argument.split()
            case "for-glob":
                # As glob(3)'s GLOB_MARK | GLOB_NOCHECK.
                paths = sorted(glob.glob(argument)) or [argument]
                return [path + "/" if os.path.isdir(path) and not path.endswith("/") else path for path in paths]
            case "for-times":
                if not re.fullmatch("[0-9]{1,5}", argument):
                    self._findings.errors.append(opener.error(f"{argument!r} is no count"))
                    return []
                return [str(number) for number in range(1, int(argument) + 1)]
            case _:
                try:
                    return Path(argument).read_text(errors="surrogateescape").splitlines()
                except (OSError, ValueError) as exc:
                    self._findings.errors.append(opener.error(f"cannot read {argument!r}: {exc}"))
                    return []

    def _look(self, subject: str, argument: str) -> tuple[bool, str]:
        """Say whether it is so, and return what ``%(_)`` stands for."""
        match subject:
            case "env" | "opt":
                name, equals, value = argument.partition("=")
                find = self._outside.environ.get if subject == "env" else self._value_so_far
                found = find(name)
                return found is not None and (not equals or found == value), found or ""
            case "exists":
                return os.path.exists(argument), argument
            case "file":
                return os.path.isfile(argument), argument
            case "dir" | "directory":
                return os.path.isdir(argument), argument
            case "hostname":
                return argument == os.uname().nodename, argument
            case "hostname-match":
                return re.search(argument, os.uname().nodename) is not None, argument
            case "reload":
                return self._outside.is_a_reload, argument
            case _:  # the plugins that a Python server needs are built in
                return argument in ("python", "python3", "http", "gevent", "corerouter"), argument

    # Placeholders

    def filled_in(self) -> list[Setting]:
        """Return the settings whose placeholders are filled in."""
        for symbol in "$@%":
            for index, setting in enumerate(self._settings):
                if setting.value is not None and symbol in setting.value:
                    keeps = self._outside.keeps(setting.name)
                    value = self._filled(setting, setting.value, symbol, self._value_of, keeps)
                    is_broken = setting in self._broken
                    setting = self._settings[index] = Setting(setting.name, value, setting.source)
                    if is_broken:
                        self._broken.add(setting)
        return [setting for setting in self._settings if setting not in self._broken]

    def _value_of(self, name: str) -> str | None:
        index = self._first.get(name)
        return None if index is None else self._settings[index].value or ""

    def _filled(self, setting: Setting, text: str, symbol: str, find: Callable[[str], str | None], keeps: str) -> str:
        """Return a value without the placeholders of one kind.

        Args:
            setting: Whose value it is, for errors.
            text: The value.
            symbol: What stands before the parentheses.
            find: Returns the value of another setting, None when there is none.
            keeps: Kinds that may stay.
        """
        start = 0
        for _ in range(_ENOUGH):
            start = text.find(symbol + "(", start)
            end = _closing(text, start + 2) if start >= 0 else -1
            if end < 0:
                return text
            inside = text[start + 2 : end]
            try:
                value = self._value(symbol, inside, find)
            except (OSError, ValueError, LookupError) as exc:
                if symbol not in keeps:
                    problem = f"{text[start : end + 1]!r} {exc.strerror if isinstance(exc, OSError) else exc.args[0]}"
                    self._findings.errors.append(setting.error(problem))
                    self._broken.add(setting)
                value = None
            if value is None:
                start = end + 1
            else:
                text = text[:start] + value + text[end + 1 :]
                if symbol != "%":  # what the environment or a file says is not looked through again
                    start += len(value)
        self._findings.errors.append(setting.error(f"{setting.value!r} has placeholders that name one another"))
        return text

    def _value(self, symbol: str, inside: str, find: Callable[[str], str | None]) -> str | None:
        """Return what parentheses stand for; None where they only look like a placeholder.

        Raises:
            LookupError: It names nothing; the message says so.
            OSError: It names a file that cannot be read.
        """
        if symbol == "$":
            if inside in self._outside.environ:
                return self._outside.environ[inside]
            if _NAME.fullmatch(inside):
                raise LookupError(f"is not filled in: the environment has no {inside}")
            return None
        if symbol == "@":
            if not inside:
                return None
            text = Path(inside).read_text(errors="surrogateescape")
            return text[:-1] if text.endswith(("\n", "\r")) else text
        words = inside.split()
        if not words or inside == "_":
            return None
        return _calculated(words, lambda word: self._named(word, find))

    def _named(self, name: str, find: Callable[[str], str | None]) -> str:
        value = find(name)
        if value is None:
            raise LookupError(f"is not filled in: no option or variable {name!r} is given")
        self.variables.add(name)
        return value


def _closing(text: str, start: int) -> int:
    """Return the index of the parenthesis that closes the one opened before ``start``; -1 if there is none."""
    depth = 1
    for index in range(start, len(text)):
        depth += (text[index] == "(") - (text[index] == ")")
        if not depth:
            return index
    return -1


def _calculated(words: Sequence[str], find: Callable[[str], str]) -> str:
    """Calculate with numbers, names and ``+ - * / ++ --`` between them, from left to right, as in uWSGI.

    Two values without a sign between them are put together. A text counts as the number that it begins with, or 0. What
    is divided by 0 is 0.
    """
    value, sign = "", ""
    for word in words:
        if word in ("+", "-", "*", "/"):
            sign = word
            continue
        if word in ("++", "--"):
            value, sign = str(_number(value) + (1 if word == "++" else -1)), ""
            continue
        other = word if word.isdecimal() and word.isascii() else find(word)
        left, right = _number(value), _number(other)
        match sign:
            case "+":
                value = str(left + right)
            case "-":
                value = str(left - right)
            case "*":
                value = str(left * right)
            case "/":  # C's, which cuts
                value = str(0 if not right else abs(left) // abs(right) * (1 if (left < 0) is (right < 0) else -1))
            case _:
                value += other
        sign = ""
    return value


def _number(text: str) -> int:
    """Return what C's ``strtoll`` makes of a text."""
    found = re.match(r"\s*([+-]?[0-9]{1,18})", text)
    return int(found[1]) if found else 0
