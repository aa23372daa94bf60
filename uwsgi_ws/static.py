"""Static files, served before any application is asked (``--static-map``, ``--check-static``, ``--static-index``)."""

from __future__ import annotations

import mimetypes
import os
import stat
from calendar import timegm
from email.utils import formatdate, parsedate
from pathlib import Path

from uwsgi_ws.fronts.base import Request
from uwsgi_ws.wsgi.runner import respond

__all__ = ["StaticFiles"]


class StaticFiles:
    """Directories laid over the application's paths.

    Only regular files whose real path lies inside their directory are served, so neither ``..`` nor a symbolic link
    leads out of it.

    Args:
        maps: Pairs of mount point and directory; the file's path is what follows the mount point.
        checks: Directories in which the whole path is looked up; without a file there the application is asked.
        indexes: File names to look for in a directory.
    """

    def __init__(self, maps: tuple[tuple[str, str], ...], checks: tuple[str, ...], indexes: tuple[str, ...]) -> None:
        self._maps = [(mount.rstrip("/"), os.path.realpath(directory)) for mount, directory in maps]
        self._checks = [os.path.realpath(directory) for directory in checks]
        self._indexes = indexes

    def serve(self, request: Request) -> bool:
        """Answer the request if it names a file here; say whether it was answered."""
        environ = request.environ
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return False
        path: str = environ["PATH_INFO"]
        for mount, directory in self._maps:
            if path == mount or path.startswith(mount + "/"):
                found = self._find(directory, path[len(mount) :])
                if found is not None:
                    _send(request, *found)
                    return True
        for directory in self._checks:
            found = self._find(directory, path)
            if found is not None:
                _send(request, *found)
                return True
        return False

    def _find(self, directory: str, path: str) -> tuple[Path, os.stat_result] | None:
        if "\0" in path:
            return None
        # PATH_INFO is bytes in latin-1's clothes (PEP 3333).
        name = os.fsdecode(path.lstrip("/").encode("latin-1"))
        real = os.path.realpath(os.path.join(directory, name))
        candidates = [real, *(os.path.realpath(os.path.join(real, index)) for index in self._indexes)]
        for candidate in candidates:
            if candidate != directory and not candidate.startswith(directory.rstrip("/") + "/"):
                continue
            try:
                info = os.stat(candidate)
            except OSError:
                continue
            if stat.S_ISREG(info.st_mode):
                return Path(candidate), info
        return None


def _send(request: Request, path: Path, info: os.stat_result) -> None:
    since = request.environ.get("HTTP_IF_MODIFIED_SINCE")
    modified = int(info.st_mtime)
    headers = [("Last-Modified", formatdate(modified, usegmt=True))]
    if since is not None and not _is_newer(modified, since):
        request.write_head("304 Not Modified", headers, 0)
        request.finish()
        return
    kind, encoding = mimetypes.guess_type(path.name)
    headers.append(("Content-Type", kind or "application/octet-stream"))
    if encoding is not None:
        headers.append(("Content-Encoding", encoding))
    headers.append(("Content-Length", str(info.st_size)))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # not ours to read, or gone meanwhile
        respond(request, "403 Forbidden", [("Content-Type", "text/plain")], b"403 Forbidden\n")
        return
    try:
        request.write_head("200 OK", headers, info.st_size)
        request.write_file(fd, 0, info.st_size)
        request.finish()
    except OSError:
        request.abandon()
    finally:
        os.close(fd)


def _is_newer(modified: int, since: str) -> bool:
    try:
        # RFC 9110 5.6.7: two of the three forms do not say GMT, but all are.
        return modified > timegm(parsedate(since))  # type: ignore[arg-type]  # None raises the TypeError
    except (TypeError, ValueError, OverflowError):
        return True
