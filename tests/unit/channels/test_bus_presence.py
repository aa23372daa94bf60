"""Members on a bus: who becomes one, who hears of them, and what a subscription does that has no room for it."""

from __future__ import annotations

from typing import Any

import pytest
from gevent import get_hub

from uwsgi_ws.channels.alone import Alone
from uwsgi_ws.channels.bus import Bus
from uwsgi_ws.channels.events import Event, Gap, MemberJoined, MemberLeft, Membership
from uwsgi_ws.channels.local_history import LocalHistory
from uwsgi_ws.channels.message_log import LogMemory
from uwsgi_ws.channels.overflow import Overflow
from uwsgi_ws.channels.records import PRESENCE
from uwsgi_ws.channels.redis.wire import decode, encode
from uwsgi_ws.channels.subscription import Subscription
from uwsgi_ws.errors import ChannelError
from uwsgi_ws.protocol.websocket.frames import TEXT
from uwsgi_ws.protocol.websocket.prepared import Prepared
from uwsgi_ws.stats import Stats

ANN = {"name": "Ann"}


class WebSocket:
    def __init__(self) -> None:
        self.offered: list[str] = []

    def offer(self, prepared: Prepared, overflow: Overflow) -> bool:
        self.offered.append(prepared.payload.decode())
        return True

    def close(self, code: int | None, reason: str) -> None:
        raise AssertionError("nothing is missing")


def named(event: Event) -> str | None:
    if isinstance(event, MemberJoined | MemberLeft):
        return f"{type(event).__name__} {event.member['name']}"
    return None


@pytest.fixture
def bus() -> Bus:
    return Bus(Alone(LocalHistory(LogMemory(1 << 20), get_hub())), get_hub(), Stats(), max_message_size=1_000)


def names(bus: Bus, channel: str = "a") -> list[str]:
    return [member["name"] for _, member in bus.members(channel)]


def everything(subscription: Subscription[Any]) -> list[Any]:
    found = []
    while (item := subscription.recv(0)) is not None:
        found.append(item)
    return found


def test_a_member_is_there_until_it_leaves_and_says_what_it_said_last(bus: Bus) -> None:
    ann, bob = WebSocket(), WebSocket()
    bus.join("a", ann, member=ANN)
    bus.join("a", bob, member={"name": "Bob"})
    bus.join("a", bob, "drop")  # other terms alone
    bus.join("a", ann, member={"name": "Anna"})
    assert names(bus) == ["Anna", "Bob"]
    bus.leave("a", bob)
    assert names(bus) == ["Anna"]
    bus.join("b", ann, member=ANN)
    bus.leave_all(ann)
    assert names(bus) == names(bus, "b") == []
    assert bus.count("a") == 0


def test_what_is_no_member_joins_nothing(bus: Bus) -> None:
    websocket = WebSocket()
    with pytest.raises(TypeError, match="a member is a dict, not list"):
        bus.join("a", websocket, member=["Ann"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="4096 allowed"):
        bus.join("a", websocket, member={"text": "x" * 5_000})
    assert bus.count("a") == 0


def test_only_those_hear_of_members_who_say_how_or_ask_for_it(bus: Bus) -> None:
    plain, encoded = WebSocket(), WebSocket()
    bus.join("a", plain)
    bus.join("a", encoded, encode=named)
    with Subscription[Any](bus, 10_000) as messages, Subscription[Any](bus, 10_000, presence=True) as events:
        messages.join("a")
        events.join("a")
        bus.join("a", plain, member=ANN)
        bus.publish("a", TEXT, b"hello")
        bus.leave("a", plain)
        joined, said, left = everything(events)
        assert plain.offered == ["hello"]
        assert encoded.offered == ["MemberJoined Ann", "MemberLeft Ann"]
        assert everything(messages) == ["hello"]
        assert (joined, said, left) == (MemberJoined("a", ANN, left.id), "hello", MemberLeft("a", ANN, joined.id))


def test_a_spectator_has_the_channel_watched_until_it_leaves(bus: Bus) -> None:
    spectator = WebSocket()
    bus.join("a", spectator, encode=named)
    assert bus._presence._roster.is_watched("a")
    bus.leave("a", spectator)
    assert not bus._presence._roster.is_watched("a")


def test_members_cost_a_subscription_room_as_messages_do(bus: Bus) -> None:
    def full(slow: Any) -> Subscription[Any]:
        subscription: Subscription[Any] = Subscription(bus, 600, gaps=True, presence=True)
        subscription.join("a", slow)
        return subscription

    closed, dropping, conflating = full("close"), full("drop"), full("conflate")
    websocket = WebSocket()
    for number in range(5):
        bus.join("a", websocket, member={"name": str(number)})
    assert len(everything(dropping)) == 3
    assert dropping.dropped == 3
    assert [item.member["name"] for item in everything(conflating) if not isinstance(item, Gap)] == ["4"]
    with pytest.raises(ChannelError, match="not taken in time"):
        everything(closed)
    for subscription in (dropping, conflating):
        assert subscription._size == 0
        subscription.close()


def test_who_recovers_is_a_member_only_if_it_is_still_there(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    websocket = WebSocket()
    bus.join("a", websocket, since="oldest", member=ANN)
    assert names(bus) == ["Ann"]
    recover = Bus._recover

    def recover_and_go(self: Bus, channel: str, subscriber: Any, *arguments: Any) -> Membership:
        membership = recover(self, channel, subscriber, *arguments)
        self.leave_all(subscriber)
        return membership

    monkeypatch.setattr(Bus, "_recover", recover_and_go)
    bus.join("a", websocket, since="oldest", member=ANN)
    assert names(bus) == []


def test_its_end_is_that_of_its_members(bus: Bus) -> None:
    websocket = WebSocket()
    bus.join("a", websocket, member=ANN)
    bus.close()
    assert names(bus) == []
    bus.leave_all(websocket)


def test_a_record_looks_in_redis_as_the_documents_say() -> None:
    assert encode(PRESENCE, b"{}") == b"\0wsp{}"
    assert decode(b"\0wsp{}") == (PRESENCE, b"{}", b"")
