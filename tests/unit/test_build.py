"""What is said of the build that runs, and of an interpreter that cannot run it."""

from __future__ import annotations

import sys

import pytest

from uwsgi_ws import _build, cli


def test_a_free_threaded_interpreter_is_told_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "abiflags", "t")
    assert cli.main(["--http", "127.0.0.1:0", "--module", "missing"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("uwsgi_ws: this Python is a free-threaded build, which gevent does not support")
    assert said.count("\n") == 1


def test_the_usual_interpreter_is_none() -> None:
    assert not _build.is_free_threaded()


def test_pure_python_says_what_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_build, "find_spec", lambda name: None)
    assert _build.name() == "pure Python, masking by Python"
