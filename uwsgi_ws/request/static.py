"""Static files, served before an application is called (``--static-map``, ``--check-static``, ``--static-index``)."""

from __future__ import annotations

import errno
import mimetypes
import os
import re
import stat
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from gevent import monkey

from uwsgi_ws.protocol.http.conditional import select
from uwsgi_ws.protocol.http.dates import http_date
from uwsgi_ws.request.answers import respond_status, status_line
from uwsgi_ws.request.base import Headers, Request
from uwsgi_ws.request.steps import Handler

__all__ = ["Compressed", "Directory", "File", "StaticFiles", "send_file"]

#: What open(2) fails with when the file is not to blame.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
#: gevent's own asks for the file's status first, and does not close it where that fails, as on a network's disk.
_close: Callable[[int], None] = monkey.get_original("os", "close")


class File(NamedTuple):
    """A regular file, by its real path."""

    path: str
    info: os.stat_result


class Directory:
    """A directory that no path leads out of, neither by ``..`` nor by a symbolic link; or a single file.

    Args:
        path: Where it is.
        indexes: Names of the files that stand for a directory.
        safe: Directories that links may lead to nevertheless.
    """

    def __init__(self, path: str, indexes: tuple[str, ...] = (), safe: tuple[str, ...] = ()) -> None:
        self._path = os.path.realpath(path)
        self._prefixes = tuple(os.path.realpath(each).rstrip("/") + "/" for each in (path, *safe))
        self._indexes = indexes

    def find(self, path: str) -> File | None:
        """Return the file that a request's path names below this directory.

        Args:
            path: As environs have it: bytes decoded as latin-1 (PEP 3333).
        """
        if "\0" in path:
            return None
        name = os.fsdecode(path.lstrip("/").encode("latin-1"))
        found = _resolve(self._prefixes[0] + name if path else self._path)
        if found is None or not self._holds(found.path):
            return None
        if stat.S_ISDIR(found.info.st_mode):
            for index in self._indexes:
                of_index = _resolve(os.path.join(found.path, index))
                if of_index is not None and self._holds(of_index.path) and stat.S_ISREG(of_index.info.st_mode):
                    return of_index
        return found if stat.S_ISREG(found.info.st_mode) else None

    def _holds(self, path: str) -> bool:
        return path == self._path or path.startswith(self._prefixes)


