"""``--master-fifo``: a file, into which single letters are written that tell the master what to do (see ``orders``).

Source: uWSGI's MasterFIFO page, core/fifo.c.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from uwsgi_ws.files import open_file

__all__ = ["Fifo"]


class Fifo:
    """One such file; there until ``remove``.

    Args:
        path: Where; one that is there already is taken over.
        users: Those whose files are ours, besides root.

    Raises:
        ValueError: there can be none; it says why.
    """

    def __init__(self, path: str, users: Collection[int] = ()) -> None:
        self._path = Path(path).absolute()
        is_new = not os.path.lexists(self._path)
        try:
            if is_new:
                os.mkfifo(self._path, 0o620)
            # Opened for writing too, so that it does not end whenever a writer closes it.
            self._fd = open_file(str(self._path), os.O_RDWR | os.O_NONBLOCK, 0o620, users)
        except OSError as exc:
            if is_new:
                self._path.unlink(missing_ok=True)
            raise ValueError(f"cannot make {path!r}: {exc.strerror}") from exc
        if not stat.S_ISFIFO(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise ValueError(f"{path!r} is there, and no fifo")

    def fileno(self) -> int:
        """Return a descriptor that is readable while letters wait."""
        return self._fd

    def take(self) -> str:
        """Return the letters that came; without waiting."""
        try:
            return os.read(self._fd, 4096).decode("latin-1")
        except BlockingIOError:
            return ""

    def remove(self) -> None:
        """Listen no more."""
        os.close(self._fd)
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            pass  # the process has become a user that may not
