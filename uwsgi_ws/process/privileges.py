"""Who we are, and whose our files are: ``--uid``, ``--gid``, ``--chown-socket``."""

from __future__ import annotations

import grp
import os
import pwd

from uwsgi_ws.options import Options

__all__ = ["drop", "group_id", "user_id"]


def user_id(options: Options, name: str, text: str) -> int:
    """Return a user's number.

    Args:
        options: For errors.
        name: The option that names him.
        text: His name, or his number.

    Raises:
        OptionError: there is no such user.
    """
    if text.isdigit():
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except KeyError:
        raise options.error(name, f"there is no user {text!r}") from None


def group_id(options: Options, name: str, text: str) -> int:
    """Return a group's number; arguments and errors as for ``user_id``."""
    if text.isdigit():
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        raise options.error(name, f"there is no group {text!r}") from None


def drop(options: Options) -> None:
    """Become the user and the group that the options name, for good.

    Raises:
        OptionError: there is none of that name, or we may not.
    """
    uid = None if options.uid is None else user_id(options, "uid", options.uid)
    gid = None if options.gid is None else group_id(options, "gid", options.gid)
    try:
        # The group first, and its further groups: the user may not do it any more.
        if gid is not None:
            os.setgid(gid)
        if uid is not None and os.geteuid() == 0:
            try:
                os.initgroups(pwd.getpwuid(uid).pw_name, os.getgid())
            except KeyError:
                os.setgroups([])
    except OSError as exc:
        raise options.error("gid", f"cannot become group {options.gid!r}: {exc.strerror}") from exc
    if uid is not None:
        try:
            os.setuid(uid)
        except OSError as exc:
            raise options.error("uid", f"cannot become user {options.uid!r}: {exc.strerror}") from exc
