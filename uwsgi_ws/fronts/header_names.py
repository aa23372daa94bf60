"""Says which header fields are dropped for an underscore in their name; once for each name, as clients choose them."""

from __future__ import annotations

import logging
from collections.abc import Iterable

__all__ = ["say_dropped"]

_log = logging.getLogger("uwsgi_ws.http")

#: Names that something is said about in a process's life, and bytes of each.
_MOST, _SIZE = 64, 64
_told: set[bytes] = set()


def say_dropped(names: Iterable[bytes]) -> None:
    """Say that fields of these names, which are tokens, were dropped."""
    for name in names:
        name = name[:_SIZE].lower()
        if name not in _told and len(_told) < _MOST:
            _told.add(name)
            _log.warning(
                "header %s: dropped, as CGI names cannot tell '_' from '-'; not said again (see --header-map)",
                name.decode("ascii"),
            )
