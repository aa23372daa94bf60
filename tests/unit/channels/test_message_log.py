"""The ring that workers share: order, age and number, what was overwritten, and a writer that dies anywhere."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uwsgi_ws.channels import message_log
from uwsgi_ws.channels.message_log import MessageLog
from uwsgi_ws.channels.positions import Keep

LARGE = Keep(1_000)


def make(room: int = 4_096, memory: memoryview | None = None) -> MessageLog:
    return MessageLog(memory or memoryview(bytearray(MessageLog.size(room))), contextlib.nullcontext())


def kept(
    log: MessageLog, name: bytes, now: float | None = 0.0, down_to: int = 0
) -> tuple[list[bytes], list[int], bool]:
    last = log.last(name)
    if last is None:
        return [], [], True
    entries, is_whole = log.back(last[0], down_to, now)
    assert not entries or entries[-1].position == last[1]
    return [entry.payload for entry in entries], [entry.position.id for entry in entries], is_whole


@pytest.fixture(autouse=True)
def _few_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_log, "SLOTS", 16)
    monkeypatch.setattr(message_log, "_MOST_USED", 12)


def test_channels_keep_their_own_messages_in_order() -> None:
    log = make()
    for number in range(5):
        log.append(b"a", 1, b"a%d" % number, LARGE, 0.0)
        log.append(b"b", 2, b"b%d" % number, LARGE, 0.0)
    assert kept(log, b"a") == ([b"a%d" % number for number in range(5)], [1, 2, 3, 4, 5], True)
    assert kept(log, b"c") == ([], [], True)
    (_, one), (_, other) = log.last(b"a"), log.last(b"b")  # type: ignore[misc]
    assert one.epoch != other.epoch


def test_a_channel_has_a_position_before_its_first_message() -> None:
    log = make()
    log.begin(b"a")
    last = log.last(b"a")
    assert last is not None
    assert (last[0], last[1].id) == (0, 0)
    log.append(b"a", 1, b"x", LARGE, 0.0)
    after = log.last(b"a")
    assert after is not None
    assert after[1] == (last[1].epoch, 1)


def test_only_so_many_and_only_the_young_are_told_of() -> None:
    log = make()
    for number in range(6):
        log.append(b"a", 1, b"%d" % number, Keep(4, 10), float(number))
    assert kept(log, b"a", now=6.0)[1] == [3, 4, 5, 6]
    assert kept(log, b"a", now=14.5)[1] == [6]
    assert kept(log, b"a", now=99.0)[1] == []
    assert kept(log, b"a", now=None)[1] == [1, 2, 3, 4, 5, 6], "those that listen get all"


def test_what_was_overwritten_is_not_told_of_and_ids_go_on() -> None:
    log = make(1_024)
    log.append(b"quiet", 1, b"first", LARGE, 0.0)
    cursor = log.head
    for number in range(40):
        log.append(b"busy", 1, b"%d" % number, LARGE, 0.0)
    payloads, ids, is_whole = kept(log, b"busy", None, cursor)
    assert not is_whole
    assert ids == list(range(ids[0], 41))
    assert payloads == [b"%d" % (number - 1) for number in ids]
    epoch = log.last(b"quiet")[1].epoch  # type: ignore[index]
    assert kept(log, b"quiet") == ([], [], False)
    log.append(b"quiet", 1, b"second", LARGE, 0.0)
    assert log.last(b"quiet")[1] == (epoch, 2)  # type: ignore[index]


def test_more_channels_than_it_has_room_for_push_out_the_oldest() -> None:
    log = make(65_536)
    for number in range(100):
        log.append(b"%d" % number, 1, b"x", LARGE, 0.0)
        assert log.last(b"%d" % number) is not None
    known = [number for number in range(100) if log.last(b"%d" % number) is not None]
    assert known == list(range(known[0], 100))
    assert len(known) >= 8


def test_an_excluded_connection_is_one_of_the_writers_process(monkeypatch: pytest.MonkeyPatch) -> None:
    log = make()
    log.append(b"a", 1, b"x", LARGE, 0.0, excluded=7)
    place, _ = log.last(b"a")  # type: ignore[misc]
    assert log.back(place, 0)[0][0].excluded == 7
    monkeypatch.setattr("os.getpid", lambda: 1)
    assert log.back(place, 0)[0][0].excluded == 0


class Dying:
    """Words of memory, whose owner dies before its n-th store."""

    def __init__(self, words: Any, stores: int) -> None:
        self._words = words
        self._left = stores

    def __getitem__(self, place: Any) -> Any:
        return self._words[place]

    def __setitem__(self, place: Any, value: Any) -> None:
        if not self._left:
            raise SystemExit
        self._left -= 1
        self._words[place] = value


@pytest.mark.parametrize("is_new", [True, False])
def test_a_writer_that_dies_anywhere_leaves_what_was_there(is_new: bool) -> None:
    for stores in range(100):
        memory = memoryview(bytearray(MessageLog.size(1_024)))
        log = make(memory=memory)
        for number in range(20):
            log.append(b"old", 1, b"%d" % number, LARGE, 0.0)
        dying = make(memory=memory)
        dying._words = Dying(dying._words, stores)  # type: ignore[assignment]
        has_died = False
        try:
            dying.append(b"new" if is_new else b"old", 1, b"last", LARGE, 0.0)
        except SystemExit:
            has_died = True
        log.append(b"old", 1, b"after", LARGE, 0.0)
        payloads, ids, _ = kept(log, b"old")
        assert payloads[-1] == b"after"
        left = [each for each in payloads[:-1] if each != b"last"]
        assert left == [b"%d" % number for number in range(20 - len(left), 20)]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        if not has_died:
            return
    raise AssertionError("it never ends")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 400)), max_size=200))
def test_what_is_told_is_always_the_end_of_what_was_written(writes: list[tuple[int, int]]) -> None:
    log = make(2_048)
    written: dict[int, list[bytes]] = {}
    for number, (channel, size) in enumerate(writes):
        payload = (b"%d " % number).ljust(size, b"x")
        log.append(b"%d" % channel, 1, payload, LARGE, 0.0)
        written.setdefault(channel, []).append(payload)
        payloads, ids, _ = kept(log, b"%d" % channel)
        assert payloads
        assert payloads == written[channel][-len(payloads) :]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
