"""What happens on a channel, as applications see it: messages, what may be missing of them, and who comes and goes.

Pure: values only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Encode", "Event", "Gap", "MemberJoined", "MemberLeft", "Membership", "Published"]


@dataclass(frozen=True, slots=True)
class Published:
    """A message, with what is known of it.

    Attributes:
        channel: Where it was published.
        message: str if it was published as text, else bytes.
        position: Where it is in the channel's history: printable ASCII without blanks, which means nothing to its
            holder; None where the channel keeps no history. It is what ``since`` takes.
    """

    channel: str
    message: str | bytes
    position: str | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Comes in the place of messages that may be missing: the connection to Redis was lost, or too much waited.

    Attributes:
        channel: Where.
    """

    channel: str


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """Somebody has joined a channel as a member.

    Attributes:
        channel: Which one.
        member: What they said of themselves; not to be changed.
        id: Which of the channel's members it is.
    """

    channel: str
    member: dict[str, Any] = field(hash=False)
    id: str


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """A member has left a channel, or its worker has died.

    Attributes:
        channel: Which one.
        member: What they said of themselves; not to be changed.
        id: The same as in ``MemberJoined``.
    """

    channel: str
    member: dict[str, Any] = field(hash=False)
    id: str


@dataclass(frozen=True, slots=True)
class Membership:
    """What came of joining a channel.

    Attributes:
        recovered: Whether everything has been given that came after the position asked for; None if none was.
        position: Where the channel was then: live messages come after it. None if it is not known.
    """

    recovered: bool | None = None
    position: str | None = None


#: What may happen on a channel.
Event = Published | MemberJoined | MemberLeft | Gap
#: Says how an event goes to a client: str as text, bytes as binary, None not at all.
Encode = Callable[[Event], str | bytes | None]
