"""The log's files: when they are moved away, and where to."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from uwsgi_ws.log.file import FileRules, LogFile


def test_a_file_is_full_past_its_size_and_again_once_it_has_grown_by_as_much(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log", FileRules(max_size=10, backup=tmp_path / "none/old"))
    assert not file.is_full  # there is none
    (tmp_path / "log").write_text("." * 10)
    assert not file.is_full
    (tmp_path / "log").write_text("." * 11)
    assert file.is_full
    with pytest.raises(FileNotFoundError):
        file.rotate()
    assert not file.is_full  # it is said once, not each second
    (tmp_path / "log").write_text("." * 22)
    assert file.is_full
    (tmp_path / "none").mkdir()
    file.rotate()
    assert (tmp_path / "none/old").stat().st_size == 22
    (tmp_path / "log").write_text("." * 11)
    assert file.is_full


def test_a_file_without_a_size_is_never_full(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("." * 100)
    file = LogFile(tmp_path / "log", FileRules())
    assert not file.is_full
    file.rotate()
    assert not file.is_full


def test_no_file_takes_the_place_of_another_unless_it_shall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.5)
    file = LogFile(tmp_path / "log", FileRules())
    for number in range(3):
        (tmp_path / "log").write_text(str(number))
        file.rotate()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "log.1000": "0",
        "log.1001": "1",
        "log.1002": "2",
    }


def test_a_fifo_keeps_its_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    LogFile(tmp_path / "log", FileRules()).rotate()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_what_is_opened_gets_its_permissions_and_can_be_emptied(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before")
    file = LogFile(tmp_path / "log", FileRules(mode=0o604, truncates=True))
    output = file.output()
    assert file.is_open(output)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o604
    file.truncate(output)
    assert file.size() == 0
    (tmp_path / "log").rename(tmp_path / "old")
    assert not file.is_open(output)
    file.write_to(output)
    assert file.is_open(output)
    output.write(b"after\n")
    assert (tmp_path / "log").read_text() == "after\n"
    output.close()
