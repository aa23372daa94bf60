"""What a worker's channels carry, each of them: counted only while somebody looks.

Pure.
"""

from __future__ import annotations

__all__ = ["Tally"]

#: Channels that are counted; an application may make up any number of names.
_MOST = 10_000


class Tally:
    """Counts since it was made.

    Attributes:
        counts: By channel: messages, and how many times a slow subscriber did not get one.
    """

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[str, tuple[int, int]] = {}

    def note(self, channel: str, lost: int) -> None:
        """Count a message."""
        if channel not in self.counts and len(self.counts) >= _MOST:
            return
        messages, lost_before = self.counts.get(channel, (0, 0))
        self.counts[channel] = messages + 1, lost_before + lost