def _resolve(path: str) -> File | None:
    """Return what is at a path, with its real path, links followed; None if nothing can be found there.

    The kernel resolves it, in one call and up to PATH_MAX: the client chooses the length of the path, and
    ``os.path.realpath`` would ask for each part of it, even where nothing exists. A slash at the end is for directories
    only.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as exc:
        return _resolve_slowly(path) if exc.errno in (errno.EMFILE, errno.ENFILE) else None
    try:
        info = os.fstat(fd)
        return File(os.readlink(f"/proc/self/fd/{fd}"), info) if info.st_nlink else None
    except OSError:
        return _resolve_slowly(path)  # no /proc here
    finally:
        _close(fd)


def _resolve_slowly(path: str) -> File | None:
    try:
        info = os.stat(path)  # first: for a path that does not exist this is the only call
        return File(os.path.realpath(path, strict=True), info)
    except OSError:
        return None


class StaticFiles:
    """Directories laid over the application's paths.

    Args:
        maps: Pairs of mount point and directory; the file's path is what follows the mount point.
        checks: Directories in which the whole path is looked up.
        indexes: File names to look for in a directory.
        whole_maps: As maps, but the file's path is the request's whole path.
        safe: Directories that links may lead to.
        skipped: Endings of paths that are the application's.
        expiries: How long clients may keep files; None to not say.
        compressed: Which files may have others beside them that are sent in their place; None for no file.
    """

    def __init__(
        self,
        maps: tuple[tuple[str, str], ...],
        checks: tuple[str, ...],
        indexes: tuple[str, ...],
        *,
        whole_maps: tuple[tuple[str, str], ...] = (),
        safe: tuple[str, ...] = (),
        skipped: tuple[str, ...] = (),
        expiries: Expiries | None = None,
        compressed: Compressed | None = None,
    ) -> None:
        self._maps = [(mount.rstrip("/"), Directory(directory, indexes, safe), False) for mount, directory in maps]
        self._maps += [(mount.rstrip("/"), Directory(folder, indexes, safe), True) for mount, folder in whole_maps]
        self._checks = [Directory(directory, indexes, safe) for directory in checks]
        self._skipped = skipped
        self._expiries = expiries
        self._compressed = compressed

    def answer(self, request: Request, otherwise: Handler) -> None:
        """Answer the request if it names a file here; a step."""
        file = self._find(request.environ)
        if file is None:
            otherwise(request)
            return
        more = () if self._expiries is None else self._expiries.headers(request, file)
        if self._compressed is None or not self._compressed.has(file):
            send_file(request, file, more)
        else:
            encoding, variant = self._compressed.choose(request, file)
            send_file(request, variant, (*more, ("Vary", "Accept-Encoding")), encoding)

    def _find(self, environ: dict[str, Any]) -> File | None:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return None
        path: str = environ["PATH_INFO"]
        if self._skipped and path.endswith(self._skipped):
            return None
        for mount, directory, is_whole in self._maps:
            if path == mount or path.startswith(mount + "/"):
                file = directory.find(path if is_whole else path[len(mount) :])
                if file is not None:
                    return file
        for directory in self._checks:
            file = directory.find(path)
            if file is not None:
                return file
        return None


class Rule(NamedTuple):
    """How long some files may be kept.

    Attributes:
        what: What the pattern is searched in: the file's path (empty), ``_uri``, ``_path_info`` or ``_type``.
        pattern: For the files that the rule is for.
        seconds: How long they may be kept.
        since_change: Counted from the file's last change, not from now.
    """

    what: str
    pattern: re.Pattern[str]
    seconds: int
    since_change: bool


class Expiries:
    """Tells clients how long they may keep a file without asking again.

    Args:
        rules: The first that matches counts.
    """

    def __init__(self, rules: list[Rule]) -> None:
        self._rules = rules

    def headers(self, request: Request, file: File) -> Headers:
        """Return the headers that say how long a file may be kept."""
        for rule in self._rules:
            match rule.what:
                case "":
                    subject = file.path
                case "_uri":
                    subject = str(request.environ.get("REQUEST_URI", ""))
                case "_path_info":
                    subject = str(request.environ.get("PATH_INFO", ""))
                case _:
                    subject = mimetypes.guess_type(file.path)[0] or ""
            if rule.pattern.search(subject):
                begin = file.info.st_mtime if rule.since_change else time.time()
                return (("Expires", http_date(int(begin) + rule.seconds)),)
        return ()


#: Encodings, the best first, and what their files' names end with.
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))


class Compressed:
    """Finds what a client may get in place of a file: ``FILE.br`` or ``FILE.gz`` beside it.

    Args:
        everything: Whether any file may have one.
        prefixes: What paths of files begin with that may.
        suffixes: What they end with.
        patterns: What they match.

    Source: uWSGI's core/static.c (``uwsgi_static_want_gzip``).
    """

    def __init__(
        self,
        *,
        everything: bool = False,
        prefixes: tuple[str, ...] = (),
        suffixes: tuple[str, ...] = (),
        patterns: tuple[str, ...] = (),
    ) -> None:
        self._everything = everything
        self._prefixes = (*prefixes, *map(os.path.realpath, prefixes))
        self._suffixes = suffixes
        self._patterns = [re.compile(pattern) for pattern in patterns]

    def has(self, file: File) -> bool:
        """Return whether what is sent for a file depends on what the client understands."""
        if mimetypes.guess_type(file.path)[1] is not None:
            return False  # it is compressed itself
        return (
            self._everything
            or file.path.startswith(self._prefixes)
            or file.path.endswith(self._suffixes)
            or any(pattern.search(file.path) for pattern in self._patterns)
        )

    def choose(self, request: Request, file: File) -> tuple[str, File]:
        """Return an encoding, empty for none, and the file that is sent."""
        accepted = str(request.environ.get("HTTP_ACCEPT_ENCODING", ""))
        for encoding, ending in _ENCODINGS:
            if _accepts(accepted, encoding):
                try:
                    # A link is none: it might lead out of the directory.
                    info = os.stat(file.path + ending, follow_symlinks=False)
                except OSError:
                    continue
                if stat.S_ISREG(info.st_mode):
                    return encoding, File(file.path + ending, info)
        return "", file


def _accepts(accepted: str, encoding: str) -> bool:
    """Return whether a client takes an encoding, by its name: ``*`` alone is too vague for one that few know.

    Source: RFC 9110 12.5.3.
    """
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == encoding:
            return not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight)
    return False


def send_file(request: Request, file: File, more: Headers = (), encoding: str = "") -> None:
    """Answer a request with a file, with a part of it, or with 304, 412 or 416, as the request's conditions ask.

    Args:
        request: The request.
        file: The file found for it.
        more: Headers beside the usual ones, also of a 304.
        encoding: How the file holds what is meant, whose own name is without the ending; empty for as it is.
    """
    try:
        # Links have been followed already; one that was made since is not.
        fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as exc:  # not readable, or gone meanwhile; or it is the worker that lacks something
        respond_status(request, 503 if exc.errno in _SHORTAGES else 403)
        return
    try:
        _send(request, file.path, fd, more, encoding)
    except OSError:
        request.abandon()
    finally:
        _close(fd)


def _send(request: Request, path: str, fd: int, more: Headers, encoding: str) -> None:
    info = os.fstat(fd)  # of the open file, as the name may mean another one by now
    modified, size = int(info.st_mtime), info.st_size
    # Each form of what is meant has a tag of its own (RFC 9110 8.8.3).
    etag = f'"{info.st_mtime_ns:x}-{size:x}{"-" if encoding else ""}{encoding}"'
    status, start, length = select(request.environ, etag, modified, size)
    about = [("Last-Modified", http_date(modified)), ("ETag", etag), *more]
    if status == 304:
        request.write_head(status_line(304), about, 0)
        request.finish()
    elif status == 412:
        respond_status(request, 412)
    elif status == 416:
        respond_status(request, 416, [("Content-Range", f"bytes */{size}")])
    else:
        headers = [*about, ("Accept-Ranges", "bytes"), *_kind(path, encoding), ("Content-Length", str(length))]
        if status == 206:
            headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{size}"))
        request.write_head(status_line(status), headers, length)
        request.write_file(fd, start, length)
        request.finish()


def _kind(path: str, encoding: str) -> Headers:
    kind, own_encoding = mimetypes.guess_type(os.path.splitext(path)[0] if encoding else path)
    headers = [("Content-Type", kind or "application/octet-stream")]
    encoding = encoding or own_encoding or ""
    return [*headers, ("Content-Encoding", encoding)] if encoding else headers
