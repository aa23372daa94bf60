"""Clocks turned by hand, for what asks a module's ``time`` and ``monotonic``."""

from __future__ import annotations

from types import ModuleType

import pytest

BEGIN = 1_000_000_020.0  # at the beginning of a minute


class Hands:
    """Both clocks."""

    monotonic = 500.0
    wall = BEGIN

    def go_on(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


def hands_of(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Hands:
    """Return the hands of the clocks that a module reads."""
    hands = Hands()
    monkeypatch.setattr(module, "monotonic", lambda: hands.monotonic)
    monkeypatch.setattr(module, "time", lambda: hands.wall)
    return hands
