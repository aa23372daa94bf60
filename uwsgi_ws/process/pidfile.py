"""The files that tell the process id of the instance."""

from __future__ import annotations

import os
from pathlib import Path

from uwsgi_ws.options import Options

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
        self._path = None if self._text is None else Path(self._text).absolute()

    def write(self) -> None:
        """Write this process's id, if a file was asked for.

        Raises:
            OptionError: it cannot be written.
        """
        if self._path is None:
            return
        try:
            self._path.write_text(f"{os.getpid()}\n")
        except OSError as exc:
            raise self._options.error(self._name, f"cannot write {self._text!r}: {exc.strerror}") from exc

    def remove(self) -> None:
        """Remove the file, if there is one."""
        if self._path is not None:
            try:
                self._path.unlink(missing_ok=True)
            except OSError:
                pass  # we have become somebody who may not
