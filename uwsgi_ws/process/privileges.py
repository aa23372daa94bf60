"""Becoming another user and group: ``--uid``, ``--gid``."""

from __future__ import annotations

import os
import pwd

from uwsgi_ws.options import Options
from uwsgi_ws.users import group_id, user_id

__all__ = ["drop"]


def drop(options: Options) -> None:
    """Become the user and the group that the options name, for good.

    Raises:
        OptionError: there is none of that name, or we may not.
    """
    uid = None if options.uid is None else options.checked("uid", user_id, options.uid)
    gid = None if options.gid is None else options.checked("gid", group_id, options.gid)
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
