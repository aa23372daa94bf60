"""Those that come back to a worker's channels: they wait for what is kept, and become subscribers with it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import gevent
import pytest
from gevent import get_hub, getcurrent

from uwsgi_ws.channels import bus as bus_module
from uwsgi_ws.channels.backend import Backend, OnGap, OnHistory, OnKept, OnMessage
from uwsgi_ws.channels.bus import Bus
from uwsgi_ws.channels.events import Event, Gap, Membership, Published
from uwsgi_ws.channels.history import History, Kept
from uwsgi_ws.channels.overflow import Overflow
from uwsgi_ws.channels.positions import Keep, Position
from uwsgi_ws.channels.subscription import Subscription
from uwsgi_ws.errors import ChannelError
from uwsgi_ws.protocol.websocket.frames import TEXT
from uwsgi_ws.protocol.websocket.prepared import Prepared
from uwsgi_ws.stats import Stats


class Engine(Backend):
    """Keeps what a channel has, and answers when it is told to."""

    echoes = True

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        self.subscribers = 0
        self.reads: list[OnHistory] = []
        self.count = 0

    def start(self, on_message: OnMessage, on_gap: OnGap, on_kept: OnKept) -> None:
        self.bring, self.lose, self.bring_kept = on_message, on_gap, on_kept

    def subscribe(self, channel: str) -> None:
        self.subscribers += 1

    def unsubscribe(self, channel: str) -> None:
        self.subscribers -= 1

    def listen(self, channel: str) -> None:
        pass

    def unlisten(self, channel: str) -> None:
        pass

    def publish(self, channel: str, opcode: int, payload: bytes, excluded: int = 0) -> None:
        self.bring(channel, opcode, payload, excluded)

    def publish_kept(self, channel: str, opcode: int, payload: bytes, excluded: int, keep: Keep) -> None:
        self.kept.append(Kept(channel, Position("e", len(self.kept) + 1), opcode, payload))
        self.bring_kept(self.kept[-1], excluded)

    def read(self, channel: str, on_history: OnHistory, keep: Keep | None) -> None:
        self.count += 1
        self.reads.append(on_history)

    def answer(self) -> None:
        self.reads.pop(0)("a", History(Position("e", len(self.kept)), self.kept))

    def count_elsewhere(self, channel: str) -> int:
        return 0

    def close(self) -> None:
        pass


class WebSocket:
    def __init__(self) -> None:
        self.got: list[str] = []

    def offer(self, prepared: Prepared, overflow: Overflow) -> bool:
        self.got.append(prepared.payload.decode())
        return True

    def close(self, code: int | None, reason: str) -> None:
        self.got.append(f"closed {code}")


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def bus(engine: Engine) -> Bus:
    return Bus(engine, get_hub(), Stats(), max_message_size=10, keep_for={"a": Keep(10)}.get)


def publish(bus: Bus, *texts: str, **how: Any) -> None:
    for text in texts:
        bus.publish("a", TEXT, text.encode(), **how)


def come_back(bus: Bus, subscriber: Any, since: str = "e-1", **terms: Any) -> Any:
    """Begin to; return the greenlet that does."""
    greenlet = gevent.spawn(bus.join, "a", subscriber, since=since, **terms)
    gevent.sleep(0)
    return greenlet


def test_one_gets_what_it_has_missed_and_then_what_comes_whenever_that_is(bus: Bus, engine: Engine) -> None:
    publish(bus, "1", "2")
    websocket = WebSocket()
    back = come_back(bus, websocket)
    publish(bus, "3")
    assert websocket.got == [], "it is no subscriber yet"
    assert bus.count("a") == 1
    engine.answer()
    publish(bus, "4")
    assert websocket.got == ["2", "3", "4"]
    assert back.get(timeout=1) == Membership(True, "e-3")


def test_all_that_wait_share_a_read_and_so_do_those_that_come_soon_after(bus: Bus, engine: Engine) -> None:
    publish(bus, "1", "2")
    first = [WebSocket() for _ in range(5)]
    waiting = [come_back(bus, websocket) for websocket in first]
    engine.answer()
    publish(bus, "3")
    later = [WebSocket() for _ in range(5)]
    waiting += [come_back(bus, websocket, f"e-{n}") for n, websocket in enumerate(later)]
    assert [websocket.got for websocket in first] == [["2", "3"]] * 5
    assert [websocket.got for websocket in later] == [["1", "2", "3"], ["2", "3"], ["3"], [], []]
    assert [each.get(timeout=1).recovered for each in waiting[:9]] == [True] * 9
    assert engine.count == 1


def test_what_the_read_does_not_know_is_asked_for_again_but_not_at_once(bus: Bus, engine: Engine) -> None:
    publish(bus, "1")
    early, late = WebSocket(), WebSocket()
    come_back(bus, early)
    answer = engine.reads.pop(0)
    publish(bus, "2")  # what the client of `late` has got elsewhere
    back = come_back(bus, late, "e-2")
    answer("a", History(Position("e", 1), engine.kept[:1]))
    assert not back.ready()
    assert engine.count == 1
    gevent.sleep(bus_module._PAUSE + 0.1)
    assert engine.count == 2
    engine.answer()
    assert back.get(timeout=1) == Membership(True, "e-2")
    assert late.got == []


def test_after_a_gap_what_was_read_serves_no_more(bus: Bus, engine: Engine) -> None:
    publish(bus, "1")
    come_back(bus, WebSocket())
    engine.answer()
    engine.lose("a")
    come_back(bus, WebSocket())
    assert engine.count == 2


def test_what_nobody_is_subscribed_to_is_read_anew(bus: Bus, engine: Engine) -> None:
    publish(bus, "1")
    first, second = WebSocket(), WebSocket()
    come_back(bus, first)
    engine.answer()
    bus.leave_all(first)
    publish(bus, "2")
    come_back(bus, second)
    engine.answer()
    assert second.got == ["2"]
    assert engine.count == 2


def test_an_engine_that_does_not_answer_is_not_waited_for_for_ever(
    bus: Bus, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "_PATIENCE", 0.05)
    websocket = WebSocket()
    assert bus.join("a", websocket, since="e-1") == Membership(False, None)
    publish(bus, "1")
    assert websocket.got == ["1"]
    engine.answer()
    assert engine.subscribers == 1


def test_an_engine_that_refuses_has_them_join_without(bus: Bus, engine: Engine) -> None:
    back = come_back(bus, WebSocket())
    engine.reads.pop()("a", None)
    assert back.get(timeout=1) == Membership(False, None)
    assert engine.subscribers == 1


def test_one_that_leaves_or_is_killed_meanwhile_is_no_subscriber(bus: Bus, engine: Engine) -> None:
    publish(bus, "1", "2")
    leaves, ends, dies = WebSocket(), WebSocket(), WebSocket()
    waiting = [come_back(bus, websocket) for websocket in (leaves, ends, dies)]
    bus.leave("a", leaves)
    bus.leave_all(ends)
    waiting[2].kill()
    gevent.sleep(0)
    assert engine.subscribers == bus.count("a") == 0
    assert [each.ready() for each in waiting] == [True] * 3
    engine.answer()
    publish(bus, "3")
    assert leaves.got == ends.got == dies.got == []


def test_one_that_has_joined_already_joins_anew(bus: Bus, engine: Engine) -> None:
    publish(bus, "1", "2")
    websocket = WebSocket()
    bus.join("a", websocket)
    come_back(bus, websocket)
    engine.answer()
    publish(bus, "3")
    assert websocket.got == ["2", "3"]
    assert engine.subscribers == bus.count("a") == 1


def test_events_go_as_the_application_encodes_them(bus: Bus, engine: Engine) -> None:
    events: list[Event] = []

    def encode(event: Event) -> str | None:
        events.append(event)
        return f"<{event.message}>" if isinstance(event, Published) else "gap"

    publish(bus, "1", "2")
    plain, first, second = WebSocket(), WebSocket(), WebSocket()
    bus.join("a", plain)
    for websocket in (first, second):
        come_back(bus, websocket, encode=encode, on_gap="close")
    engine.answer()
    publish(bus, "3", exclude=second)
    engine.lose("a")
    engine.bring("a", TEXT, b"not kept", 0)
    assert plain.got == ["3", "not kept"]
    assert first.got == ["<2>", "<3>", "gap", "closed 1012", "<not kept>"]
    assert second.got == ["<2>", "gap", "closed 1012", "<not kept>"]
    assert events == [Published("a", "2", "e-2"), Published("a", "3", "e-3"), Gap("a"), Published("a", "not kept")]
    assert bus.stats.channel_gaps == 3
    bus.join("a", first)
    publish(bus, "4")
    assert first.got[-1] == "4"
    for websocket in (plain, first, second):
        bus.leave_all(websocket)
    assert engine.subscribers == bus.count("a") == 0


def test_a_subscription_that_falls_behind_what_it_has_missed_is_closed(bus: Bus, engine: Engine) -> None:
    publish(bus, *"123456789")
    subscription: Subscription[Any] = Subscription(bus, 500, positions=True)
    back = gevent.spawn(subscription.join, "a", since="e-1")
    gevent.sleep(0)
    engine.answer()
    assert back.get(timeout=1).recovered is True
    assert [subscription.recv(0) for _ in range(3)] == [Published("a", str(n), f"e-{n}") for n in (2, 3, 4)]
    with pytest.raises(ChannelError, match="not taken in time"):
        subscription.recv(0)
    assert engine.subscribers == 0


@pytest.mark.parametrize(("history", "kept"), [(None, True), (3, True), (0, False)])
def test_a_publisher_may_say_what_is_kept(bus: Bus, engine: Engine, history: int | None, kept: bool) -> None:
    publish(bus, "1", history=history)
    assert bool(engine.kept) is kept


@pytest.mark.parametrize("history", [-1, 1_000_001])
def test_no_history_has_so_many_messages(bus: Bus, history: int) -> None:
    with pytest.raises(ValueError, match="a history has 0 to 1000000 messages"):
        publish(bus, "1", history=history)


def test_wrong_terms_are_refused_before_anything_happens(bus: Bus, engine: Engine) -> None:
    with pytest.raises(TypeError, match="a position is a str"):
        bus.join("a", WebSocket(), since=7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unhashable"):
        bus.join("a", WebSocket(), encode=[])  # type: ignore[arg-type]
    assert engine.subscribers == 0


def test_what_a_read_leaves_for_others_holds_nothing_of_the_request_that_asked(
    bus: Bus, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Request:
        pass

    def answer_at_once(channel: str, on_history: OnHistory, keep: Keep | None) -> None:
        on_history(channel, History(Position("e", len(engine.kept)), engine.kept))

    monkeypatch.setattr(engine, "read", answer_at_once)

    request = Request()
    publish(bus, "1", "2")

    def serve() -> None:
        getcurrent().spawn_tree_locals = {"request": held()}  # as each request's greenlet has
        bus.join("a", WebSocket(), since="e-1")

    held = weakref.ref(request)
    greenlet = gevent.spawn(serve)
    greenlet.join()
    gevent.sleep(0)  # the loop has told all that it has ended
    del greenlet, request
    gc.collect()
    assert held() is None
