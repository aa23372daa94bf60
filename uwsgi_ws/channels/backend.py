"""What carries messages to the subscribers in other processes; one backend a worker.

What is published in a worker reaches its own subscribers without the backend's help, so a backend never brings back
what it was given. One takes the place of another, never on top of it, so no message comes twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

__all__ = ["Alone", "Backend", "OnMessage"]

#: Called in the hub with channel, opcode and payload; raises nothing, and never switches greenlets.
OnMessage = Callable[[str, int, bytes], None]


class Backend(ABC):
    """Delivers at most once, and the messages of one publisher on one channel in order. Nothing of it waits."""

    @abstractmethod
    def start(self, on_message: OnMessage) -> None:
        """Begin to hand on what others publish on the channels subscribed to, and perhaps on further ones."""

    @abstractmethod
    def subscribe(self, channel: str) -> None:
        """Take note of one subscriber more in this process."""

    @abstractmethod
    def unsubscribe(self, channel: str) -> None:
        """Take note of one subscriber less in this process."""

    @abstractmethod
    def publish(self, channel: str, opcode: int, payload: bytes) -> None:
        """Send a message to the subscribers in other processes."""

    @abstractmethod
    def count_elsewhere(self, channel: str) -> int:
        """Return the number of subscribers in other processes."""

    @abstractmethod
    def close(self) -> None:
        """Send what can be sent at once, and leave."""


class Alone(Backend):
    """The backend of a process without others."""

    def start(self, on_message: OnMessage) -> None:
        """Do nothing: no message will come."""

    def subscribe(self, channel: str) -> None:
        """Do nothing: no other process has to know."""

    def unsubscribe(self, channel: str) -> None:
        """Do nothing: no other process has to know."""

    def publish(self, channel: str, opcode: int, payload: bytes) -> None:
        """Do nothing: there is no other process."""

    def count_elsewhere(self, channel: str) -> int:
        """Return 0."""
        return 0

    def close(self) -> None:
        """Do nothing: there is nothing to leave."""
