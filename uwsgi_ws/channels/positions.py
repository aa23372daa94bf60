"""Positions in what is kept of a channel, and how much is kept.

A *position* is an epoch and an id. Ids count a channel's messages without a hole. An *epoch* is the random name of one
life of a channel's history: one that begins anew, or may have lost its end, has another epoch. So a position proves
itself: where its entry is still there, and the epoch has not changed since, everything that came after it is there.

Pure: values only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

__all__ = ["LATEST", "LONGEST", "MOST_KEPT", "OLDEST", "Keep", "Position", "keeper", "parse_position"]

#: What stands for a position: before the oldest message that is kept, or after the newest.
OLDEST, LATEST = "oldest", "latest"
#: Seconds that messages are kept when nothing else is said: a channel that nobody uses any more leaves nothing.
LONGEST = 86_400
#: Messages that a channel may keep.
MOST_KEPT = 1_000_000


class Position(NamedTuple):
    """Where a message is in a channel's history.

    Attributes:
        epoch: Of ``[0-9a-f]``.
        id: From 1, without a hole; 0 is before the first.
    """

    epoch: str
    id: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.id}"


def parse_position(text: str) -> Position | None:
    """Return what a text means; None when it is no position: it comes from a client, which may send anything."""
    epoch, hyphen, number = text.partition("-")
    if not hyphen or not epoch.isalnum() or not number.isdecimal() or not text.isascii() or len(text) > 64:
        return None
    return Position(epoch, int(number))


class Keep(NamedTuple):
    """How much of a channel is kept.

    Attributes:
        messages: The last so many.
        seconds: None of them for longer.
    """

    messages: int
    seconds: int = LONGEST


def keeper(rules: Iterable[tuple[str, int, int]]) -> Callable[[str], Keep | None]:
    """Return a function that says what is kept of a channel: what the first rule says whose pattern fits.

    Args:
        rules: Pattern as in a shell, messages, seconds.
    """
    rules = tuple(rules)

    @lru_cache(maxsize=65_536)
    def keep_for(channel: str) -> Keep | None:
        for pattern, messages, seconds in rules:
            if fnmatchcase(channel, pattern):
                return Keep(messages, seconds) if messages else None
        return None

    return keep_for
