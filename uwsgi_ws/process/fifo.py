"""``--master-fifo``: single letters, written into a file, tell the master what to do.

Source: uWSGI's MasterFIFO page, core/fifo.c.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from uwsgi_ws.files import open_file
from uwsgi_ws.options import Options
from uwsgi_ws.users import owners

__all__ = ["WITHOUT_EFFECT", "Fifo"]

#: uWSGI's letters that mean nothing here, and why.
WITHOUT_EFFECT = {
    **dict.fromkeys("+-C", "the number of workers is that of --processes"),
    **dict.fromkeys("BE", "there is no emperor"),
    **dict.fromkeys("0123456789", "all fifos are heard, none need be chosen"),
    "S": "there are no subscriptions",
    "f": "the master runs no code of the application's, a restart alone renews it",
}


class Fifo:
    """One such file; there until ``remove``.

    Args:
        options: For errors.
        path: Where; one that is there already is taken over.

    Raises:
        OptionError: there can be none.
    """

    def __init__(self, options: Options, path: str) -> None:
        self._path = Path(path).absolute()
        try:
            if not os.path.lexists(self._path):
                os.mkfifo(self._path, 0o620)
            # Opened for writing too, so that it does not end whenever a writer closes it.
            self._fd = open_file(str(self._path), os.O_RDWR | os.O_NONBLOCK, 0o620, owners(options.uid))
            if not stat.S_ISFIFO(os.fstat(self._fd).st_mode):
                os.close(self._fd)
                raise options.error("master-fifo", f"{path!r} is there, and no fifo")
        except OSError as exc:
            raise options.error("master-fifo", f"cannot make {path!r}: {exc.strerror}") from exc

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
