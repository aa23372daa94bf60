"""One worker's channels: who gets what, what the backend is told, and what is counted."""

from __future__ import annotations

import threading

import gevent
import pytest
from gevent import get_hub

from uwsgi_ws.channels.alone import Alone
from uwsgi_ws.channels.backend import OnGap, OnKept, OnMessage
from uwsgi_ws.channels.bus import Bus, current_bus, use_bus
from uwsgi_ws.channels.events import Gap
from uwsgi_ws.channels.overflow import Overflow
from uwsgi_ws.channels.records import UNCOMPRESSED
from uwsgi_ws.channels.subscription import Subscription
from uwsgi_ws.errors import ChannelError, InvalidState
from uwsgi_ws.protocol.websocket.frames import BINARY, TEXT
from uwsgi_ws.protocol.websocket.prepared import Prepared
from uwsgi_ws.stats import Stats


class Backend(Alone):
    """Keeps what it is told; ``bring`` is what another process publishes."""

    bring: OnMessage
    lose: OnGap

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def start(self, on_message: OnMessage, on_gap: OnGap, on_kept: OnKept) -> None:
        self.bring, self.lose = on_message, on_gap

    def subscribe(self, channel: str) -> None:
        self.told.append(("subscribe", channel))

    def unsubscribe(self, channel: str) -> None:
        self.told.append(("unsubscribe", channel))

    def publish(self, channel: str, opcode: int, payload: bytes, excluded: int = 0) -> None:
        self.told.append(("publish", channel, opcode, payload))

    def count_elsewhere(self, channel: str) -> int:
        return 10

    def close(self) -> None:
        self.told.append(("close",))


class WebSocket:
    """Takes what it is offered, or does not."""

    def __init__(self, takes: bool = True) -> None:
        self.takes = takes
        self.offered: list[tuple[Prepared, Overflow]] = []
        self.closed_with: list[tuple[int | None, str]] = []

    def close(self, code: int | None, reason: str) -> None:
        self.closed_with.append((code, reason))

    def offer(self, prepared: Prepared, overflow: Overflow) -> bool:
        self.offered.append((prepared, overflow))
        return self.takes


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def bus(backend: Backend) -> Bus:
    return Bus(backend, get_hub(), Stats(), max_message_size=10)


def test_a_message_reaches_all_who_have_joined_and_is_encoded_once(bus: Bus, backend: Backend) -> None:
    first, second, other = WebSocket(), WebSocket(), WebSocket()
    bus.join("a", first)
    bus.join("a", second, "drop")
    bus.join("b", other)
    bus.publish("a", TEXT, b"hello")
    [(one, overflow_of_one)], [(two, overflow_of_two)] = first.offered, second.offered
    assert one is two
    assert (one.opcode, one.payload) == (TEXT, b"hello")
    assert (overflow_of_one, overflow_of_two) == (Overflow.CLOSE, Overflow.DROP)
    assert other.offered == []
    assert backend.told[-1] == ("publish", "a", TEXT, b"hello")


def test_what_another_process_publishes_is_delivered_and_not_sent_back(bus: Bus, backend: Backend) -> None:
    websocket = WebSocket()
    bus.join("a", websocket)
    backend.bring("a", BINARY, b"from elsewhere")
    assert [prepared.payload for prepared, _ in websocket.offered] == [b"from elsewhere"]
    assert backend.told == [("subscribe", "a")]


def test_what_is_not_to_be_compressed_is_so_here_and_elsewhere(bus: Bus, backend: Backend) -> None:
    websocket, reader = WebSocket(), Subscription(bus, 1_000)
    bus.join("a", websocket)
    reader.join("a")
    bus.publish("a", TEXT, b"secret", compress=False)
    bus.publish("a", BINARY, b"open")
    _, opcode, *_ = next(each[1:] for each in backend.told if each[0] == "publish")
    assert opcode == TEXT + UNCOMPRESSED
    backend.bring("a", TEXT + UNCOMPRESSED, b"from afar")
    assert [(each.opcode, each.may_compress) for each, _ in websocket.offered] == [
        (TEXT, False),
        (BINARY, True),
        (TEXT, False),
    ]
    assert [reader.recv(0) for _ in range(3)] == ["secret", b"open", "from afar"]


def test_one_may_be_left_out(bus: Bus) -> None:
    sender, other = WebSocket(), WebSocket()
    bus.join("a", sender)
    bus.join("a", other)
    bus.publish("a", TEXT, b"x", exclude=sender)
    assert not sender.offered
    assert other.offered


class Echo(Backend):
    """Brings back what it is given, when it is told to."""

    echoes = True

    def publish(self, channel: str, opcode: int, payload: bytes, excluded: int = 0) -> None:
        self.told.append((channel, opcode, payload, excluded))

    def come_back(self) -> None:
        for channel, opcode, payload, excluded in self.told:
            self.bring(channel, opcode, payload, excluded)  # type: ignore[arg-type]


