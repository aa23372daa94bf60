"""When to ping, and when to give a peer up (RFC 6455 5.5.2). It is told the time and tells what to do.

Any byte from the peer is a sign of life, not only a pong: a busy peer is never pinged, and never lost because its
pong waits behind its data. (uWSGI looks at the clock only inside ``recv``, and counts pongs alone.)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["Action", "KeepalivePolicy"]


class Action(Enum):
    """What a connection must do now."""

    WAIT = auto()
    PING = auto()
    FAIL = auto()


@dataclass(frozen=True, slots=True)
class KeepalivePolicy:
    """The two numbers that a worker's connections share, in seconds.

    Args:
        ping_freq: Silence after which the peer is pinged; 0 switches keepalive off.
        pong_tolerance: How long after a ping the peer may stay silent.
    """

    ping_freq: float
    pong_tolerance: float

    def judge(self, heard_at: float, pinged_at: float, now: float) -> tuple[Action, float]:
        """Return what to do now, and when to ask again.

        Args:
            heard_at: When the last byte came from the peer.
            pinged_at: When it was last pinged; anything earlier than ``heard_at`` when it never was.
            now: The present, on the same clock.
        """
        if pinged_at > heard_at:
            deadline = pinged_at + self.pong_tolerance
            if now >= deadline:
                return Action.FAIL, now
            # Not only then: an answer that has come meanwhile makes the next ping due earlier.
            return Action.WAIT, min(deadline, now + self.ping_freq)
        due = heard_at + self.ping_freq
        if now >= due:
            return Action.PING, now + min(self.pong_tolerance, self.ping_freq)
        return Action.WAIT, due
