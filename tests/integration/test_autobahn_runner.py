"""What the runner of the Autobahn suite makes of its reports; the suite itself is `make compliance`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compliance"))

import autobahn

CLEAN = {"behavior": "OK", "behaviorClose": "OK", "remoteCloseCode": 1000}
REPORT = {"result": "", "resultClose": "", "wasNotCleanReason": None, "expectedClose": {"closeCode": [1000]}}


def verdict(folder: Path, entry: dict[str, Any], detail: dict[str, Any]) -> autobahn.Verdict:
    """Return the verdict of a case of that report."""
    (folder / "case.json").write_text(json.dumps({**REPORT, **detail}))
    return autobahn.read_verdict(folder, "7.1.1", {**CLEAN, **entry, "reportfile": "case.json"})


@pytest.mark.parametrize(
    ("entry", "detail", "passed"),
    [
        ({}, {}, True),
        ({"behavior": "INFORMATIONAL"}, {}, True),
        ({"behavior": "NON-STRICT"}, {}, False),
        ({"behavior": "UNIMPLEMENTED"}, {}, False),
        ({"behaviorClose": "UNCLEAN"}, {}, False),
        ({"behaviorClose": "WRONG CODE"}, {}, False),
        ({"remoteCloseCode": 1002}, {"expectedClose": {"closeCode": [1002]}}, True),
        ({"remoteCloseCode": None}, {"expectedClose": {"closeCode": [1002]}}, False),
        ({"remoteCloseCode": 1002}, {"expectedClose": {"closeCode": [1007]}}, False),
        ({"remoteCloseCode": None}, {"expectedClose": {"closeCode": [1000, 1002]}}, True),
        ({"remoteCloseCode": None}, {"expectedClose": {}}, True),
    ],
)
def test_a_case_passes_strictly(tmp_path: Path, entry: dict[str, Any], detail: dict[str, Any], passed: bool) -> None:
    assert verdict(tmp_path, entry, detail).passed is passed


def test_cases_go_to_the_mode_that_they_belong_to() -> None:
    plain, alone = autobahn.MODES["plain"], autobahn.MODES["alone"]
    assert plain.words([]) == ["-x", "12.*", "-x", "13.*"]
    assert alone.words([]) == ["-i", "12.*", "-i", "13.*"]
    assert plain.words(["1.1.1", "13.1.1"]) == ["-i", "1.1.1"]
    assert alone.words(["1.1.1", "13.1.1"]) == ["-i", "13.1.1"]
    assert alone.words(["1.*"]) is None
    assert plain.total + alone.total == 517


def test_a_run_that_misses_cases_is_not_good(tmp_path: Path) -> None:
    good, bad = verdict(tmp_path, {}, {}), verdict(tmp_path, {"behavior": "FAILED"}, {})
    assert autobahn.Run("http1", "plain", [good], 1, 1.0).report({})
    assert not autobahn.Run("http1", "plain", [good], 2, 1.0).report({})
    assert not autobahn.Run("http1", "plain", [bad], 1, 1.0).report({})
    assert autobahn.Run("http1", "plain", [bad], 1, 1.0).report({"7.1.1": "why"})
    assert not autobahn.Run("http1", "plain", [good], 1, 1.0).report({"7.1.1": "why"})
