"""A process of its own for what changes the process: signals, user, name, event loop."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Outcome = TypeVar("Outcome")

_FAILED = "failed\n"


def in_child(do: Callable[[], Outcome]) -> str:
    """Return what a function returns in a forked process, as text; a failure there fails the test."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            try:
                said = str(do())
            except BaseException:
                said = _FAILED + traceback.format_exc()
            os.write(writing, said.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as file:
        said = file.read()
    os.waitpid(pid, 0)
    if said.startswith(_FAILED):
        raise AssertionError(said.removeprefix(_FAILED))
    return said


def is_gone(pid: int) -> bool:
    """Whether a process has ended, be it that its parent has not noticed yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
