"""Becoming another user and group: ``--uid``, ``--gid``, ``--add-gid``, and their immediate forms."""

from __future__ import annotations

import os
import pwd

from uwsgi_ws.options import Options
from uwsgi_ws.users import group_id, user_id

__all__ = ["drop", "drop_at_once"]


def drop(options: Options) -> None:
    """Become the user and the groups that the options name, for good.

    Raises:
        OptionError: there is none of that name, or we may not.
    """
    more = [options.checked("add-gid", group_id, name) for name in options.add_gid]
    _become(options, "uid", options.uid, "gid", options.gid, more)


def drop_at_once(options: Options) -> None:
    """Do so before anything else is done, for the options that ask for it; raises as ``drop``."""
    _become(options, "immediate-uid", options.immediate_uid, "immediate-gid", options.immediate_gid, [])


def _become(
    options: Options, uid_option: str, user: str | None, gid_option: str, group: str | None, more: list[int]
) -> None:
    uid = None if user is None else options.checked(uid_option, user_id, user)
    gid = None if group is None else options.checked(gid_option, group_id, group)
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
        raise options.error(gid_option, f"cannot become group {group!r}: {exc.strerror}") from exc
    # A program that has replaced one of root's has them already.
    if missing := [each for each in more if each not in os.getgroups()]:
        try:
            os.setgroups([*os.getgroups(), *missing])
        except OSError as exc:
            raise options.error("add-gid", f"cannot be in these groups: {exc.strerror}") from exc
    if uid is not None:
        try:
            os.setuid(uid)
        except OSError as exc:
            raise options.error(uid_option, f"cannot become user {user!r}: {exc.strerror}") from exc
