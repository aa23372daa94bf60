"""Monkey-patching: gevent's plugins, and what it costs to find them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROGRAM = """\
import sys

{before}
from uwsgi_ws.hub.patching import patch

patch()
print("importlib.metadata" in sys.modules)
"""
TEXTS = {
    "one": "[gevent.plugins.monkey.did_patch_all]\nwatcher = watcher:see\n",
    "among others": "# of all kinds\n[console_scripts]\nsee = watcher:no\n\n[gevent.plugins.monkey.did_patch_all]\n"
    "# what sees\n\n watcher=watcher : Watcher.see [extra]\n[gui_scripts]\nsee = watcher:no\n",
}
PLUGIN = """\
def see(event):
    print(type(event).__name__)

class Watcher:
    see = see
"""


def install(folder: Path, text: str = TEXTS["one"], kind: str = "dist-info") -> None:
    """Install a plugin that prints the event it is called for."""
    (folder / "watcher.py").write_text(PLUGIN)
    distribution = folder / f"watcher-1.{kind}"
    distribution.mkdir()
    (distribution / ("METADATA" if kind == "dist-info" else "PKG-INFO")).write_text("Name: watcher\nVersion: 1\n")
    (distribution / "entry_points.txt").write_text(text)


def run(*path: Path, before: str = "") -> list[str]:
    """Return the words that patching has printed, last whether it has loaded ``importlib.metadata``."""
    program = PROGRAM.format(before=before)
    environ = {"PYTHONPATH": ":".join(map(str, path))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ)
    return done.stdout.split()


@pytest.mark.parametrize("kind", ["dist-info", "egg-info"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_plugins_of_gevent_are_called(tmp_path: Path, text: str, kind: str) -> None:
    """And ``importlib.metadata`` is not loaded for them: that takes a tenth of a start."""
    install(tmp_path, text, kind)
    assert run(tmp_path) == ["GeventDidPatchAllEvent", "False"]


def test_of_a_plugin_that_is_installed_twice_the_first_one_is_called(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        install(tmp_path / name)
    assert run(tmp_path / "first", tmp_path / "second") == ["GeventDidPatchAllEvent", "False"]


def test_a_plugin_in_an_archive_is_called(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    install(tmp_path / "there")
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (tmp_path / "there").rglob("*"):
            file.write(path, path.relative_to(tmp_path / "there"))
    assert run(archive) == ["GeventDidPatchAllEvent", "True"]


def test_a_plugin_that_another_finder_knows_is_called(tmp_path: Path) -> None:
    install(tmp_path)
    finder = (
        "class Finder:\n"
        "    find_spec = lambda *args: None\n"
        "    def find_distributions(context):\n"
        "        from importlib.metadata import Distribution\n"
        f"        return [Distribution.at({str(tmp_path / 'watcher-1.dist-info')!r})]\n"
        "sys.meta_path.append(Finder)\n"
    )
    place = tmp_path / "place"
    place.mkdir()
    (tmp_path / "watcher.py").rename(place / "watcher.py")
    assert run(place, before=finder) == ["GeventDidPatchAllEvent", "True"]


def test_gevent_finds_plugins_by_itself_afterwards(tmp_path: Path) -> None:
    install(tmp_path)
    before = "from gevent import events\nnotify = events.notify_and_call_entry_points\nimport atexit\n"
    before += "atexit.register(lambda: print(events.notify_and_call_entry_points is notify))"
    assert run(tmp_path, before=before)[-1] == "True"
