"""The master's children: their kinds, when one is started again, and what the kernel tells of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

__all__ = ["ChildKind", "RestartBackoff", "cause", "exit_status", "is_killed", "reap", "send", "start"]


class ChildKind(Protocol):
    """Children of one kind beside the workers, such as attached daemons: the master asks the same of each kind."""

    @property
    def live(self) -> bool:
        """Whether a process of this kind still lives that ends with the instance."""

    @property
    def due(self) -> list[float]:
        """When there is something to do (monotonic)."""

    def look(self) -> None:
        """Start processes that should run and do not, and kill those that do not exit in time."""

    def exited(self, pid: int, status: int) -> bool:
        """Say whether a process that has exited was of this kind, and take note of it.

        Args:
            pid: The process.
            status: Its wait status.
        """

    def renew(self) -> None:
        """Restart processes whose code may have changed: the application has been loaded again."""

    def stop(self) -> None:
        """Tell all processes to exit, and start none any more; a second call changes nothing."""


@dataclass(slots=True)
class RestartBackoff:
    """When a child that exits too early is started again: later each time.

    Attributes:
        delays: Seconds before the next start, by early ends in a row; the last one for all further ones.
        failures: Early ends in a row.
        next_at: When the next start may be (monotonic).
    """

    delays: Sequence[float]
    failures: int = 0
    next_at: float = 0.0

    def fail(self) -> None:
        """Put the next start off."""
        self.next_at = monotonic() + self.delays[min(self.failures, len(self.delays) - 1)]
        self.failures += 1

    def succeed(self) -> None:
        """The child has lived long enough: its next early end counts as the first."""
        self.failures = 0


def start(arguments: Sequence[str], environ: Mapping[str, str], descriptors: Mapping[int, int]) -> int:
    """Start a program without waiting for it, in a group of its own; return its process id.

    Its signals are as a program expects them, not as this process has them. Its standard input is empty.

    Args:
        arguments: The program, found on PATH, first.
        environ: All of its environment.
        descriptors: What is under which number there, beside our standard output and error.

    Raises:
        OSError: there is no such program, or it cannot be run.
    """
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)
    ]
    actions += [(os.POSIX_SPAWN_DUP2, ours, its) for its, ours in descriptors.items()]
    return os.posix_spawnp(
        arguments[0],
        [*arguments],
        environ,
        file_actions=actions,
        setpgroup=0,
        setsigmask=[],
        setsigdef=range(1, 32),
    )


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
    """Send a signal to a process that may have exited already, which is then noticed elsewhere."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def exit_status(status: int) -> int:
    """Return the status that a shell would tell of a process with this wait status."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def is_killed(status: int) -> bool:
    """Return whether somebody else has ended a process with this wait status: an operator, or the kernel for memory."""
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGTERM)


def cause(status: int) -> str:
    """Return how a process with this wait status has ended, in words."""
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else f"killed by signal {-code}"
