"""What the kernel tells a parent of its children, and takes for them."""

from __future__ import annotations

import os

__all__ = ["cause", "exit_status", "reap", "send"]


def reap() -> list[tuple[int, int]]:
    """Return the process ids and wait statuses of children that have ended."""
    dead: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return dead
        if not pid:
            return dead
        dead.append((pid, status))


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended already: its death is noticed in its turn."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def exit_status(status: int) -> int:
    """Return the status that a shell would tell of a process with this wait status."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def cause(status: int) -> str:
    """Return how a process with this wait status has ended, in words."""
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else f"killed by signal {-code}"
