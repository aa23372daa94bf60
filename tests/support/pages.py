"""README and the pages of docs/, as somebody follows them: files to write, and commands to run, in their order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.server import ROOT, free_port

__all__ = ["PAGES", "Block", "blocks", "page_text"]

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: The first line of a file is a comment with its name.
_NAME = re.compile(r"^(?:#|;|<!--) (\S+\.\w+)(?: -->)?\n")


@dataclass(frozen=True)
class Block:
    """What stands between fences.

    Args:
        language: As the opening fence names it.
        text: All of it.
        name: The file that it is, "" if it names none.
    """

    language: str
    text: str
    name: str


def page_text(page: Path) -> str:
    """Return a page whose ports are free ones of 127.0.0.1, the same where the page has the same."""
    ports: dict[str, int] = {}

    def other(match: re.Match[str]) -> str:
        before, number = match.groups()
        new = ports[number] = ports.get(number) or free_port()
        return f"{'127.0.0.1:' if before == ':' else before}{new}"

    return re.sub(r"(127\.0\.0\.1:|localhost:|(?<!\w):|,|listen )(8[0-4]\d\d)\b", other, page.read_text())


def blocks(text: str) -> Iterator[Block]:
    """Yield what stands between fences, in its order."""
    for language, body in _FENCE.findall(text):
        found = _NAME.match(body)
        yield Block(language, body, found[1] if found else "")
