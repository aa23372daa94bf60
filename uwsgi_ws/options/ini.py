"""uWSGI's ini files: sections, ``name = value`` lines, repeated names, and comment lines.

A value is everything after the equals sign, without the blanks around it: there are no quotes, no continuation lines
and no comments behind a value.

Source: uWSGI's core/ini.c. Unlike it, nothing is passed over in silence.
"""

from __future__ import annotations

from uwsgi_ws.errors import OptionError
from uwsgi_ws.options.setting import Findings, Note, Setting

__all__ = ["parse_ini"]


def parse_ini(text: str, file: str, section: str, findings: Findings) -> list[Setting] | None:
    """Return the settings of one section, in order; None when the text has no such section.

    A section may come in several places. A name without an equals sign has no value: it switches a flag on.

    Args:
        text: Of the whole file.
        file: Its name, for errors.
        section: Without its brackets.
        findings: Gets what is wrong, wherever it stands.
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
                findings.errors.append(OptionError(line, "not of the form [section]", source))
            if current == section and settings is None:
                settings = []
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not name:
            findings.errors.append(OptionError(line, "lacks the name before its equals sign", source))
        elif not current:
            findings.notes.append(
                Note("reading", name, "stands before the first [section], and does not count", source)
            )
        elif current == section:
            assert settings is not None, "made when the section began"
            settings.append(Setting(name, value if equals else None, source))
    return settings
