"""What people read of the rows: ``--help``, and the settings in effect as a file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from uwsgi_ws.options.row import LARGEST, Row
from uwsgi_ws.options.table import BY_NAME, ROWS, Options

__all__ = ["help_text", "ini_text", "sentences"]

_WIDTH = 100  # of the help text
_INDENT = " " * 30  # of its right-hand column


def help_text() -> str:
    """Return what ``--help`` prints."""
    lines = [
        "Usage: uwsgi-ws [OPTIONS] [FILE.ini[:SECTION] | app.py[:CALLABLE] | pkg.mod[:CALLABLE]]",
        "       uwsgi-ws check [--json] [OPTIONS] FILE...",
        "       uwsgi-ws publish --help",
    ]
    group = ""
    for row in ROWS:
        if row.group != group:
            group = row.group
            lines += ["", f"{group}:"]
        short = f"-{row.short}, " if row.short else ""
        head = f"  {short}--{row.name} {row.metavar}".rstrip()
        text = textwrap.wrap(" ".join(sentences(row)), _WIDTH - len(_INDENT), break_on_hyphens=False)
        if len(head) < len(_INDENT) - 1:
            lines.append(head.ljust(len(_INDENT)) + text.pop(0))
        else:
            lines.append(head)
        lines += [_INDENT + line for line in text]
    lines += [
        "",
        "uWSGI's other options are refused, with what to do instead; 'uwsgi-ws check FILE' tells it.",
    ]
    return "\n".join(lines) + "\n"


def sentences(row: Row) -> Iterator[str]:
    """Yield what there is to say of an option: help, bounds, default, other names."""
    yield row.help
    yield from _limits(row)
    if default := _default(row):
        yield f"Default: {default}."
    if row.aliases:
        yield "Also " + ", ".join(f"--{alias}" for alias in row.aliases) + "."


def ini_text(options: Options) -> str:
    """Return the settings in effect as an ini file, which can be read again: no files, no placeholders, no language."""
    lines = ["; the configuration in effect", "[uwsgi]"]
    source = ""
    for setting in options.given:
        row = BY_NAME.get(setting.name)
        if row is not None and (row.reads or row.kind == "language" or row.name in ("show-config", "print")):
            continue
        place = setting.source.rpartition(":")[0] or setting.source
        if place != source:
            source = place
            lines.append(f"; from {source}")
        value = "true" if setting.value is None else setting.value.replace("%", "%%")
        lines.append(f"{setting.name} = {value}".rstrip())
    return "\n".join(lines) + "\n"


def _limits(row: Row) -> Iterator[str]:
    if row.needs_master:
        yield "Implies --master."
    if row.repeats:
        yield "May be repeated."
    if row.at_most < LARGEST:
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
