"""Messages that wait to be read: in order, bounded, and what gives when there are too many."""

from __future__ import annotations

import gevent
import pytest
from gevent import get_hub

from uwsgi_ws.channels.alone import Alone
from uwsgi_ws.channels.bus import Bus
from uwsgi_ws.channels.events import Gap
from uwsgi_ws.channels.local_history import LocalHistory
from uwsgi_ws.channels.message_log import LogMemory
from uwsgi_ws.channels.overflow import Overflow
from uwsgi_ws.channels.subscription import Subscription
from uwsgi_ws.errors import ChannelError, InvalidState
from uwsgi_ws.protocol.websocket.frames import BINARY, TEXT
from uwsgi_ws.protocol.websocket.messages import MESSAGE_OVERHEAD
from uwsgi_ws.stats import Stats

#: Room for two messages of a byte.
ROOM = 2 * (MESSAGE_OVERHEAD + 1)


@pytest.fixture
def bus() -> Bus:
    return Bus(Alone(LocalHistory(LogMemory(1 << 20), get_hub())), get_hub(), Stats(), max_message_size=1_000)


def taken(subscription: Subscription) -> list[str | bytes | None]:
    """All that waits."""
    found = []
    while (message := subscription.recv(0)) is not None:
        found.append(message)
    return found


def test_messages_come_in_order_each_of_its_kind(bus: Bus) -> None:
    with Subscription(bus, 1_000) as subscription:
        subscription.join("a")
        bus.publish("a", TEXT, "é".encode())
        bus.publish("a", BINARY, b"\xff")
        assert subscription.recv() == "é"
        assert subscription.recv_message() == (BINARY, b"\xff")
        assert subscription.recv(0) is None


def test_a_wait_ends_with_a_message_or_with_its_time(bus: Bus) -> None:
    subscription = Subscription(bus, 1_000)
    subscription.join("a")
    gevent.spawn(bus.publish, "a", TEXT, b"x")
    with gevent.Timeout(5):
        assert subscription.recv(5) == "x"
        assert subscription.recv(0.001) is None


def test_what_is_too_much_is_dropped_and_counted(bus: Bus) -> None:
    subscription = Subscription(bus, ROOM)
    assert [subscription.offer((TEXT, b"%d" % number), Overflow.DROP) for number in range(3)] == [True, True, False]
    assert (subscription.dropped, bus.stats.channel_drops) == (1, 1)
    assert taken(subscription) == ["0", "1"]
    assert subscription.offer((TEXT, b"3"), Overflow.DROP), "what was taken leaves room"


def test_or_takes_the_place_of_what_waits(bus: Bus) -> None:
    subscription = Subscription(bus, ROOM)
    assert all(subscription.offer((TEXT, b"%d" % number), Overflow.CONFLATE) for number in range(3))
    assert (subscription.dropped, bus.stats.channel_drops) == (2, 2)
    assert not subscription.offer((TEXT, b"x" * ROOM), Overflow.CONFLATE), "there is no room for it at all"
    assert taken(subscription) == ["2"]


def test_or_ends_the_subscription_once_what_waits_has_been_taken(bus: Bus) -> None:
    subscription = Subscription(bus, ROOM)
    subscription.join("a")
    for number in range(3):
        bus.publish("a", TEXT, b"%d" % number)
    assert bus.count("a") == 0
    assert [subscription.recv(), subscription.recv()] == ["0", "1"]
    with pytest.raises(ChannelError, match="not taken in time"):
        subscription.recv()
    with pytest.raises(InvalidState, match="not taken in time"):
        subscription.join("b")


def test_what_is_dropped_leaves_a_gap_in_its_place_once(bus: Bus) -> None:
    with Subscription[str | bytes | Gap](bus, ROOM, gaps=True) as subscription:
        subscription.join("a", "drop")
        for number in range(5):
            bus.publish("a", TEXT, b"%d" % number)
        assert [subscription.recv(0) for _ in range(4)] == ["0", "1", Gap("a"), None]
        bus.publish("a", TEXT, b"5")
        assert subscription.recv(0) == "5"


def test_gaps_alone_take_no_more_room_than_messages(bus: Bus) -> None:
    with Subscription[str | bytes | Gap](bus, ROOM, gaps=True) as subscription:
        for _ in range(100):
            for channel in "ab":
                subscription.tell_gap(channel)
        waiting = []
        while (item := subscription.recv(0)) is not None:
            waiting.append(item)
        assert waiting == [Gap("a"), Gap("b")]
        assert all(subscription.offer((TEXT, b"x"), Overflow.DROP) for _ in range(2)), "the room is free again"


def test_a_gap_that_waits_outlives_the_messages_that_give_way(bus: Bus) -> None:
    with Subscription[str | bytes | Gap](bus, ROOM, gaps=True) as subscription:
        subscription.offer((TEXT, b"1"), Overflow.CONFLATE)
        subscription.tell_gap("a")
        subscription.offer((TEXT, b"2"), Overflow.CONFLATE)
        assert [subscription.recv(0) for _ in range(3)] == [Gap("a"), "2", None]
        assert subscription.dropped == 1


def test_its_end_wakes_who_waits(bus: Bus) -> None:
    subscription = Subscription(bus, 1_000)
    gevent.spawn(subscription.close)
    with gevent.Timeout(5), pytest.raises(ChannelError, match="the subscription is closed"):
        next(iter(subscription))


def test_a_channel_that_is_left_keeps_what_waits(bus: Bus) -> None:
    subscription = Subscription(bus, 1_000)
    subscription.join("a")
    bus.publish("a", TEXT, b"x")
    subscription.leave("a")
    bus.publish("a", TEXT, b"y")
    assert taken(subscription) == ["x"]
