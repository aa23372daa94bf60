"""Static files, served before any application is asked (``--static-map``, ``--check-static``, ``--static-index``)."""

from __future__ import annotations

import mimetypes
import os
import stat
from email.utils import formatdate
from typing import NamedTuple

from uwsgi_ws.fronts.base import Headers, Request
from uwsgi_ws.protocol.conditional import select
from uwsgi_ws.wsgi.runner import respond

__all__ = ["Directory", "File", "StaticFiles", "send_file"]


class File(NamedTuple):
    """A regular file, by its real path."""

    path: str
    info: os.stat_result


class Directory:
    """A directory that nothing leads out of: neither ``..`` nor a symbolic link.

    Args:
        path: Where it is.
        indexes: Names of the files that stand for a directory.
    """

    def __init__(self, path: str, indexes: tuple[str, ...] = ()) -> None:
        self._path = os.path.realpath(path)
        self._prefix = self._path.rstrip("/") + "/"
        self._indexes = indexes

    def find(self, path: str) -> File | None:
        """Return the file that a request's path names below this directory.

        Args:
            path: As environs have it: bytes in latin-1's clothes (PEP 3333).
        """
        if "\0" in path:
            return None
        name = os.fsdecode(path.lstrip("/").encode("latin-1"))
        real = os.path.realpath(os.path.join(self._path, name))
        for candidate in (real, *(os.path.realpath(os.path.join(real, index)) for index in self._indexes)):
            if candidate != self._path and not candidate.startswith(self._prefix):
                continue
            try:
                info = os.stat(candidate)
            except OSError:
                continue
            if stat.S_ISREG(info.st_mode):
                return File(candidate, info)
        return None


class StaticFiles:
    """Directories laid over the application's paths.

    Args:
        maps: Pairs of mount point and directory; the file's path is what follows the mount point.
        checks: Directories in which the whole path is looked up; without a file there the application is asked.
        indexes: File names to look for in a directory.
    """

    def __init__(self, maps: tuple[tuple[str, str], ...], checks: tuple[str, ...], indexes: tuple[str, ...]) -> None:
        self._maps = [(mount.rstrip("/"), Directory(directory, indexes)) for mount, directory in maps]
        self._checks = [Directory(directory, indexes) for directory in checks]

    def serve(self, request: Request) -> bool:
        """Answer the request if it names a file here; say whether it was answered."""
        environ = request.environ
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return False
        path: str = environ["PATH_INFO"]
        for mount, directory in self._maps:
            if path == mount or path.startswith(mount + "/"):
                file = directory.find(path[len(mount) :])
                if file is not None:
                    send_file(request, file)
                    return True
        for directory in self._checks:
            file = directory.find(path)
            if file is not None:
                send_file(request, file)
                return True
        return False


def send_file(request: Request, file: File) -> None:
    """Answer a request with a file, or with the part of it, or the word about it, that the request asks for."""
    try:
        # Links have been followed already; one that has come since is not.
        fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # not ours to read, or gone meanwhile
        respond(request, "403 Forbidden", [("Content-Type", "text/plain")], b"403 Forbidden\n")
        return
    try:
        _send(request, file.path, fd)
    except OSError:
        request.abandon()
    finally:
        os.close(fd)


def _send(request: Request, path: str, fd: int) -> None:
    info = os.fstat(fd)  # of what is sent, should the name mean another file by now
    modified, size = int(info.st_mtime), info.st_size
    etag = f'"{info.st_mtime_ns:x}-{size:x}"'
    status, start, length = select(request.environ, etag, modified, size)
    about = [("Last-Modified", formatdate(modified, usegmt=True)), ("ETag", etag)]
    if status == 304:
        request.write_head("304 Not Modified", about, 0)
        request.finish()
    elif status == 412:
        respond(request, "412 Precondition Failed", [("Content-Type", "text/plain")], b"412 Precondition Failed\n")
    elif status == 416:
        headers = [("Content-Type", "text/plain"), ("Content-Range", f"bytes */{size}")]
        respond(request, "416 Range Not Satisfiable", headers, b"416 Range Not Satisfiable\n")
    else:
        headers = [*about, ("Accept-Ranges", "bytes"), *_kind(path), ("Content-Length", str(length))]
        if status == 206:
            headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{size}"))
        request.write_head("206 Partial Content" if status == 206 else "200 OK", headers, length)
        request.write_file(fd, start, length)
        request.finish()


def _kind(path: str) -> Headers:
    kind, encoding = mimetypes.guess_type(path)
    headers = [("Content-Type", kind or "application/octet-stream")]
    return headers if encoding is None else [*headers, ("Content-Encoding", encoding)]
