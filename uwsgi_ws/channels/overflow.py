"""What becomes of a message for a subscriber that is too slow to take it."""

from __future__ import annotations

from enum import Enum
from typing import Literal

__all__ = ["GapPolicy", "Overflow", "Slow"]

#: Its values, as applications give them.
Slow = Literal["close", "drop", "conflate"]
#: What becomes of a WebSocket that may have missed messages.
GapPolicy = Literal["close", "ignore"]


class Overflow(Enum):
    """What is given up when a subscriber is too slow for what is broadcast to it."""

    CLOSE = "close"  # the connection, with 1008
    DROP = "drop"  # the new message
    CONFLATE = "conflate"  # those that wait: the new one takes their place
