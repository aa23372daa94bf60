"""Files whose change asks for a reload."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from uwsgi_ws.process.watch import FileWatch, TreeWatch, module_files


def touch(path: Path, seconds: int) -> None:
    """Set a file's time, as files written in one tick of the clock have the same."""
    path.touch()
    os.utime(path, (seconds, seconds))


def test_a_file_is_told_of_once_each_time_it_changes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    touch(one, 1)
    watch = FileWatch([str(one), str(two)])
    assert watch.changed() is None
    touch(one, 2)
    assert watch.changed() == str(one)
    assert watch.changed() is None
    touch(two, 1)  # it comes
    assert watch.changed() == str(two)
    two.unlink()
    assert watch.changed() is None  # it may be on its way back
    touch(two, 1)
    os.truncate(two, 10)
    os.utime(two, (1, 1))
    assert watch.changed() == str(two)  # another file of that name


def test_further_files_are_watched_from_then_on(tmp_path: Path) -> None:
    one = tmp_path / "one"
    touch(one, 1)
    watch = FileWatch()
    assert watch.changed() is None
    watch.watch([str(one)])
    assert watch.changed() is None
    touch(one, 2)
    watch.watch([str(one)])  # known already
    assert watch.changed() == str(one)


def test_of_a_folder_the_files_in_it_are_watched_too(tmp_path: Path) -> None:
    one = tmp_path / "one"
    touch(one, 1)
    watch = TreeWatch([str(tmp_path), str(tmp_path / "none")])
    assert watch.changed() is None
    touch(one, 2)
    assert watch.changed() == str(one)
    assert watch.changed() is None
    one.unlink()
    assert watch.changed() == str(one)
    touch(tmp_path / "two", 3)
    assert watch.changed() == str(tmp_path / "two")
    assert watch.changed() is None


def test_nothing_is_looked_at_without_a_path() -> None:
    assert TreeWatch([]).changed() is None


def test_the_files_of_modules_are_known_but_for_those_that_shall_be_ignored() -> None:
    files = module_files()
    assert __file__ in files
    assert not [file for file in files if not isinstance(file, str)]
    assert __file__ not in module_files([__name__, *(name for name in sys.modules if name.endswith("test_watch"))])
