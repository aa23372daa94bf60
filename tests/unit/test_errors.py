"""The tree that errors.py draws is the one that it has."""

from __future__ import annotations

import re

from uwsgi_ws import errors


def drawn() -> dict[str, str]:
    """Each class in the drawing, with its parent's name; empty for a root."""
    found: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ((?:[|] {3}|\+-- |    )*)([A-Z]\w+)(?: {2,}|$)", line):
            depth = len(match[1]) // 4
            above[depth] = match[2]
            found[match[2]] = above.get(depth - 1, "") if depth else ""
    return found


def test_the_drawing_shows_each_class_below_its_own_parent() -> None:
    real = {
        name: kind.__bases__[0].__name__ if kind.__bases__[0].__module__ == errors.__name__ else ""
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    }
    assert drawn() == real


def test_every_class_is_public() -> None:
    assert sorted(drawn()) == sorted(errors.__all__)
