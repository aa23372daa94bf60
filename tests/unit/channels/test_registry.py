"""The registry: two maps that never contradict each other."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from uwsgi_ws.channels.registry import Registry

channels = st.sampled_from(["lobby", "room 1", ""])
subscribers = st.sampled_from(["ann", "bob", "eve"])


class Subscriptions(RuleBasedStateMachine):
    """Against a plain dict of pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.registry: Registry[str, int] = Registry()
        self.pairs: dict[tuple[str, str], int] = {}

    @rule(channel=channels, subscriber=subscribers, terms=st.integers(1, 3))
    def add(self, channel: str, subscriber: str, terms: int) -> None:
        is_new = (channel, subscriber) not in self.pairs
        assert self.registry.add(channel, subscriber, terms) is is_new
        self.pairs[channel, subscriber] = terms

    @rule(channel=channels, subscriber=subscribers)
    def remove(self, channel: str, subscriber: str) -> None:
        was_there = (channel, subscriber) in self.pairs
        assert self.registry.remove(channel, subscriber) is was_there
        if was_there:
            del self.pairs[channel, subscriber]

    @invariant()
    def both_maps_say_the_same(self) -> None:
        for channel in ("lobby", "room 1", "", "nobody's"):
            expected = tuple((who, terms) for (name, who), terms in self.pairs.items() if name == channel)
            assert self.registry.subscribers(channel) == expected
            assert self.registry.count(channel) == len(expected)
        for subscriber in ("ann", "bob", "eve", "nobody"):
            assert self.registry.channels(subscriber) == tuple(c for c, name in self.pairs if name == subscriber)

    @invariant()
    def what_is_empty_is_not_kept(self) -> None:
        assert set(self.registry.by_channel) == {channel for channel, _ in self.pairs}
        assert set(self.registry._channels) == {subscriber for _, subscriber in self.pairs}


TestSubscriptions = Subscriptions.TestCase
TestSubscriptions.settings = settings(max_examples=50, stateful_step_count=25)


def test_what_is_handed_out_may_be_kept_while_subscribers_leave() -> None:
    registry: Registry[str, int] = Registry()
    for name in ("ann", "bob"):
        registry.add("lobby", name, 1)
    for name, _ in registry.subscribers("lobby"):
        registry.remove("lobby", name)
    assert registry.subscribers("lobby") == ()
