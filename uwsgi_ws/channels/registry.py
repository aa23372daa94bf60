"""The subscribers of each channel in this process: two maps, always changed together.

Pure: it holds subscribers and never calls them.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Registry"]

Subscriber = TypeVar("Subscriber", bound=Hashable)
Terms = TypeVar("Terms")


class Registry(Generic[Subscriber, Terms]):
    """A subscriber is in the map of a channel exactly when the channel is in the map of the subscriber.

    Each subscription has terms, which mean nothing here. Neither map keeps what is empty, so channels that nobody
    subscribes to leave nothing behind.

    Attributes:
        by_channel: The first map, to look whether it is empty.
    """

    __slots__ = ("_channels", "by_channel")

    def __init__(self) -> None:
        # Dicts keep an order: the subscriber that joined first is served first.
        self.by_channel: dict[str, dict[Subscriber, Terms]] = {}
        self._channels: dict[Subscriber, dict[str, None]] = {}

    def add(self, channel: str, subscriber: Subscriber, terms: Terms) -> bool:
        """Subscribe; return False when it was subscribed already, and now is on these terms."""
        channels = self._channels.setdefault(subscriber, {})
        is_new = channel not in channels
        channels[channel] = None
        self.by_channel.setdefault(channel, {})[subscriber] = terms
        return is_new

    def remove(self, channel: str, subscriber: Subscriber) -> bool:
        """Unsubscribe; return False when it was not subscribed."""
        channels = self._channels.get(subscriber, {})
        if channel not in channels:
            return False
        del channels[channel]
        if not channels:
            del self._channels[subscriber]
        subscribers = self.by_channel[channel]
        del subscribers[subscriber]
        if not subscribers:
            del self.by_channel[channel]
        return True

    def subscribers(self, channel: str) -> tuple[tuple[Subscriber, Terms], ...]:
        """Return a channel's subscribers and their terms, in the order in which they came."""
        subscribers = self.by_channel.get(channel)
        return tuple(subscribers.items()) if subscribers else ()

    def terms(self, channel: str, subscriber: Subscriber) -> Terms | None:
        """Return on what terms a subscriber is subscribed; None if it is not."""
        return self.by_channel.get(channel, {}).get(subscriber)

    def channels(self, subscriber: Subscriber) -> tuple[str, ...]:
        """Return what a subscriber is subscribed to now."""
        return tuple(self._channels.get(subscriber, ()))

    def count(self, channel: str) -> int:
        """Return how many are subscribed to a channel."""
        return len(self.by_channel.get(channel, ()))
