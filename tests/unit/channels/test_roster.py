"""What a worker knows of members: told in order, mended after losses, and rid of the dead."""

from __future__ import annotations

import json
import random
from collections import deque
from typing import Any

import pytest

from uwsgi_ws.channels.events import MemberJoined, MemberLeft
from uwsgi_ws.channels.roster import BEAT, LARGEST_RECORD, MAX_MEMBER, Roster, plain_member
from uwsgi_ws.errors import ChannelError

CHANNELS = ("a", "b", "c")
GAP = b""


class Node:
    """One worker: its roster, what its application believes from the events alone, and what it has joined."""

    def __init__(self, network: Network, name: str) -> None:
        self.network = network
        self.roster = Roster(name)
        self.inbox: dict[str, deque[tuple[str, bytes]]] = {}  # by publisher, or one for all
        self.seen: dict[str, dict[str, dict[str, Any]]] = {}
        self.own: dict[tuple[str, str], dict[str, Any]] = {}
        self.is_paused = False
        self.ids = 0

    def watch(self, channel: str) -> None:
        self.seen.setdefault(channel, {})
        self.roster.watch(channel)
        self.send()

    def unwatch(self, channel: str) -> None:
        if channel in self.seen and not any(each == channel for each, _ in self.own):
            self.roster.unwatch(channel)
            del self.seen[channel]

    def enter(self, channel: str) -> str:
        self.watch(channel)
        self.ids += 1
        member_id = f"{self.roster.worker}-{self.ids}"
        self.change(channel, member_id)
        return member_id

    def change(self, channel: str, member_id: str) -> None:
        self.own[channel, member_id] = {"n": self.network.random.random()}
        self.roster.enter(channel, member_id, self.own[channel, member_id])
        self.send()

    def exit(self, channel: str, member_id: str) -> None:
        del self.own[channel, member_id]
        self.roster.exit(channel, member_id)
        self.send()

    def send(self) -> None:
        while self.roster.outgoing:
            self.network.publish(self, *self.roster.outgoing.popleft())

    def beat(self) -> None:
        self.network.publish(self, "", self.roster.beat())

    def settle(self) -> None:
        self.roster.ask()
        self.roster.answer()
        self.send()

    def read(self) -> bool:
        """Take one thing that has come."""
        waiting = [each for each in self.inbox.values() if each]
        if not waiting:
            return False
        channel, payload = self.network.random.choice(waiting).popleft()
        if not channel and payload == GAP:
            self.roster.beats_gap()
        elif not channel:
            self.roster.take_beat(payload, self.network.now)
        elif payload == GAP:
            self.roster.gap(channel)
        else:
            self.fold(channel, payload)
        self.send()
        return True

    def fold(self, channel: str, payload: bytes) -> None:
        for event in self.roster.take(channel, payload):
            seen = self.seen[event.channel]
            if isinstance(event, MemberJoined):
                assert seen.get(event.id) != event.member, "nothing has changed"
                seen[event.id] = event.member
            else:
                assert seen.pop(event.id) == event.member
        if channel in self.seen:
            assert self.seen[channel] == dict(self.roster.members(channel))


