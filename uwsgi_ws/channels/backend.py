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

__all__ = ["Alone", "Backend", "OnGap", "OnMessage"]


class OnMessage(Protocol):
    """Takes a message; raises nothing, and never switches greenlets."""

    def __call__(self, channel: str, opcode: int, payload: bytes, excluded: int = 0, /) -> None:
        """Called in the hub; ``excluded`` is the ``id`` of a connection that does not get it, 0 for none."""


#: Called in the hub with a channel: messages may be missing between what came before and what will come. As OnMessage.
OnGap = Callable[[str], None]


class Backend(ABC):
    """Delivers at most once, and the messages of one publisher on one channel in order.

    Nothing of it waits, but for ``start`` and ``close``, for a bounded time.

    Attributes:
        echoes: Whether it brings this worker's own messages to this worker's subscribers as well.
    """

    echoes = False

    @abstractmethod
    def start(self, on_message: OnMessage, on_gap: OnGap) -> None:
        """Begin to hand on what others publish on the channels subscribed to, and perhaps on further ones."""

    @abstractmethod
    def subscribe(self, channel: str) -> None:
        """Take note of one subscriber more in this process."""

    @abstractmethod
    def unsubscribe(self, channel: str) -> None:
        """Take note of one subscriber less in this process."""

    @abstractmethod
    def publish(self, channel: str, opcode: int, payload: bytes, excluded: int = 0) -> None:
        """Send a message to the subscribers in other processes; to all, if it echoes.

        Args:
            channel: Any name.
            opcode: TEXT or BINARY.
            payload: The message.
            excluded: What an echo shall tell of who does not get it: the ``id`` of a connection of this process.
        """

    @abstractmethod
    def count_elsewhere(self, channel: str) -> int:
        """Return the number of subscribers in other processes."""

    @abstractmethod
    def close(self) -> None:
        """Send what can be sent at once, and leave."""


class Alone(Backend):
    """The backend of a process without others."""

    def start(self, on_message: OnMessage, on_gap: OnGap) -> None:
        """Do nothing: no message will come."""

    def subscribe(self, channel: str) -> None:
        """Do nothing: no other process has to know."""

    def unsubscribe(self, channel: str) -> None:
        """Do nothing: no other process has to know."""

    def publish(self, channel: str, opcode: int, payload: bytes, excluded: int = 0) -> None:
        """Do nothing: there is no other process."""

    def count_elsewhere(self, channel: str) -> int:
        """Return 0."""
        return 0

    def close(self) -> None:
        """Do nothing: there is nothing to leave."""