def test_subscribers_wait_for_a_backend_that_echoes_and_one_may_be_left_out() -> None:
    backend = Echo()
    bus = Bus(backend, get_hub(), Stats(), max_message_size=10)
    sender, other = WebSocket(), WebSocket()
    backend.subscribe = lambda channel: None  # type: ignore[method-assign]
    bus.join("a", sender)
    bus.join("a", other)
    bus.publish("a", TEXT, b"x", exclude=sender)
    assert not other.offered
    backend.come_back()
    assert [prepared.payload for prepared, _ in other.offered] == [b"x"]
    assert not sender.offered
    assert bus.stats.channel_messages == bus.stats.channel_deliveries == 1


def test_a_gap_is_told_to_all_subscribers_of_its_channel_and_counted(bus: Bus, backend: Backend) -> None:
    strict, patient, elsewhere = WebSocket(), WebSocket(), WebSocket()
    bus.join("a", strict, on_gap="close")
    bus.join("a", patient)
    bus.join("b", elsewhere, on_gap="close")
    with Subscription[str | bytes | Gap](bus, 1_000, gaps=True) as told, Subscription(bus, 1_000) as untold:
        told.join("a")
        untold.join("a")
        backend.lose("a")
        bus.publish("a", TEXT, b"x")
        assert [told.recv(0), told.recv(0), told.recv(0)] == [Gap("a"), "x", None]
        assert [untold.recv(0), untold.recv(0)] == ["x", None]
    assert strict.closed_with == [(1012, "messages may be missing")]
    assert not patient.closed_with
    assert not elsewhere.closed_with
    assert bus.stats.channel_gaps == 4


def test_who_closes_on_gaps_may_think_better_of_it(bus: Bus, backend: Backend) -> None:
    websocket = WebSocket()
    bus.join("a", websocket, on_gap="close")
    bus.join("a", websocket)
    backend.lose("a")
    bus.join("a", websocket, on_gap="close")
    bus.leave("a", websocket)
    backend.lose("a")
    assert not websocket.closed_with
    with pytest.raises(ValueError, match="'wait' is not a valid on_gap"):
        bus.join("a", websocket, on_gap="wait")
    assert bus.count("a") == 10


def test_messages_and_those_who_took_them_are_counted(bus: Bus) -> None:
    for websocket in (WebSocket(), WebSocket(takes=False)):
        bus.join("a", websocket)
    bus.publish("a", TEXT, b"x")
    bus.publish("nobody is there", TEXT, b"x")
    assert (bus.stats.channel_messages, bus.stats.channel_deliveries) == (2, 1)


def test_the_backend_knows_of_each_subscriber_once(bus: Bus, backend: Backend) -> None:
    websocket = WebSocket()
    bus.join("a", websocket)
    bus.join("a", websocket, "conflate")
    bus.join("b", websocket)
    bus.leave("a", websocket)
    bus.leave("a", websocket)
    bus.leave_all(websocket)
    told = [("subscribe", "a"), ("subscribe", "b"), ("unsubscribe", "a"), ("unsubscribe", "b")]
    assert backend.told == told


def test_a_name_that_compares_as_it_likes_is_a_name_like_any_other(bus: Bus) -> None:
    class Name(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 0

    websocket = WebSocket()
    bus.join(Name("a"), websocket)
    bus.publish(Name("b"), TEXT, b"x")
    bus.publish("a", TEXT, b"y")
    assert [prepared.payload for prepared, _ in websocket.offered] == [b"y"]


def test_subscribers_of_all_kinds_and_processes_are_counted(bus: Bus) -> None:
    bus.join("a", WebSocket())
    bus.join("a", Subscription(bus, 100))
    assert bus.count("a") == 12
    assert bus.count("b") == 10


def test_what_is_too_long_is_refused_before_anybody_gets_it(bus: Bus, backend: Backend) -> None:
    websocket = WebSocket()
    bus.join("a", websocket)
    with pytest.raises(ChannelError, match="message of 11 bytes, 10 allowed"):
        bus.publish("a", TEXT, b"x" * 11)
    with pytest.raises(ValueError, match="65535 allowed"):
        bus.publish("a" * 65_536, TEXT, b"x")
    with pytest.raises(ValueError, match="'never' is not a valid Overflow"):
        bus.join("a", WebSocket(), "never")
    assert not websocket.offered
    assert bus.count("a") == 11


def test_a_thread_s_message_is_published_by_the_hub(bus: Bus) -> None:
    published_by: list[threading.Thread] = []

    class Watching(WebSocket):
        def offer(self, prepared: Prepared, overflow: Overflow) -> bool:
            published_by.append(threading.current_thread())
            return True

    bus.join("a", Watching())
    thread = threading.Thread(target=bus.publish, args=("a", TEXT, b"x"))
    thread.start()
    with gevent.Timeout(5):
        while not published_by:
            gevent.sleep(0.001)
    thread.join()
    assert published_by == [threading.main_thread()]


def test_its_end_is_the_backend_s(bus: Bus, backend: Backend) -> None:
    bus.close()
    assert backend.told == [("close",)]


def test_a_process_without_a_worker_has_none(bus: Bus) -> None:
    use_bus(bus)
    assert current_bus() is bus
    use_bus(None)
    with pytest.raises(InvalidState, match="publish_to"):
        current_bus()
