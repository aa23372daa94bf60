"""Users and groups of the system by their names."""

from __future__ import annotations

import grp
import pwd

__all__ = ["group_id", "owners", "user_id"]


def user_id(name: str) -> int:
    """Return the number of a user, who may be given by his number too.

    Raises:
        ValueError: there is no such user.
    """
    if name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ValueError(f"there is no user {name!r}") from None


def owners(name: str | None) -> tuple[int, ...]:
    """Return the number of a user whose files are the server's too: none without one, or if there is no such user."""
    try:
        return () if name is None else (user_id(name),)
    except ValueError:
        return ()  # the caller, which is about to become that user, says so


def group_id(name: str) -> int:
    """Return the number of a group, which may be given by its number too.

    Raises:
        ValueError: there is no such group.
    """
    if name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ValueError(f"there is no group {name!r}") from None
