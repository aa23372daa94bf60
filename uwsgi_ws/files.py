"""Opening files of the server's own, such as its log, as root: never one that another user has put in our way.

A user that may write to a folder may put a symbolic link, a hard link or a file where we are about to write.
So as root, each folder of a path is judged before what is in it. In one that only root may write to, everything is as
root wants it. In any other, a link is not followed (but for one of root's own in the midst of the path), and what is
opened must be a file of ours with a single name.

Source: the kernel's fs.protected_symlinks, protected_hardlinks and protected_regular, which not every system switches
on, and which know only of folders like /tmp.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Collection

__all__ = ["open_file"]

_MAX_LINKS = 40  # as many as the kernel follows
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def open_file(path: str, flags: int, mode: int, users: Collection[int] = ()) -> int:
    """Open a file for writing, or make it; return its descriptor.

    A fifo is opened for reading, too, and does not wait: so there need not be a reader yet.

    Args:
        path: Where.
        flags: Such as ``O_WRONLY`` and ``O_APPEND``; ``O_TRUNC`` would come before the checks.
        mode: The permissions of a file that is made, less the umask.
        users: Those whose files are ours, besides root.

    Raises:
        OSError: ``strerror`` says why not.
    """
    flags |= os.O_NOCTTY | os.O_CLOEXEC
    if os.geteuid() != 0:
        try:
            is_fifo = stat.S_ISFIFO(os.stat(path).st_mode)
        except OSError:
            is_fifo = False
        return os.open(path, _for_fifo(flags) if is_fifo else flags | os.O_CREAT, mode)
    folder, name = _enter(path)
    try:
        return _open_in(folder, name, flags, mode, users)
    finally:
        os.close(folder)


def _enter(path: str) -> tuple[int, str]:
    """Return the folder, open, and the name in it that a path leads to."""
    names = deque(path.split("/"))
    folder = os.open("/" if path.startswith("/") else ".", _FOLDER)
    links = 0
    try:
        while names:
            name = names.popleft()
            if name in ("", ".") and names:
                continue
            try:
                info = os.stat(name or ".", dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                if not names:
                    return folder, name
                raise
            if not stat.S_ISLNK(info.st_mode) or _is_of_kernel(info):
                if not names:
                    return folder, name
                folder = _replace(folder, os.open(name, _FOLDER, dir_fd=folder))
                continue
            if not _is_roots(os.fstat(folder)) and (not names or info.st_uid != 0):
                raise _refusal(f"{name!r} is a symbolic link, in a folder that others than root may write to")
            links += 1
            if links > _MAX_LINKS:
                raise OSError(40, "Too many levels of symbolic links")
            target = os.readlink(name, dir_fd=folder)
            if target.startswith("/"):
                folder = _replace(folder, os.open("/", _FOLDER))
            names.extendleft(reversed(target.split("/")))
        raise IsADirectoryError(21, "Is a directory")
    except BaseException:
        os.close(folder)
        raise


def _open_in(folder: int, name: str, flags: int, mode: int, users: Collection[int]) -> int:
    while True:
        try:
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            try:
                return os.open(name, flags | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
            except FileExistsError:
                continue  # another process was faster
        if stat.S_ISFIFO(info.st_mode):
            flags = _for_fifo(flags)
        # Not to wait, whatever it has become since.
        more = os.O_NONBLOCK if _is_of_kernel(info) else os.O_NONBLOCK | os.O_NOFOLLOW
        fd = os.open(name, flags | more, dir_fd=folder)
        try:
            _check(os.fstat(folder), os.fstat(fd), name, users)
            if not flags & os.O_NONBLOCK:
                os.set_blocking(fd, True)
        except BaseException:
            os.close(fd)
            raise
        return fd


def _check(folder: os.stat_result, file: os.stat_result, name: str, users: Collection[int]) -> None:
    if _is_roots(folder):
        return
    where = "in a folder that others than root may write to"
    if file.st_uid not in {0, folder.st_uid, *users}:
        raise _refusal(f"{name!r} belongs to another user (uid {file.st_uid}), {where}")
    if stat.S_ISREG(file.st_mode) and file.st_nlink > 1:
        raise _refusal(f"{name!r} is a hard link to a file that has other names, {where}")


def _is_roots(folder: os.stat_result) -> bool:
    """Whether only root may write to a folder."""
    by_group = folder.st_mode & stat.S_IWGRP and folder.st_gid != 0
    return folder.st_uid == 0 and not by_group and not folder.st_mode & stat.S_IWOTH


def _is_of_kernel(info: os.stat_result) -> bool:
    """Whether it is in /proc: its links lead to what is open already, and their text is no path."""
    return stat.S_ISLNK(info.st_mode) and info.st_dev == os.stat("/proc/self").st_dev


def _for_fifo(flags: int) -> int:
    return flags & ~os.O_ACCMODE | os.O_RDWR | os.O_NONBLOCK


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


def _refusal(why: str) -> PermissionError:
    return PermissionError(1, why)
