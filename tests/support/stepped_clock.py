"""A wall clock of other processes that is set while they run."""

from __future__ import annotations

from pathlib import Path

__all__ = ["SteppedClock"]

# Found by every interpreter that is started with its folder on the path, before anything asks for the time: the file
# beside it holds the seconds by which the clock is wrong.
_PROGRAM = """\
import os, time

real, real_ns, path = time.time, time.time_ns, os.path.join(os.path.dirname(__file__), "step")

def step():
    try:
        with open(path) as file:
            return int(file.read() or 0)
    except FileNotFoundError:
        return 0

time.time = lambda: real() + step()
time.time_ns = lambda: real_ns() + step() * 10**9
"""


class SteppedClock:
    """The clock of all Python programs that have ``folder`` on their path when they start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "sitecustomize.py").write_text(_PROGRAM)

    def set(self, by: int) -> None:
        """Have it be wrong by so many seconds."""
        (self.folder / "step").write_text(str(by))
