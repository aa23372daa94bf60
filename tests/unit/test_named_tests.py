"""SECURITY.md and the page of promises name tests and options that exist, and a test for each row."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from uwsgi_ws.options.table import BY_NAME

ROOT = Path(__file__).resolve().parents[2]
SECURITY, PROMISES = ROOT / "SECURITY.md", ROOT / "docs" / "promises.md"

_TEST = re.compile(r"`((?:unit|integration)/[\w/]+\.py)(?:::(\w+))?`")


@functools.cache
def named_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def rows(page: Path) -> list[str]:
    """Return the rows of a page's table, without its head."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    return lines[1:]


@pytest.mark.parametrize("page", [SECURITY, PROMISES], ids=lambda page: page.name)
def test_every_test_that_is_named_exists(page: Path) -> None:
    named = _TEST.findall(page.read_text())
    assert len(named) > 20
    missing = [f"{path}::{name}" for path, name in named if name and name not in named_in(path)]
    assert missing == []
    assert [path for path, _ in named if not named_in(path)] == []


def test_every_threat_and_every_promise_has_a_test() -> None:
    assert [row for row in rows(SECURITY) if not _TEST.search(row.split("|")[5])] == []
    assert [row for row in rows(PROMISES) if not (_TEST.search(row) or "`make " in row)] == []


def test_the_options_that_bound_threats_exist() -> None:
    named = {name for row in rows(SECURITY) for name in re.findall(r"`--([a-z0-9-]+)`", row)}
    assert sorted(named - BY_NAME.keys()) == []


def test_links_of_the_security_page_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", SECURITY.read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []
