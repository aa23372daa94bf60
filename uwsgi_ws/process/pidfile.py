"""The files that tell the process id of the instance."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
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
        name: The option that names the file, for messages.
        path: The file; None for none.
        error: Makes the error that says what is wrong with the option.
        users: Those whose files are ours, besides root.
        changes_user: Whether this process becomes another user before it is ready.
    """

    def __init__(
        self,
        name: str,
        path: str | None,
        error: Callable[[str, str], OptionError],
        *,
        users: Collection[int] = (),
        changes_user: bool = False,
    ) -> None:
        self._name = name
        self._text = path
        self._make_error = error
        self._users = users
        self._changes_user = changes_user
        # The application may change the directory later.
        self._fd: int | None = None
        self._path = None if path is None else Path(path).absolute()

    @classmethod
    def of(cls, options: Options, name: str) -> PidFile:
        """Return the file that an option of this name asks for."""
        path: str | None = getattr(options, name.replace("-", "_"))
        changes_user = options.uid is not None or options.gid is not None
        return cls(name, path, options.error, users=owners(options.uid), changes_user=changes_user)

    def reserve(self) -> None:
        """Open the file now, to be written by another user later; without effect where the user does not change.

        Raises:
            OptionError: it cannot be opened.
        """
        if not self._changes_user:
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
            except OSError:
                if not is_a_reload:
                    self.remove()
                raise
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
            return open_file(str(self._path), os.O_WRONLY, 0o666, self._users)
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
        return self._make_error(self._name, f"cannot write {self._text!r}: {error.strerror}")
