"""The table in ``docs/capacity.md`` is what the simulation says with the costs that were measured."""

from __future__ import annotations

import sys

from support.server import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import capacity


def test_the_document_has_what_the_simulation_says() -> None:
    assert capacity.documented() == capacity.table(), "python benchmarks/capacity.py --update"
