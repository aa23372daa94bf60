"""What carries messages to the subscribers in other processes; one backend a worker.

A backend that does not *echo* never brings back what it was given: what is published in a worker reaches its own
subscribers without the backend's help, at once. One that echoes brings back all that is subscribed to here, and local
subscribers wait for that: so all subscribers everywhere get a channel's messages in one and the same order. Either way
no message comes twice: one backend takes the place of another, never on top of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from uwsgi_ws.channels.history import History, Kept
from uwsgi_ws.channels.positions import Keep

__all__ = ["Backend", "OnGap", "OnHistory", "OnKept", "OnMessage"]


class OnMessage(Protocol):
    """Takes a message; raises nothing, and never switches greenlets."""

    def __call__(self, channel: str, opcode: int, payload: bytes, excluded: int = 0, /) -> None:
        """Called in the hub; ``excluded`` is the ``id`` of a connection that does not get it, 0 for none."""


#: Called in the hub with a channel: messages may be missing between what came before and what will come. As OnMessage.
OnGap = Callable[[str], None]
#: Takes a message that is kept, and what ``OnMessage`` takes as ``excluded``. As OnMessage.
OnKept = Callable[[Kept, int], None]
#: Takes what is kept of a channel; None where that cannot be known. What is kept after it comes after it. As OnMessage.
OnHistory = Callable[[str, History | None], None]


class Backend(ABC):
    """Delivers at most once, and the messages of one publisher on one channel in order.

    Nothing of it waits, but for ``start`` and ``close``, for a bounded time.

    Attributes:
        echoes: Whether it brings this worker's own messages to this worker's subscribers as well.
    """

    echoes = False

    @abstractmethod
    def start(self, on_message: OnMessage, on_gap: OnGap, on_kept: OnKept) -> None:
        """Begin to hand on what others publish on the channels subscribed to, and perhaps on further ones."""

    @abstractmethod
    def subscribe(self, channel: str) -> None:
        """Take note of one subscriber more in this process."""

    @abstractmethod
    def unsubscribe(self, channel: str) -> None:
        """Take note of one subscriber less in this process."""

    @abstractmethod
    def listen(self, channel: str) -> None:
        """Have a channel's messages come, subscribers or not; not for a channel that is listened to already."""

    @abstractmethod
    def unlisten(self, channel: str) -> None:
        """Undo ``listen``."""

    @abstractmethod
    def publish(self, channel: str, opcode: int, payload: bytes, excluded: int = 0) -> None:
        """Send a message to the subscribers in other processes; to all, if it echoes.

        Args:
            channel: Any name.
            opcode: TEXT or BINARY, ``UNCOMPRESSED`` added or not; or ``PRESENCE``, for a record that is no message.
            payload: The message.
            excluded: What an echo shall tell of who does not get it: the ``id`` of a connection of this process.
        """

    @abstractmethod
    def publish_kept(self, channel: str, opcode: int, payload: bytes, excluded: int, keep: Keep) -> None:
        """Send a message to all subscribers, this worker's too, and keep it.

        Arguments as in ``publish``, and how much of the channel is kept.
        """

    @abstractmethod
    def read(self, channel: str, on_history: OnHistory, keep: Keep | None) -> None:
        """Have what is kept of a channel told, soon or at once.

        Args:
            channel: One that has a subscriber here.
            on_history: Is called once.
            keep: How much of it is kept, if that is known. Then it has a position even before its first message.
        """

    @abstractmethod
    def count_elsewhere(self, channel: str) -> int:
        """Return the number of subscribers in other processes."""

    @abstractmethod
    def close(self) -> None:
        """Send what can be sent at once, and leave."""