class Network:
    """Carries records, in one order or only in each publisher's, and loses some; each loss is a gap for its reader."""

    def __init__(self, seed: int, *, has_one_order: bool, loss: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.has_one_order = has_one_order
        self.loss = loss
        self.nodes: list[Node] = []
        self.now = 0.0
        self.names = 0

    def start(self) -> Node:
        self.names += 1
        node = Node(self, f"w{self.names}")
        self.nodes.append(node)
        return node

    def publish(self, publisher: Node, channel: str, payload: bytes) -> None:
        is_lost_for_all = self.random.random() < self.loss / 2
        for node in self.nodes:
            if channel and channel not in node.seen:
                continue
            is_lost = is_lost_for_all or self.random.random() < self.loss
            source = "" if self.has_one_order else publisher.roster.worker
            if node is publisher and not self.has_one_order:
                is_lost = False
            node.inbox.setdefault(source, deque()).append((channel, GAP if is_lost else payload))

    def run(self, steps: int) -> None:
        for _ in range(steps):
            awake = [node for node in self.nodes if not node.is_paused]
            if awake:
                self.random.choice(awake).read()

    def drain(self) -> None:
        for _ in range(30):
            for node in self.nodes:
                while not node.is_paused and node.read():
                    pass
            for node in self.nodes:
                if not node.is_paused:
                    node.settle()

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += BEAT
            for node in self.nodes:
                if not node.is_paused:
                    node.beat()
            self.drain()

    def truth(self, channel: str) -> dict[str, dict[str, Any]]:
        return {each: member for node in self.nodes for (name, each), member in node.own.items() if name == channel}


def three(*, has_one_order: bool = True) -> tuple[Network, list[Node]]:
    network = Network(1, has_one_order=has_one_order)
    nodes = [network.start() for _ in range(3)]
    for node in nodes:
        node.watch("a")
    network.drain()
    return network, nodes


def test_members_are_known_everywhere_with_what_they_say_of_themselves_now() -> None:
    network, nodes = three()
    ann = nodes[0].enter("a")
    bob = nodes[1].enter("a")
    network.drain()
    for node in nodes:
        assert node.seen["a"].keys() == {ann, bob}
    nodes[0].change("a", ann)
    nodes[1].exit("a", bob)
    network.drain()
    for node in nodes:
        assert node.seen["a"] == network.truth("a") == {ann: nodes[0].own["a", ann]}


def test_who_begins_to_watch_is_told_who_is_there() -> None:
    network, nodes = three()
    for _ in range(5):
        nodes[0].enter("a")
    network.drain()
    late = network.start()
    late.watch("a")
    network.drain()
    assert late.seen["a"] == network.truth("a")


def test_many_questions_and_answers_go_in_several_turns() -> None:
    network = Network(1, has_one_order=True)
    one, two = network.start(), network.start()
    channels = [f"c{number}" for number in range(2_500)]
    for channel in channels:
        one.watch(channel)
        two.enter(channel)
        two.change(channel, f"w2-{two.ids}")
    network.drain()
    for channel in channels:
        one.roster.gap(channel)
    turns = 0
    while one.roster.has_questions:
        one.roster.ask()
        assert len(one.roster.outgoing) <= 1_000
        one.send()
        turns += 1
    assert turns == 3
    while two.read():
        pass
    while two.roster.has_answers:
        two.roster.answer()
        assert sum(len(record) for _, record in two.roster.outgoing) < 2 * LARGEST_RECORD + 524_288
        two.send()
    network.drain()
    network.pass_time(10)
    assert all(one.seen[channel] == network.truth(channel) for channel in channels[::100])


def test_nothing_is_told_twice_nor_where_nobody_has_changed() -> None:
    roster = Roster("w")
    roster.watch("a")
    roster.outgoing.clear()
    roster.enter("a", "w-1", {"name": "Ann"})
    roster.enter("a", "w-1", {"name": "Ann"})
    assert len(roster.outgoing) == 1


def test_a_state_of_many_members_comes_in_parts_that_a_record_holds() -> None:
    network, nodes = three()
    size = 0
    for number in range(100):
        nodes[0].enter("a")
        nodes[0].own["a", f"w1-{number + 1}"] = {"text": "x" * (MAX_MEMBER - 11)}
        nodes[0].roster.enter("a", f"w1-{number + 1}", {"text": "x" * (MAX_MEMBER - 11)})
        nodes[0].send()
    late = network.start()
    late.watch("a")
    for _ in range(1_000):
        for queue in late.inbox.values():
            size = max([size, *(len(payload) for _, payload in queue)])
        network.run(10)
        for node in nodes:
            node.settle()
    assert late.seen["a"] == network.truth("a")
    assert len(late.seen["a"]) == 100
    assert LARGEST_RECORD // 2 < size <= LARGEST_RECORD


def test_members_of_a_dead_worker_are_gone_in_ten_seconds_and_are_told_in_one_order() -> None:
    network, (one, two, three_) = three()
    for _ in range(10):
        three_.enter("a")
    network.drain()
    network.nodes.remove(three_)
    network.pass_time(4)
    assert len(one.seen["a"]) == 10, "a worker may stand still for a while"
    network.pass_time(4)
    assert one.seen["a"] == two.seen["a"] == {}


def test_a_worker_that_comes_back_is_there_again() -> None:
    network, nodes = three()
    for node in nodes:
        node.enter("a")
    network.drain()
    nodes[2].is_paused = True
    network.pass_time(30)
    assert len(nodes[0].seen["a"]) == 2
    nodes[2].is_paused = False
    network.drain()
    assert nodes[0].seen["a"] == nodes[2].seen["a"] == network.truth("a")
    assert len(network.truth("a")) == 3


def test_a_worker_that_stood_still_declares_no_other_one_dead() -> None:
    network, nodes = three()
    for node in nodes:
        node.enter("a")
    network.drain()
    nodes[0].is_paused = True
    for _ in range(3):
        nodes[0].beat()  # on their way when it stood still
    network.pass_time(30)
    for node in nodes:
        node.is_paused = False
    nodes[0].beat()
    network.drain()
    assert nodes[1].seen["a"] == network.truth("a")
    network.pass_time(30)
    assert nodes[1].seen["a"] == network.truth("a")


def test_a_worker_that_several_declare_gone_is_away_once() -> None:
    network, (one, two, three_) = three()
    ann = three_.enter("a")
    network.drain()
    for observer in (one, two):  # neither has read what the other one says
        for _ in range(4):
            network.now += BEAT
            observer.roster.take_beat(observer.roster.beat(), network.now)
        observer.send()
        while three_.read():
            three_.settle()
    events = []
    while one.inbox[""]:
        events += one.roster.take(*one.inbox[""].popleft())
    assert [(type(event), event.id) for event in events] == [(MemberLeft, ann), (MemberJoined, ann)]


def test_beats_that_come_back_all_at_once_count_once() -> None:
    network, (one, *_) = three()
    for node in network.nodes:
        node.enter("a")
    network.drain()
    network.now += BEAT
    for _ in range(20):
        one.roster.take_beat(one.roster.beat(), network.now)
    assert not one.roster.outgoing


def test_a_state_that_lacks_a_part_counts_for_nothing() -> None:
    roster, other = Roster("w"), Roster("other")
    roster.watch("a")
    other.watch("a")
    for number in range(30):
        other.enter("a", f"other-{number}", {"text": "x" * 4_000})
    other.outgoing.clear()
    other.take("a", roster.outgoing.popleft()[1])
    other.answer()
    parts = [payload for _, payload in other.outgoing]
    assert len(parts) == 4
    for lost in range(4):
        for number, part in enumerate(parts):
            if number != lost:
                assert roster.take("a", part) == []
        assert roster.has_questions
    assert [len(roster.take("a", part)) for part in parts] == [0, 0, 0, 30]


def test_who_has_missed_that_the_last_member_left_learns_it_though_nobody_is_left_to_tell() -> None:
    network, (one, two, three_) = three()
    ann = two.enter("a")
    network.drain()
    two.exit("a", ann)
    two.unwatch("a")
    for queue in one.inbox.values():
        queue.clear()
    one.roster.gap("a")
    network.drain()
    assert ann in one.seen["a"]
    network.pass_time(10)
    assert one.seen["a"] == {}
    assert three_.seen["a"] == {}


def test_who_leaves_the_bus_takes_all_members_along() -> None:
    network, (one, two, _) = three()
    two.enter("a")
    two.enter("b")
    one.watch("b")
    network.drain()
    two.roster.exit_all()
    two.send()
    network.nodes.remove(two)
    network.drain()
    assert one.seen == {"a": {}, "b": {}}


def test_gaps_cost_a_question_and_short_answers_where_nothing_was_missed() -> None:
    network, nodes = three()
    for node in nodes:
        for _ in range(100):
            node.enter("a")
    network.drain()
    records: list[bytes] = []
    publish = network.publish
    network.publish = lambda node, channel, payload: (records.append(payload), publish(node, channel, payload))  # type: ignore[method-assign]
    for node in nodes:
        node.roster.gap("a")
    network.drain()
    kinds = sorted(json.loads(each)["kind"] for each in records)
    assert kinds == ["here"] * 3 + ["question"] * 3
    assert sum(map(len, records)) < 1_000


@pytest.mark.parametrize("has_one_order", [True, False])
@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_all_agree_in_the_end_on_who_is_there(seed: int, has_one_order: bool) -> None:
    network = Network(seed, has_one_order=has_one_order, loss=seed % 3 * 0.05)
    for _ in range(3):
        network.start()
    for _ in range(network.random.randrange(50, 300)):
        _act(network)
        network.run(network.random.randrange(6))
    network.loss = 0.0
    for node in network.nodes:
        node.is_paused = False
    network.drain()
    network.pass_time(20)
    for node in network.nodes:
        for channel, seen in node.seen.items():
            assert seen == network.truth(channel)


def _act(network: Network) -> None:
    node = network.random.choice(network.nodes)
    channel = network.random.choice(CHANNELS)
    chance = network.random.random()
    if chance < 0.01 and len(network.nodes) > 1:
        network.nodes.remove(node)
    elif chance < 0.02 and len(network.nodes) < 5:
        network.start()
    elif chance < 0.05:
        network.random.choice(network.nodes).is_paused ^= True
    elif chance < 0.1:
        network.pass_time(network.random.choice((2, 6, 12)))
    if node.is_paused or node not in network.nodes:
        return
    if chance < 0.3:
        node.watch(channel)
    elif chance < 0.4:
        node.unwatch(channel)
    elif chance < 0.7:
        node.enter(channel)
    elif node.own:
        channel, member_id = network.random.choice(list(node.own))
        if chance < 0.8:
            node.change(channel, member_id)
        else:
            node.exit(channel, member_id)
    if chance > 0.5:
        node.settle()


class Text(str):
    pass


class Mapping(dict[str, Any]):
    pass


def test_a_member_is_a_copy_of_plain_values() -> None:
    given = Mapping(name=Text("Ann"), tags=("x", 1))
    assert plain_member(given) == {"name": "Ann", "tags": ["x", 1]}
    assert type(plain_member(given)) is dict
    assert type(plain_member(given)["name"]) is str


@pytest.mark.parametrize(
    ("member", "error", "words"),
    [
        ("Ann", TypeError, "a member is a dict, not str"),
        ({"name": b"Ann"}, TypeError, "JSON"),
        ({"n": float("nan")}, ValueError, "JSON"),
        ({"text": "x" * MAX_MEMBER}, ValueError, "4107 bytes as JSON, 4096 allowed"),
    ],
)
def test_what_is_no_member_is_refused(member: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        plain_member(member)


def test_a_member_that_contains_itself_is_refused() -> None:
    member: dict[str, Any] = {}
    member["me"] = member
    with pytest.raises(ValueError, match="JSON"):
        plain_member(member)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"worker":"x"}',
        b'{"worker":"x","kind":"dance","tick":1}',
        b'{"worker":"x","kind":"change","tick":1,"before":0,"joined":[]}',
        b'{"worker":"x","kind":"change","tick":1,"before":0,"joined":{"x":1}}',
        b'{"worker":"x","kind":"change","tick":1,"before":0,"left":[1]}',
        b'{"worker":"x","kind":"state","tick":1,"part":0}',
        b'{"worker":"x","kind":"question","tick":1,"known":{"x":"y"}}',
        b'{"worker":"x","kind":"question","tick":1,"all":1}',
        b'{"worker":"x","kind":"gone","gone":1}',
    ],
)
def test_what_is_no_record_is_refused_and_changes_nothing(payload: bytes) -> None:
    roster = Roster("w")
    roster.watch("a")
    roster.outgoing.clear()
    with pytest.raises(ChannelError, match="not a record of presence"):
        roster.take("a", payload)
    assert roster.members("a") == []
    assert roster.take("b", payload) == [], "not watched, not read"


def test_events_are_of_the_channel_they_came_on() -> None:
    roster = Roster("w")
    roster.watch("a")
    roster.enter("a", "w-1", {"name": "Ann"})
    roster.exit("a", "w-1")
    events = [event for channel, payload in roster.outgoing for event in roster.take(channel, payload)]
    assert events == [MemberJoined("a", {"name": "Ann"}, "w-1"), MemberLeft("a", {"name": "Ann"}, "w-1")]
