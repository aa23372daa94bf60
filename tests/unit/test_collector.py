"""The collector rests while modules are loaded, and for nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """\
import gc
from uwsgi_ws.collector import at_rest
{before}
try:
    with at_rest():
        print(gc.isenabled())
        made = [[]]
        {within}
except KeyError:
    pass
print(gc.isenabled())
print(any(each is made for each in gc.get_objects()))
"""


@pytest.mark.parametrize(
    ("before", "within", "said"),
    [
        ("", "", "False True False"),
        ("", "raise KeyError", "False True False"),
        ("gc.disable()", "", "False False True"),
    ],
    ids=["on", "error", "off"],
)
def test_what_is_made_at_rest_is_never_looked_at(before: str, within: str, said: str) -> None:
    """In a process of its own, as it concerns all objects there are."""
    program = PROGRAM.format(before=before, within=within)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == said.split()
