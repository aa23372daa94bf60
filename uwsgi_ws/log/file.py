"""A file of the log: how it is opened, again and again, and moved away when it has grown.

Each process opens it itself and appends whole lines. To rotate it one process gives it another name; all of them open
it again then.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from uwsgi_ws.files import open_file
from uwsgi_ws.log.output import LogOutput

__all__ = ["FileRules", "LogFile"]

_MODE = 0o640


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRules:
    """How the log's files are kept.

    Args:
        users: Users, besides root, whose file the log may be.
        mode: Its permissions; None to leave those of a file that is there.
        owner: The user and the group that it is given to; None for nobody else.
        truncates: Whether it is empty at the start.
        max_size: Bytes past which it is moved away; 0 for never.
        backup: Where to, in place of what is there; None for its own name with the time.
    """

    users: tuple[int, ...] = ()
    mode: int | None = None
    owner: tuple[int, int] | None = None
    truncates: bool = False
    max_size: int = 0
    backup: Path | None = None


class LogFile:
    """What an output is written to.

    Args:
        path: Absolute: the application may change the directory.
        is_standard: Whether descriptors 1 and 2 are the file, too, for programs that the application starts.
    """

    def __init__(self, path: Path, rules: FileRules, *, is_standard: bool = False) -> None:
        self.path = path
        self.rules = rules
        self._is_standard = is_standard
        self._next_size = rules.max_size

    def output(self) -> LogOutput:
        """Open the file; return a new output to it.

        Raises:
            OSError: It cannot be opened.
        """
        fd, is_shared = self._open()
        try:
            return LogOutput(fd, is_shared=is_shared)
        finally:
            os.close(fd)

    def write_to(self, output: LogOutput) -> None:
        """Have an output go on in the file that has this path now.

        Raises:
            OSError: It cannot be opened; the output stays where it is.
        """
        fd, is_shared = self._open()
        try:
            output.move(fd, is_shared=is_shared)
            if self._is_standard:
                _be_standard(fd)
        finally:
            os.close(fd)

    def truncate(self, output: LogOutput) -> None:
        """Empty the file, if that is asked for and it can be."""
        if self.rules.truncates and stat.S_ISREG(os.fstat(output.fileno()).st_mode):
            os.ftruncate(output.fileno(), 0)

    def is_open(self, output: LogOutput) -> bool:
        """Whether the output goes to this file, as far as one may look."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(output.fileno()))
        except PermissionError:
            return True
        except OSError:
            return False

    def size(self) -> int:
        """Return its bytes; 0 when there is none."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    @property
    def is_full(self) -> bool:
        """Whether it is larger than it may become."""
        return 0 < self._next_size < self.size()

    def rotate(self) -> None:
        """Give the file another name; a fifo or a device keeps its own.

        Raises:
            OSError: It cannot be renamed; it is not full again before it has grown by as much once more.
        """
        if not self.path.is_file():
            return
        self._next_size = self.size() + self.rules.max_size if self.rules.max_size else 0
        self.path.rename(self.rules.backup or self._name_with_time())
        self._next_size = self.rules.max_size

    def _name_with_time(self) -> str:
        moment = int(time.time())
        while os.path.lexists(name := f"{self.path}.{moment}"):
            moment += 1  # it has been rotated in this second, or the clock was set
        return name

    def _open(self) -> tuple[int, bool]:
        """Return a descriptor, and whether others have its open file."""
        fd = open_file(str(self.path), os.O_WRONLY | os.O_APPEND, _MODE, self.rules.users)
        try:
            if self.rules.owner is not None and os.geteuid() == 0:
                os.fchown(fd, *self.rules.owner)
            if self.rules.mode is not None:
                try:
                    os.fchmod(fd, self.rules.mode)
                except PermissionError:
                    pass  # another user's; it can be written to, and whose it is has been seen
            return fd, _may_wait(fd) and os.get_blocking(fd)
        except BaseException:
            os.close(fd)
            raise


def _may_wait(fd: int) -> bool:
    return stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd)


def _be_standard(fd: int) -> None:
    """Make a file standard output and standard error."""
    # Other programs do not expect that a write fails instead of waiting.
    for standard in (1, 2):
        if _may_wait(fd) and not os.get_blocking(fd):
            waiting = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            os.dup2(waiting, standard)
            os.close(waiting)
        else:
            os.dup2(fd, standard)
