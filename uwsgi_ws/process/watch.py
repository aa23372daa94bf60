"""Files whose change asks for a reload. They are looked at now and then, as not every mount tells of changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

__all__ = ["FileWatch", "TreeWatch", "module_files"]

_Stamp = tuple[int, int, int]


class FileWatch:
    """Knows how files looked the last time.

    Args:
        paths: Those to watch from now on; one that is not there yet changes when it comes.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._stamps: dict[str, _Stamp | None] = {path: _stamp(path) for path in paths}

    def watch(self, paths: Iterable[str]) -> None:
        """Watch further files."""
        for path in paths:
            if path not in self._stamps:
                self._stamps[path] = _stamp(path)

    def changed(self) -> str | None:
        """Return a file that has changed since the last time it was asked for, None while none has."""
        found = None
        for path, before in self._stamps.items():
            now = _stamp(path)
            # One that is gone may be on its way back: many programs write a file by replacing it.
            if now is not None and now != before:
                self._stamps[path] = now
                found = path
        return found


class TreeWatch:
    """Knows how files looked the last time, and of directories, the files in them.

    Args:
        paths: Those to watch.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = tuple(paths)
        self._stamps = self._look()

    def _look(self) -> dict[str, _Stamp | None]:
        stamps = {}
        for path in self._paths:
            stamps[path] = _stamp(path)
            try:
                with os.scandir(path) as entries:
                    stamps |= {entry.path: _stamp(entry.path) for entry in entries}
            except OSError:
                pass  # no directory, or not there now
        return stamps

    def changed(self) -> str | None:
        """Return what has changed, come or gone since the last time it was asked for, None while nothing has."""
        if not self._paths:
            return None
        before, self._stamps = self._stamps, self._look()
        if before == self._stamps:
            return None
        differences = set(before.items()) ^ set(self._stamps.items())
        return max(path for path, _ in differences)  # rather a file than the directory that it is in


def module_files(ignored: Iterable[str] = ()) -> list[str]:
    """Return the source files of the modules that are imported now, but for those of these names."""
    ignored = frozenset(ignored)
    modules = [module for name, module in list(sys.modules.items()) if name not in ignored]
    files = [getattr(module, "__file__", None) for module in modules]
    return [file for file in files if isinstance(file, str)]


def _stamp(path: str) -> _Stamp | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_mtime_ns, info.st_size, info.st_ino
