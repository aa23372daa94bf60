"""Configuration files as a source of settings: the plain part of uWSGI's ini language.

Sections, ``name = value`` lines, repeated names, and comment lines. A value is everything after the equals sign,
without the blanks around it: there are no quotes, no continuation lines and no comments behind a value.

Source: uWSGI's core/ini.c. Unlike it, nothing is passed over in silence: a missing section and a line before the
first one are errors.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from uwsgi_ws.errors import OptionError
from uwsgi_ws.options.setting import Setting

__all__ = ["expand", "parse_ini"]

_SECTION = "uwsgi"  # the one that is meant when none is named


def expand(settings: Sequence[Setting]) -> list[Setting]:
    """Return the settings, those of each file that an ``ini`` setting names right behind it.

    A file may name further files; ``:SECTION`` alone is another section of the file before.

    Raises:
        OptionError: A file cannot be read, is malformed, lacks the section, or names itself.
    """
    return _expand(settings, "", ())


def _expand(settings: Sequence[Setting], file: str, parents: tuple[tuple[str, str], ...]) -> list[Setting]:
    expanded: list[Setting] = []
    for setting in settings:
        expanded.append(setting)
        if setting.name != "ini" or not setting.value:  # `build` complains of a missing value
            continue
        name, _, section = setting.value.partition(":")
        file = name or file
        if not file:
            raise setting.error(f"{setting.value!r} names no file, and there is none before it")
        place = (os.path.abspath(file), section or _SECTION)
        if place in parents:
            raise setting.error(f"{setting.value!r} is being read already")
        try:
            # What is no UTF-8 comes through unharmed, as it does on a command line.
            text = Path(file).read_text(encoding="utf-8-sig", errors="surrogateescape")
        except (OSError, ValueError) as exc:
            raise setting.error(f"cannot read {file!r}: {getattr(exc, 'strerror', None) or exc}") from exc
        found = parse_ini(text, file, section or _SECTION)
        if found is None:
            raise setting.error(f"{file!r} has no section [{section or _SECTION}]")
        expanded += _expand(found, file, (*parents, place))
    return expanded


def parse_ini(text: str, file: str, section: str) -> list[Setting] | None:
    """Return the settings of one section, in order; None when the text has no such section.

    A section may come in several places. A name without an equals sign has no value: it switches a flag on.

    Args:
        text: Of the whole file.
        file: Its name, for errors.
        section: Without its brackets.

    Raises:
        OptionError: A line is malformed, wherever it stands.
    """
    settings: list[Setting] | None = None
    current = ""
    for number, line in enumerate(text.split("\n"), 1):
        source = f"{file}:{number}"
        line = line.strip()
        if not line or line[0] in ";#":
            continue
        if line[0] == "[":
            current = line[1:-1].strip()
            if line[-1] != "]" or not current:
                raise OptionError(line, "not of the form [section]", source)
            if current == section and settings is None:
                settings = []
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not current:
            raise OptionError(name or line, "stands before the first [section]", source)
        if not name:
            raise OptionError(line, "lacks the name before its equals sign", source)
        if current == section:
            assert settings is not None, "made when the section began"
            settings.append(Setting(name, value if equals else None, source))
    return settings
