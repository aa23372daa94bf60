"""The files that tell the process id of the instance."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from uwsgi_ws.errors import OptionError
from uwsgi_ws.files import open_file
from uwsgi_ws.log import say
from uwsgi_ws.options import Options
from uwsgi_ws.users import owners

__all__ = ["PidFile"]


class PidFile:
    """One such file; there from ``write`` to ``remove``.

    Args:
        options: Checked already.
        name: The option that names the file.
    """

    def __init__(self, options: Options, name: str) -> None:
        self._options = options
        self._name = name
        self._text: str | None = getattr(options, name.replace("-", "_"))
        # The application may change the directory later.
        self._fd: int | None = None
        self._path = None if self._text is None else Path(self._text).absolute()

    def reserve(self) -> None:
        """Open the file now, to be written later by whom ``--uid`` makes us; without effect where nobody does.

        Raises:
            OptionError: it cannot be opened.
        """
        if self._options.uid is None and self._options.gid is None:
            return
        try:
            self._fd = self._open()
        except OSError as exc:
            raise self._error(exc) from exc

    def write(self, *, is_a_reload: bool = False) -> None:
        """Write this process's id, if a file was asked for.

        Args:
            is_a_reload: The process has written it before, and only says so if it cannot do so again.

        Raises:
            OptionError: it cannot be written.
        """
        try:
            fd, self._fd = self._open() if self._fd is None else self._fd, None
            if fd is None:
                return
            try:
                if stat.S_ISREG(os.fstat(fd).st_mode):
                    os.ftruncate(fd, 0)
                os.write(fd, self._line())
            finally:
                os.close(fd)
        except OSError as exc:
            if not is_a_reload:
                raise self._error(exc) from exc
            say(f"*** {self._error(exc)} ***")

    def remove(self) -> None:
        """Remove the file, if there is one."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        if self._path is not None:
            try:
                self._path.unlink(missing_ok=True)
            except OSError as exc:
                # The process has become a user that may not.
                say(f"*** --{self._name} {str(self._path)!r} stays: {exc.strerror} ***")

    def _open(self) -> int | None:
        """Return the file's descriptor; None if nothing need be written."""
        if self._path is None:
            return None
        try:
            return open_file(str(self._path), os.O_WRONLY, 0o666, owners(self._options.uid))
        except PermissionError:
            # The program before this one has been the same process, and root when it began.
            try:
                if self._path.read_bytes() == self._line():
                    return None
            except OSError:
                pass
            raise

    def _line(self) -> bytes:
        return f"{os.getpid()}\n".encode()

    def _error(self, error: OSError) -> OptionError:
        return self._options.error(self._name, f"cannot write {self._text!r}: {error.strerror}")
