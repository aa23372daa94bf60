"""Monkey-patching: gevent's plugins, and what it costs to find them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """\
from importlib import metadata

scans = []
search = metadata.distributions
metadata.distributions = lambda **asked: scans.append(asked) or search(**asked)
read = metadata.entry_points

from uwsgi_ws.hub.patching import patch

patch()
assert metadata.entry_points is read
print(len(scans))
"""


def test_plugins_of_gevent_are_called_and_what_is_installed_is_read_once(tmp_path: Path) -> None:
    plugin = tmp_path / "watcher-1.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: watcher\nVersion: 1\n")
    (plugin / "entry_points.txt").write_text("[gevent.plugins.monkey.did_patch_all]\nwatcher = watcher:see\n")
    (tmp_path / "watcher.py").write_text("def see(event):\n    print(type(event).__name__)\n")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.stdout.split() == ["GeventDidPatchAllEvent", "1"]
