"""The bus's half of presence: what is listened to and for how long, what is sent when, and who is told."""

from __future__ import annotations

import json
from typing import Any

import gevent
import pytest
from gevent import get_hub

from uwsgi_ws.channels import presence as module
from uwsgi_ws.channels.alone import Alone
from uwsgi_ws.channels.events import MemberJoined, MemberLeft
from uwsgi_ws.channels.presence import Presence
from uwsgi_ws.channels.records import PRESENCE
from uwsgi_ws.channels.roster import Change
from uwsgi_ws.stats import Stats

ANN = {"name": "Ann"}


class Backend(Alone):
    """Keeps what it is told, as one that does not echo."""

    def __init__(self) -> None:
        self.listened: list[str] = []
        self.records: list[tuple[str, dict[str, Any]]] = []

    def listen(self, channel: str) -> None:
        assert channel not in self.listened
        self.listened.append(channel)

    def unlisten(self, channel: str) -> None:
        self.listened.remove(channel)

    def publish(self, channel: str, opcode: int, payload: bytes, excluded: int = 0) -> None:
        assert opcode == PRESENCE
        assert channel in self.listened
        self.records.append((channel, json.loads(payload)))

    def kinds(self, channel: str = "lobby") -> list[str]:
        return [record["kind"] for name, record in self.records if name == channel]


class Echoing(Backend):
    echoes = True


class Room:
    """A presence with what it has told."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.stats = Stats()
        self.told: list[Change] = []
        self.presence = Presence(backend, get_hub(), self.stats, self.told.append)

    def names(self) -> list[str]:
        return [member["name"] for _, member in self.presence.members("lobby")]


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setattr(module, "BEAT", 0.01)
    monkeypatch.setattr(module, "_LINGER", 0.05)
    return Room(Backend())


def wait_until_quiet(room: Room) -> None:
    """Wait until nothing is listened to any more."""
    with gevent.Timeout(5):
        while room.backend.listened:
            gevent.sleep(0.005)


def test_a_member_is_told_and_stays_until_it_leaves(room: Room) -> None:
    client = object()
    room.presence.enter("lobby", client, ANN)
    [(member_id, member)] = room.presence.members("lobby")
    assert member == ANN
    room.presence.enter("lobby", client, {"name": "Anna"})
    room.presence.leave("lobby", client)
    room.presence.leave("lobby", client)
    assert room.told == [
        MemberJoined("lobby", ANN, member_id),
        MemberJoined("lobby", {"name": "Anna"}, member_id),
        MemberLeft("lobby", {"name": "Anna"}, member_id),
    ]
    assert room.names() == []


def test_a_channel_is_listened_to_as_long_as_somebody_has_a_reason(room: Room) -> None:
    one, two = object(), object()
    room.presence.enter("lobby", one, ANN)
    room.presence.follow("lobby", two)
    room.presence.leave("lobby", one)
    gevent.sleep(0.05)
    assert "lobby" in room.backend.listened
    room.presence.leave("lobby", two)
    assert "lobby" not in room.backend.listened
    wait_until_quiet(room)


def test_to_ask_who_is_there_is_a_reason_for_a_while(room: Room) -> None:
    client = object()
    room.presence.enter("lobby", client, ANN)
    assert room.names() == ["Ann"]
    room.presence.leave("lobby", client)
    assert "lobby" in room.backend.listened
    wait_until_quiet(room)
    assert room.names() == []
    assert room.backend.kinds().count("question") == 2, "it has to ask anew"
    wait_until_quiet(room)


def test_a_worker_without_members_and_listeners_sends_and_hears_no_beats(room: Room) -> None:
    assert room.backend.listened == []
    room.presence.members("lobby")
    wait_until_quiet(room)
    sent = len(room.backend.records)
    assert room.backend.records[-1][1]["kind"] == "beat"
    gevent.sleep(0.03)
    assert len(room.backend.records) == sent


def test_one_answer_serves_all_who_ask_in_a_moment(room: Room) -> None:
    room.presence.enter("lobby", object(), ANN)
    question = {"kind": "question", "tick": 0, "known": {}, "all": True}
    for number in range(10):
        room.presence.take("lobby", json.dumps({**question, "worker": f"w{number}"}).encode())
    assert "state" not in room.backend.kinds()
    gevent.sleep(0.1)
    assert room.backend.kinds().count("state") == 1


def test_a_gap_is_asked_about_a_moment_later(room: Room) -> None:
    room.presence.enter("lobby", object(), ANN)
    room.presence.gap("lobby")
    room.presence.gap("elsewhere")
    before = room.backend.kinds().count("question")
    with gevent.Timeout(5):
        while room.backend.kinds().count("question") == before:
            gevent.sleep(0.01)


def test_over_an_engine_that_echoes_nothing_counts_before_it_has_come_back() -> None:
    room = Room(Echoing())
    client = object()
    room.presence.enter("lobby", client, ANN)
    assert room.told == []
    assert room.names() == []
    for channel, record in list(room.backend.records):
        room.presence.take(channel, json.dumps(record).encode())
    assert room.names() == ["Ann"]
    room.presence.close()


def test_what_is_no_record_is_counted_and_logged_once_a_second(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    room.presence.members("lobby")
    for _ in range(3):
        room.presence.take("lobby", b"rubbish")
        room.presence.take("\0presence", b"rubbish")
    assert room.stats.channel_drops == 6
    assert len(caplog.records) == 1


def test_what_a_listener_does_in_turn_comes_after(room: Room) -> None:
    def tell(change: Change) -> None:
        room.told.append(change)
        if len(room.told) == 1:
            room.presence.enter("lobby", "second", {"name": "Bob"})
            room.presence.leave("lobby", "first")

    room.presence = Presence(room.backend, get_hub(), room.stats, tell)
    room.presence.enter("lobby", "first", ANN)
    assert [(type(each), each.member["name"]) for each in room.told] == [
        (MemberJoined, "Ann"),
        (MemberJoined, "Bob"),
        (MemberLeft, "Ann"),
    ]


def test_its_end_is_that_of_all_members_and_of_all_beats(room: Room) -> None:
    for number in range(3):
        room.presence.enter("lobby", number, {"name": str(number)})
    room.presence.close()
    assert [type(change) for change in room.told] == [MemberJoined] * 3 + [MemberLeft] * 3
    sent = len(room.backend.records)
    room.presence.leave("lobby", 0)
    room.presence.enter("lobby", 0, ANN)
    room.presence.members("elsewhere")
    gevent.sleep(0.05)
    assert len(room.backend.records) == sent
