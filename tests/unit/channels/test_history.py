"""What came after a position: all of it, and whether it is all; and how events are encoded."""

from __future__ import annotations

import pytest

from uwsgi_ws.channels.events import Encode, Event, Gap, Published
from uwsgi_ws.channels.history import History, Kept, Outgoing
from uwsgi_ws.channels.positions import Position
from uwsgi_ws.channels.records import GAP, UNCOMPRESSED
from uwsgi_ws.protocol.websocket.frames import BINARY, TEXT


def entries(first: int, end: int, epoch: str = "a") -> list[Kept]:
    return [Kept("room", Position(epoch, number), TEXT, b"%d" % number) for number in range(first, end)]


def found(history: History, since: str) -> tuple[list[int], bool, bool]:
    messages, is_all, is_final = history.after(since)
    return [message.position.id for message in messages], is_all, is_final


def test_what_came_after_an_entry_that_is_there_is_all() -> None:
    history = History(Position("a", 9), entries(5, 10))
    assert found(history, "a-5") == ([6, 7, 8, 9], True, True)
    assert found(history, "a-9") == ([], True, True)
    assert found(history, "oldest") == ([5, 6, 7, 8, 9], True, True)
    assert found(history, "latest") == ([], True, True)


def test_what_is_left_after_an_entry_that_is_gone_comes_but_is_not_all() -> None:
    assert found(History(Position("a", 9), entries(5, 10)), "a-4") == ([5, 6, 7, 8, 9], False, True)
    assert found(History(Position("a", 9)), "a-4") == ([], False, True), "all too old"


def test_the_beginning_of_an_epoch_is_known_while_its_first_message_is() -> None:
    assert found(History(Position("a", 2), entries(1, 3)), "a-0") == ([1, 2], True, True)
    assert found(History(Position("a", 3), entries(2, 4)), "a-0") == ([2, 3], False, True)


def test_another_epoch_is_never_all_even_if_the_entry_is_there() -> None:
    history = History(Position("b", 4), [*entries(1, 3, "a"), *entries(3, 5, "b")])
    assert found(history, "a-1") == ([2, 3, 4], False, True)
    assert found(history, "a-2") == ([3, 4], False, True)
    assert found(history, "b-3") == ([4], True, True)


def test_what_is_not_known_yet_may_be_known_by_who_looks_again() -> None:
    history = History(Position("a", 4), entries(1, 5))
    assert found(history, "a-5") == ([], False, False)
    assert found(history, "c-1") == ([], False, False)
    assert found(history, "what?") == ([], False, True)


def test_a_channel_that_keeps_nothing_recovers_nothing() -> None:
    history = History(None)
    assert found(history, "a-1") == ([], False, False)
    assert found(history, "oldest") == ([], False, True)
    assert found(history, "latest") == ([], False, True)


def test_a_gap_that_is_kept_is_no_message_and_what_has_it_is_not_all() -> None:
    history = History(Position("a", 3), entries(1, 2))
    history.append(Kept("room", Position("a", 2), GAP, b""))
    history.append(*entries(3, 4))
    assert found(history, "a-1") == ([3], False, True)
    assert found(history, "a-2") == ([3], True, True)


def test_what_is_appended_is_bounded() -> None:
    history = History(Position("a", 0))
    for entry in entries(1, 5_001):
        history.append(entry)
    ids, is_all, _ = found(history, "a-4990")
    assert (ids, is_all) == (list(range(4_991, 5_001)), True)
    ids, is_all, _ = found(history, "a-1")
    assert (len(ids) <= 2_000, is_all) == (True, False)


def test_an_event_is_encoded_once_for_each_function() -> None:
    calls: list[Event] = []

    def encode(event: Event) -> str:
        calls.append(event)
        return "as it is told"

    message = Kept("room", Position("a", 7), TEXT, "é".encode())
    first, plain = message.prepared(encode), message.prepared(None)
    assert first is message.prepared(encode)
    assert plain is message.prepared(None)
    assert first is not None
    assert plain is not None
    assert (first.opcode, first.payload, plain.payload) == (TEXT, b"as it is told", "é".encode())
    assert calls == [Published("room", "é", "a-7")]
    assert Kept("room", Position("a", 8), BINARY, b"\xff").event == Published("room", b"\xff", "a-8")


@pytest.mark.parametrize("encode", [None, lambda event: event.message])
@pytest.mark.parametrize("may_compress", [True, False])
def test_what_is_not_to_be_compressed_is_not_however_it_is_encoded(encode: Encode | None, may_compress: bool) -> None:
    kept = Kept("room", Position("a", 1), TEXT if may_compress else TEXT + UNCOMPRESSED, b"secret")
    assert kept.opcode == TEXT
    for outgoing in (kept, Outgoing(Published("room", "secret"), may_compress)):
        prepared = outgoing.prepared(encode)
        assert prepared is not None
        assert (prepared.opcode, prepared.payload, prepared.may_compress) == (TEXT, b"secret", may_compress)


def test_without_a_function_messages_go_as_they_are_and_nothing_else_does() -> None:
    plain = Outgoing(Published("room", b"\xff")).prepared(None)
    assert plain is not None
    assert (plain.opcode, plain.payload) == (BINARY, b"\xff")
    assert Outgoing(Gap("room")).prepared(None) is None


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_function_that_raises_sends_nothing(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    def encode(event: Event) -> str:
        raise error

    assert Outgoing(Gap("room")).prepared(encode) is None
    assert Outgoing(Gap("room")).prepared(lambda event: 7) is None  # type: ignore[arg-type,return-value]
    assert Outgoing(Gap("room")).prepared(lambda event: None) is None
    assert [record.getMessage() for record in caplog.records] == ["an event of channel 'room' could not be encoded"] * 2
