"""Make the pages of the reference that follow from the code: one fact has one home."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import uwsgi_ws
from uwsgi_ws.options.table import ROWS
from uwsgi_ws.options.texts import sentences
from uwsgi_ws.protocol.websocket import frames

__all__ = ["write_all"]


def write_all(folder: Path) -> None:
    """Write each page whose text is no longer what it was."""
    pages = {"options.md": options(), "close-codes.md": close_codes(), "api.md": api()}
    folder.mkdir(exist_ok=True)
    for name, lines in pages.items():
        path = folder / name
        text = "\n".join(lines) + "\n"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def options() -> Iterator[str]:
    """Each option, as ``--help`` tells of it."""
    yield "# Options\n\nEvery option that has an effect, with its default. For operators; `--help` says the same.\n"
    group = ""
    for row in ROWS:
        if row.group != group:
            group = row.group
            yield f"## {group}\n"
        short = f"`-{row.short}`, " if row.short else ""
        yield f"(option-{row.name})=\n{short}`--{row.name}{' ' + row.metavar if row.metavar else ''}`"
        yield f": {_escaped(' '.join(sentences(row)))}\n"


def close_codes() -> Iterator[str]:
    """Each close code, with what the code says of it."""
    yield "# Close codes\n\nWhy a WebSocket has ended: `close_code` and the access line. For people who see one.\n"
    yield "| Code | Name | |\n|---|---|---|"
    comment: list[str] = []
    for line in inspect.getsource(frames.CloseCode).splitlines():
        line = line.strip()
        if line.startswith("#:"):
            comment.append(line[2:].strip())
        elif found := re.fullmatch(r"([A-Z_]+) = (\d+)", line):
            yield f"| {found[2]} | {found[1].replace('_', ' ').lower()} | {_escaped(' '.join(comment))} |"
            comment = []


def api() -> Iterator[str]:
    """The names of ``uwsgi_ws``."""
    yield "# uwsgi_ws\n\nWhat `import uwsgi_ws` offers. For applications that use the typed API.\n"
    for name in uwsgi_ws.__all__:
        kind = "class" if inspect.isclass(thing := getattr(uwsgi_ws, name)) else "function"
        if kind == "class" and issubclass(thing, Exception):
            kind = "exception"
        members = "" if kind == "function" else "\n:members:"
        yield f"```{{eval-rst}}\n.. auto{kind}:: uwsgi_ws.{name}{members.replace(chr(10), chr(10) + '   ')}\n```\n"


def _escaped(text: str) -> str:
    return re.sub(r"([|<>*_\\`$])", r"\\\1", text)
