"""The tree of exceptions that ``errors`` opens with."""

from __future__ import annotations

import inspect
import re

import pytest

from uwsgi_ws import errors

#: The bars of a line, its name and what it says.
LINE = re.compile(r"    ((?:│   |    |├── |└── )*)(\w+) +(.+)")


def drawing() -> list[tuple[str, str | None, str]]:
    """Return the lines of the drawing: a class, the one above it, and what is said of it."""
    assert errors.__doc__ is not None
    lines = []
    path: list[str | None] = [None]
    for line in errors.__doc__.partition("::\n\n")[2].splitlines():
        match = LINE.fullmatch(line)
        assert match, line
        depth = len(match[1]) // 4
        path[depth + 1 :] = [match[2]]
        lines.append((match[2], path[depth], match[3]))
    return lines


def tree() -> dict[str, str | None]:
    """Return the name of each class of ours, and that of the one of ours that it derives from."""
    ours = [each for each in vars(errors).values() if inspect.isclass(each) and each.__module__ == errors.__name__]
    return {each.__name__: next((base.__name__ for base in each.__bases__ if base in ours), None) for each in ours}


def test_the_drawing_is_the_tree() -> None:
    assert {name: parent for name, parent, _ in drawing()} == tree()


def test_each_is_public() -> None:
    assert sorted(errors.__all__) == sorted(tree())


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, _, text in drawing()])
def test_the_drawing_says_what_else_a_class_is_and_its_close_code(name: str, text: str) -> None:
    each = getattr(errors, name)
    assert (OSError in each.__bases__) == ("also an OSError" in text)
    assert (ValueError in each.__bases__) == ("also a ValueError" in text)
    if issubclass(each, errors.FrameError):
        assert str(each.close_code) in text
