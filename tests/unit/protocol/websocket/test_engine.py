"""The WebSocket engine: vector files, a slow reference parser as an oracle, and properties over any bytes."""

from __future__ import annotations

import gc
import itertools
import json
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.twins import python_twin
from support.websocket_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_frame,
    frame,
    masked,
    text,
)

from uwsgi_ws.errors import ConnectionClosed, FrameError, InvalidState, KeepaliveTimeout, MessageTooBig
from uwsgi_ws.protocol.websocket.engine import MAX_WAITING, TRANSITIONS, Input, State, WebSocket
from uwsgi_ws.protocol.websocket.messages import MESSAGE_OVERHEAD, Message
from uwsgi_ws.protocol.websocket.speed import short_message

python_short_message = python_twin("uwsgi_ws.protocol.websocket.speed").short_message

VECTORS = Path(__file__).parents[3] / "vectors" / "websocket"
VALID = sorted((VECTORS / "valid").glob("*.bin"))
INVALID = sorted((VECTORS / "invalid").glob("*.bin"))
LIMIT = 1_048_576
#: The codes that we fail a connection with for what the peer has sent, and the reasons that go with them.
FAILURES = {1002: b"protocol error", 1007: b"invalid UTF-8", 1009: b"message too big"}


def server_frame(opcode: int, payload: bytes = b"") -> bytes:
    return frame(opcode, payload, key=None)


def server_close(code: int | None) -> bytes:
    return server_frame(CLOSE, b"" if code is None else code.to_bytes(2, "big"))


def server_failure(code: int) -> bytes:
    return server_frame(CLOSE, code.to_bytes(2, "big") + FAILURES[code])


@dataclass
class Outcome:
    """What came of some bytes: the same however they were cut."""

    messages: list[tuple[int, bytes]] = field(default_factory=list)
    output: bytes = b""
    close: int | None = None  # code of the end that the bytes brought; 1005 for a close frame without a code


def handed_over(engine: WebSocket, data: bytes) -> Message | None:
    """What a waiting application gets without asking the engine; the compiled twin must agree with Python."""
    if not engine.is_idle:
        return None
    message = python_short_message(data)
    assert short_message(data) == message
    return message


def drive(
    pieces: Iterable[bytes], limit: int = LIMIT, engine: WebSocket | None = None, *, by_hand: bool = False
) -> Outcome:
    """Feed the pieces and take everything after each one, as a connection does.

    Args:
        pieces: What comes from the peer.
        limit: Of a message.
        engine: One that has seen something already.
        by_hand: Ask for a short message first, as for an application that waits.
    """
    engine = engine or WebSocket(limit)
    outcome = Outcome()
    for piece in pieces:
        message = handed_over(engine, piece) if by_hand else None
        if message is not None:
            outcome.messages.append(message)
            continue
        engine.receive(piece)
        while engine.messages:
            opcode, payload = engine.messages.popleft()[:2]
            outcome.messages.append((opcode, payload))
        engine.settle()
        outcome.output += b"".join(engine.take_output())
    outcome.close = engine.close_code
    return outcome


def cuts(raw: bytes) -> Iterable[list[bytes]]:
    """The bytes in one piece, byte by byte, and in two pieces at many places."""
    yield [raw]
    if len(raw) < 2_000:
        yield [raw[at : at + 1] for at in range(len(raw))]
    places = range(len(raw)) if len(raw) < 300 else [*range(1, 20), len(raw) // 2, len(raw) - 5, len(raw) - 1]
    for place in places:
        yield [raw[:place], raw[place:]]


# The reference: the whole stream at once, a byte at a time, by the letter of the RFC.

# Unicode 3.9, table 3-7: well-formed byte sequences.
UTF8 = [
    [(0x00, 0x7F)],
    [(0xC2, 0xDF), (0x80, 0xBF)],
    [(0xE0, 0xE0), (0xA0, 0xBF), (0x80, 0xBF)],
    [(0xE1, 0xEC), (0x80, 0xBF), (0x80, 0xBF)],
    [(0xED, 0xED), (0x80, 0x9F), (0x80, 0xBF)],
    [(0xEE, 0xEF), (0x80, 0xBF), (0x80, 0xBF)],
    [(0xF0, 0xF0), (0x90, 0xBF), (0x80, 0xBF), (0x80, 0xBF)],
    [(0xF1, 0xF3), (0x80, 0xBF), (0x80, 0xBF), (0x80, 0xBF)],
    [(0xF4, 0xF4), (0x80, 0x8F), (0x80, 0xBF), (0x80, 0xBF)],
]


def is_utf8(data: bytes, *, complete: bool) -> bool:
    """Whether the bytes are UTF-8, or, unless complete, can become it."""
    at = 0
    while at < len(data):
        left = data[at : at + 4]
        for row in UTF8:
            if all(low <= byte <= high for byte, (low, high) in zip(left, row, strict=False)):
                if len(left) < len(row):
                    return not complete
                at += len(row)
                break
        else:
            return False
    return True


class Failed(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


def reference(data: bytes, limit: int = LIMIT) -> Outcome:
    outcome = Outcome()
    try:
        read_stream(data, limit, outcome)
    except Failed as failure:
        outcome.output += server_failure(failure.code)
        outcome.close = failure.code
    return outcome


def read_stream(data: bytes, limit: int, outcome: Outcome) -> None:
    opcode_in_progress, message = None, b""
    while len(data) >= 2:
        fin, rsv, opcode = data[0] >> 7, data[0] >> 4 & 7, data[0] & 15
        is_masked, length = data[1] >> 7, data[1] & 127
        if rsv or opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15) or not is_masked:
            raise Failed(1002)
        if opcode >= 8 and (not fin or length > 125):
            raise Failed(1002)
        extra = {126: 2, 127: 8}.get(length, 0)
        if len(data) < 2 + extra:
            return
        if extra:
            length = int.from_bytes(data[2 : 2 + extra], "big")
            if length < (126 if extra == 2 else 65_536) or length >= 2**63:
                raise Failed(1002)
        if len(data) < 2 + extra + 4:
            return
        key = data[2 + extra : 6 + extra]
        payload = masked(data[6 + extra : 6 + extra + length], key)
        is_whole = len(payload) == length
        data = data[6 + extra + length :]
        if opcode >= 8:
            if not is_whole:
                return
            if opcode == PING:
                outcome.output += server_frame(PONG, payload)
            elif opcode == CLOSE:
                read_close(payload, outcome)
                return
            continue
        if (opcode == CONTINUATION) == (opcode_in_progress is None):
            raise Failed(1002)
        if opcode != CONTINUATION:
            opcode_in_progress, message = opcode, b""
        if len(message) + length > limit:
            raise Failed(1009)
        message += payload
        is_end = bool(fin) and is_whole
        if opcode_in_progress == TEXT and not is_utf8(message, complete=is_end):
            raise Failed(1007)
        if is_end:
            assert opcode_in_progress is not None
            outcome.messages.append((opcode_in_progress, message))
            opcode_in_progress = None


def read_close(payload: bytes, outcome: Outcome) -> None:
    code = int.from_bytes(payload[:2], "big")
    if payload:
        allowed = 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
        if len(payload) == 1 or not allowed:
            raise Failed(1002)
        if not is_utf8(payload[2:], complete=True):
            raise Failed(1007)
    outcome.output += server_frame(CLOSE, payload[:2])
    outcome.close = code if payload else 1005


# Vector files


def message_of(entry: dict[str, Any]) -> tuple[int, bytes]:
    if "text" in entry:
        return TEXT, entry["text"].encode()
    return BINARY, bytes.fromhex(entry["binary"]) * entry.get("times", 1)


@pytest.mark.parametrize("path", VALID + INVALID, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_vector(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    raw = path.read_bytes()
    output = b"".join(server_frame(PONG, bytes.fromhex(pong)) for pong in expected["pongs"])
    close = None if expected["close"] == "open" else expected["close"]
    if path.parent.name == "invalid":
        output += server_failure(close)
    elif close is not None:
        output += server_close(None if close == 1005 else close)
    wanted = Outcome([message_of(entry) for entry in expected["messages"]], output, close)
    limit = expected.get("limit", LIMIT)
    for pieces in cuts(raw):
        engine = WebSocket(limit)
        assert drive(pieces, engine=engine) == wanted
        assert engine.finished == (close is not None)
        assert (engine.cause is not None) == (path.parent.name == "invalid")
    if len(raw) < 2_000:
        assert reference(raw, limit) == wanted, "the reference parser disagrees with the vector"


def test_every_invalid_vector_fails_with_a_documented_code_and_no_valid_one_fails() -> None:
    for path in INVALID:
        assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["close"] in FAILURES
    assert len(VALID) > 50
    assert len(INVALID) > 60


# Properties

PAYLOADS = st.one_of(
    st.binary(max_size=12),
    st.text(max_size=6).map(str.encode),
    st.sampled_from([b"\xed\xa0", b"\xf4\x90", "€".encode()[:2], b"\x03\xe8", b"\x03\xe8ok", b"\x03\xee", b"\x03"]),
    st.integers(120, 130).map(bytes),
)
ORDINARY = st.builds(
    frame,
    st.sampled_from([CONTINUATION, TEXT, BINARY, PING, PONG]),
    PAYLOADS,
    fin=st.booleans(),
    key=st.binary(min_size=4, max_size=4),
)
STRANGE = st.builds(
    frame,
    st.integers(0, 15),
    PAYLOADS,
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 1, 4]),
    key=st.one_of(st.none(), st.binary(min_size=4, max_size=4)),
    length=st.one_of(st.none(), st.sampled_from([0, 1, 125, 126, 200, 65_535])),
    length_bytes=st.sampled_from([2, 8]),
)


def fragmented(opcode: int, payload: bytes, places: list[int], between: list[bytes]) -> bytes:
    """One message in fragments, with control frames in between."""
    edges = [0, *sorted(min(place, len(payload)) for place in places), len(payload)]
    raw = b""
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        if number:
            raw += b"".join(between)
        is_last = number == len(edges) - 2
        raw += frame(CONTINUATION if number else opcode, payload[start:end], fin=is_last)
    return raw


MESSAGES = st.builds(
    fragmented,
    st.sampled_from([TEXT, BINARY]),
    PAYLOADS,
    st.lists(st.integers(0, 20), max_size=3),
    st.lists(st.sampled_from([frame(PING, b"?"), frame(PONG, b"!")]), max_size=2),
)
ANY_BYTES = st.one_of(
    st.lists(MESSAGES, max_size=5).map(b"".join),
    st.lists(st.one_of(MESSAGES, ORDINARY, STRANGE), max_size=6).map(b"".join),
    st.lists(ORDINARY, max_size=8).map(b"".join),
    st.binary(max_size=60),
)


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[start:end] for start, end in itertools.pairwise(edges)]


@settings(max_examples=400, deadline=None)
@given(ANY_BYTES, st.lists(st.integers(0, 10_000), max_size=6), st.sampled_from([0, 5, 20, LIMIT]))
@example(text("é", fin=False) + frame(CONTINUATION, b"\xed\xa0"), [9], LIMIT)
def test_any_bytes_cut_anywhere_do_what_the_reference_says(raw: bytes, places: list[int], limit: int) -> None:
    wanted = reference(raw, limit)
    assert drive([raw], limit) == wanted
    assert drive(cut(raw, places), limit) == wanted
    assert drive(cut(raw, places), limit, by_hand=True) == wanted
    assert drive([raw[at : at + 1] for at in range(len(raw))], limit) == wanted


@settings(max_examples=200, deadline=None)
@given(ANY_BYTES)
def test_any_bytes_end_in_events_or_a_documented_failure(raw: bytes) -> None:
    engine = WebSocket(1000)
    engine.receive(raw)
    engine.settle()
    assert (engine.cause is None) or (engine.close_code in FAILURES and engine.finished)
    for opcode, payload in engine.messages:
        assert opcode in (TEXT, BINARY)
        assert len(payload) <= 1000
        assert opcode == BINARY or payload.decode() is not None


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), st.text(max_size=200)), max_size=5),
    st.lists(st.integers(0, 300), max_size=3),
    st.lists(st.integers(0, 10_000), max_size=6),
)
def test_messages_written_are_read_back(
    messages: list[tuple[int, str]], fragments: list[int], places: list[int]
) -> None:
    raw = b"".join(fragmented(opcode, message.encode(), fragments, []) for opcode, message in messages)
    outcome = drive(cut(raw, places))
    assert outcome == Outcome([(opcode, message.encode()) for opcode, message in messages])


LARGE = 65_536  # frames from here on are unmasked into their place

#: Text whose characters of two, three and four bytes lie across every cut sooner or later.
LONG_TEXT = "".join(["plain " * 10_000, "é中🎈" * 8_000, " and plain again" * 3_000])


@settings(max_examples=60)
@given(
    st.sampled_from([TEXT, BINARY]),
    st.lists(st.integers(0, len(LONG_TEXT.encode())), max_size=3),
    st.lists(st.integers(0, 250_000), max_size=8),
)
def test_large_frames_cut_anywhere_are_read_back(opcode: int, fragments: list[int], places: list[int]) -> None:
    payload = LONG_TEXT.encode()
    assert len(payload) > 2 * LARGE
    raw = fragmented(opcode, payload, fragments, [frame(PING, b"?")])
    outcome = drive(cut(raw, places), 1 << 20)
    assert outcome.messages == [(opcode, payload)]
    assert outcome.close is None


@pytest.mark.parametrize("bad", [0, 1, LARGE - 1, LARGE, 150_000])
def test_a_large_text_fails_at_its_first_impossible_byte(bad: int) -> None:
    payload = bytearray(b"x" * 150_001)
    payload[bad] = 0xFF
    raw = frame(TEXT, bytes(payload))
    head = len(raw) - len(payload)
    assert drive([raw[: head + bad], raw[head + bad : head + bad + 1]], 1 << 20).close == 1007
    assert drive([raw[: head + bad]], 1 << 20).close is None
    payload[bad] = 0xC3
    assert drive([frame(TEXT, bytes(payload))], 1 << 20).close == 1007


@pytest.mark.parametrize("taken_at", [1, LARGE, 100_000])
def test_what_came_of_a_large_frame_may_be_taken_before_the_rest(taken_at: int) -> None:
    payload = bytes(range(256)) * 600
    raw = frame(BINARY, payload)
    engine = WebSocket(1 << 20)
    engine.receive(raw[:taken_at])
    engine.stream_next(True)
    engine.receive(raw[taken_at:])
    assert b"".join(item[1] for item in engine.messages) == payload


@settings(max_examples=100, deadline=None)
@given(ANY_BYTES, st.lists(st.integers(0, 10_000), max_size=6))
def test_pieces_of_a_streamed_message_add_up_to_what_would_have_come_whole(raw: bytes, places: list[int]) -> None:
    whole = drive([raw])
    engine = WebSocket(LIMIT)
    streamed: list[tuple[int, bytes]] = []
    in_progress = b""
    for piece in cut(raw, places):
        engine.stream_next(True)
        engine.receive(piece)
        while engine.messages:
            item = engine.messages.popleft()
            in_progress += item[1]
            if len(item) == 2 or item[2]:
                streamed.append((item[0], in_progress))
                in_progress = b""
        engine.settle()
    assert streamed == whole.messages
    assert engine.close_code == whole.close


# A short message handed over at once


@pytest.mark.parametrize(
    "payload", [b"", b"x", "é".encode(), bytes(125), bytes(126), b"x\xc3\xa9" * 100, bytes(65_535)]
)
def test_exactly_one_short_message_is_handed_over(payload: bytes) -> None:
    for opcode in (TEXT, BINARY):
        engine = WebSocket(LIMIT)
        assert handed_over(engine, frame(opcode, payload)) == (opcode, payload)
        assert not engine.messages


@pytest.mark.parametrize(
    "data",
    [
        b"",
        text("x")[:-1],
        text("x") + b"\x81",
        text("one") + text("two"),
        text("x" * 126)[:-1],
        frame(BINARY, bytes(65_536)),
        frame(BINARY, bytes(125), length_bytes=2),
        frame(TEXT, b"x" * 300 + b"\xff"),
        text("x" * 300, fin=False),
        text("x", fin=False),
        text("x", rsv=4),
        text("x", key=None),
        frame(TEXT, b"\xff"),
        frame(PING),
        close_frame(1000),
        frame(CONTINUATION, b"x"),
        frame(BINARY, b"x", length_bytes=2),
    ],
)
def test_anything_else_is_left_to_the_general_reader(data: bytes) -> None:
    engine = WebSocket(LIMIT)
    assert handed_over(engine, data) is None
    assert drive([data], engine=engine) == reference(data)


@pytest.mark.parametrize("before", [text("x", fin=False), text("x")[:3], frame(PING, b"long")[:5], frame(3)])
def test_nothing_is_handed_over_while_something_else_is_in_progress_or_over(before: bytes) -> None:
    engine = WebSocket(LIMIT)
    engine.receive(before)
    assert handed_over(engine, text("message")) is None


def test_nothing_is_handed_over_after_the_end_while_streaming_or_past_the_limit() -> None:
    ended, closing, streaming = WebSocket(LIMIT), WebSocket(LIMIT), WebSocket(LIMIT)
    ended.receive_eof()
    closing.close()
    streaming.stream_next(True)
    for engine in (ended, closing, streaming, WebSocket(5)):
        assert handed_over(engine, text("message")) is None
    streaming.stream_next(False)
    assert handed_over(streaming, text("message")) == (TEXT, b"message")


# Limits


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, LIMIT])
def test_a_message_as_large_as_the_limit_passes_and_one_byte_more_does_not(opcode: int, size: int) -> None:
    assert drive([frame(opcode, b"x" * size)], size).messages == [(opcode, b"x" * size)]
    assert drive([frame(opcode, b"x" * (size + 1))], size) == Outcome([], server_failure(1009), 1009)


def test_tiny_and_empty_fragments_take_no_more_memory_than_the_limit() -> None:
    limit = 10_000
    engine = WebSocket(limit)
    engine.receive(frame(BINARY, b"x", fin=False))
    one_byte = frame(CONTINUATION, b"x", fin=False) * 1_000
    empty = frame(CONTINUATION, b"", fin=False) * 1_000
    tracemalloc.start()
    try:
        for _ in range(9):
            engine.receive(one_byte)
            engine.receive(empty)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * limit + 30_000
    assert not engine.finished
    engine.receive(one_byte)
    assert (engine.close_code, engine.finished) == (1009, True)


def test_a_huge_length_reserves_no_memory() -> None:
    tracemalloc.start()
    try:
        engine = WebSocket(2**63 - 1)
        engine.receive(frame(BINARY, b"x" * 100, length=2**63 - 1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    assert not engine.finished


def test_a_failed_connection_holds_nothing_of_what_it_had_collected() -> None:
    engine = WebSocket(LIMIT)
    engine.receive(frame(BINARY, bytes(LIMIT), fin=False))
    tracemalloc.start()
    try:
        engine.receive(frame(3))
        for _ in range(100):
            engine.receive(bytes(10_000))
        current, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert engine.finished
    assert current < 50_000


# One connection and another


def test_the_unfinished_fragment_of_one_connection_is_never_delivered_to_another() -> None:
    one, two = WebSocket(LIMIT), WebSocket(LIMIT)
    one.receive(text("secret of one, ", fin=False))
    two.receive(text("secret of two, ", fin=False))
    two.receive(frame(CONTINUATION, b"end of two"))
    one.receive(frame(CONTINUATION, b"end of one"))
    assert list(one.messages) == [(TEXT, b"secret of one, end of one")]
    assert list(two.messages) == [(TEXT, b"secret of two, end of two")]


def test_a_fragment_left_by_one_connection_is_not_the_next_one_s_beginning() -> None:
    one = WebSocket(LIMIT)
    one.receive(text("secret", fin=False))
    one.receive_eof()
    two = WebSocket(LIMIT)
    two.receive(frame(CONTINUATION, b"!"))
    assert not two.messages
    assert two.close_code == 1002


@settings(max_examples=50, deadline=None)
@given(st.lists(ANY_BYTES, min_size=2, max_size=3), st.data())
def test_connections_that_take_turns_do_not_know_of_each_other(streams: list[bytes], data: st.DataObject) -> None:
    engines = [WebSocket(LIMIT) for _ in streams]
    outcomes = [Outcome() for _ in streams]
    places = [0] * len(streams)
    while any(place < len(stream) for place, stream in zip(places, streams, strict=True)):
        turn = data.draw(st.integers(0, len(streams) - 1))
        size = data.draw(st.integers(1, 40))
        piece = streams[turn][places[turn] : places[turn] + size]
        places[turn] += size
        part = drive([piece], engine=engines[turn])
        outcomes[turn].messages += part.messages
        outcomes[turn].output += part.output
        outcomes[turn].close = part.close
    assert outcomes == [reference(stream) for stream in streams]


# Answering


@pytest.mark.parametrize("payload", [b"", b"Hello", bytes(125)])
def test_a_ping_is_answered_with_its_own_payload(payload: bytes) -> None:
    engine = WebSocket(LIMIT)
    assert engine.receive(frame(PING, payload)) is True
    assert engine.output == [server_frame(PONG, payload)]


def test_receive_says_whether_something_other_than_messages_came() -> None:
    engine = WebSocket(LIMIT)
    assert engine.receive(text("one") + frame(BINARY, b"two")) is False
    assert engine.receive(text("three", fin=False)) is False
    assert engine.receive(frame(PONG)) is True


def test_our_ping_is_answered_by_its_own_payload_alone() -> None:
    engine = WebSocket(LIMIT)
    engine.ping(b"two")
    assert engine.output == [server_frame(PING, b"two")]
    engine.receive(frame(PONG, b"one") + frame(PONG))
    assert engine.ping_payload == b"two"
    engine.receive(frame(PONG, b"two"))
    assert engine.ping_payload is None
    engine.receive(frame(PONG, b"two"))
    assert engine.ping_payload is None


def test_a_ping_of_more_than_125_bytes_is_the_caller_s_mistake() -> None:
    engine = WebSocket(LIMIT)
    with pytest.raises(ValueError, match="126 bytes"):
        engine.ping(bytes(126))
    assert not engine.output
    assert engine.ping_payload is None


# The closing handshake


def test_the_peer_closes_and_is_echoed_its_code() -> None:
    engine = WebSocket(LIMIT)
    engine.receive(close_frame(3000, b"because"))
    assert engine.output == [server_close(3000)]
    assert (engine.state, engine.finished, engine.is_clean) == (State.CLOSING, True, True)
    assert (engine.close_code, engine.close_reason) == (3000, "because")
    engine.receive_eof()
    assert (engine.state, engine.close_code) == (State.CLOSED, 3000)


def test_a_close_frame_without_a_code_counts_as_1005_which_is_never_sent() -> None:
    engine = WebSocket(LIMIT)
    engine.receive(close_frame())
    assert engine.output == [server_close(None)]
    assert engine.close_code == 1005


def test_we_close_and_wait_for_the_peer_s_close_frame() -> None:
    engine = WebSocket(LIMIT)
    engine.close(4000, "bye")
    assert engine.output == [frame(CLOSE, b"\x0f\xa0bye", key=None)]
    assert (engine.state, engine.finished, engine.is_clean) == (State.CLOSING, False, False)
    engine.receive(close_frame(1000))
    assert (engine.finished, engine.is_clean) == (True, True)
    assert (engine.close_code, engine.close_reason) == (4000, "bye"), "ours was first"
    assert len(engine.output) == 1


def test_we_may_close_without_a_code() -> None:
    engine = WebSocket(LIMIT)
    engine.close(None)
    assert engine.output == [server_close(None)]
    assert engine.close_code == 1005


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_a_code_that_may_not_be_sent_leaves_the_connection_open(code: int) -> None:
    engine = WebSocket(LIMIT)
    with pytest.raises(ValueError, match="close code"):
        engine.close(code)
    assert engine.state is State.OPEN
    assert not engine.output


def test_nothing_is_sent_after_a_close_frame() -> None:
    engine = WebSocket(LIMIT)
    engine.close()
    engine.close(1001)
    engine.receive(frame(PING, b"?"))
    engine.fail(KeepaliveTimeout("late"))
    with pytest.raises(ConnectionClosed):
        engine.ping(b"")
    with pytest.raises(ConnectionClosed):
        engine.check_open()
    assert engine.output == [server_close(1000)]


def test_messages_that_cross_our_close_frame_are_nobody_s() -> None:
    engine = WebSocket(LIMIT)
    engine.close()
    engine.receive(
        text("whole") + text("long" * 100) + text("in ", fin=False) + frame(CONTINUATION, b"parts") + close_frame(1000)
    )
    assert not engine.messages
    assert engine.is_clean


def test_a_fault_after_our_close_frame_ends_it_without_another_one() -> None:
    engine = WebSocket(LIMIT)
    engine.close(1001)
    engine.receive(frame(3))
    assert engine.output == [server_close(1001)]
    assert (engine.finished, engine.is_clean, engine.close_code) == (True, False, 1001)


def test_the_end_of_the_stream_without_a_close_frame_is_1006() -> None:
    engine = WebSocket(LIMIT)
    engine.receive_eof()
    assert (engine.state, engine.finished, engine.close_code) == (State.CLOSED, True, 1006)
    assert not engine.output
    engine.receive_eof()
    error = engine.closed_error()
    assert (error.code, error.reason, error.is_clean, error.__cause__) == (1006, "", False, None)


def test_the_end_of_the_stream_after_our_close_frame_alone_is_1006_too() -> None:
    engine = WebSocket(LIMIT)
    engine.close(1000)
    engine.receive_eof()
    assert (engine.close_code, engine.is_clean) == (1006, False)


def test_nothing_is_received_after_the_end_of_the_stream() -> None:
    engine = WebSocket(LIMIT)
    engine.receive_eof()
    assert engine.receive(text("ghost") + frame(PING)) is False
    assert not engine.messages
    assert not engine.output


def test_after_failing_further_data_is_ignored() -> None:
    engine = WebSocket(LIMIT)
    assert engine.receive(frame(3)) is True
    assert engine.receive(text("late") + frame(PING) + close_frame(1000)) is False
    assert not engine.messages
    assert engine.output == [server_failure(1002)]
    assert engine.close_code == 1002
    engine.receive_eof()
    assert engine.close_code == 1002


def test_a_failure_tells_the_application_its_cause_but_the_peer_only_its_kind() -> None:
    engine = WebSocket(LIMIT)
    engine.receive(frame(TEXT, b"\xff"))
    error = engine.closed_error()
    assert error.code == 1007
    assert error.is_clean is False
    assert isinstance(error.__cause__, FrameError)
    assert engine.output == [server_failure(1007)]


def test_the_owner_may_fail_the_connection_once() -> None:
    engine = WebSocket(LIMIT)
    first = KeepaliveTimeout("no pong")
    engine.fail(first)
    engine.fail(KeepaliveTimeout("again"))
    assert engine.cause is first
    assert engine.output == [frame(CLOSE, b"\x03\xf3no answer to a ping", key=None)]


def test_an_open_connection_has_no_closed_error() -> None:
    with pytest.raises(InvalidState):
        WebSocket(LIMIT).closed_error()


# An ending behind messages is held back until they have been taken


def test_a_close_frame_behind_a_message_lets_the_application_answer_first() -> None:
    engine = WebSocket(LIMIT)
    assert engine.receive(text("question") + close_frame(3001, b"bye")) is True
    assert engine.state is State.OPEN
    assert not engine.output
    engine.check_open()
    engine.messages.clear()
    engine.settle()
    assert engine.output == [server_close(3001)]
    assert (engine.finished, engine.is_clean, engine.close_code, engine.close_reason) == (True, True, 3001, "bye")


def test_a_fault_behind_a_message_lets_the_application_answer_first() -> None:
    engine = WebSocket(LIMIT)
    assert engine.receive(text("question") + frame(3)) is True
    assert engine.state is State.OPEN
    engine.settle()
    assert engine.output == [server_failure(1002)]


@pytest.mark.parametrize("ending", [close_frame(1000), frame(3)])
def test_nothing_is_processed_after_an_ending_that_is_held_back(ending: bytes) -> None:
    engine = WebSocket(LIMIT)
    engine.receive(text("one") + ending + text("late") + frame(PING))
    assert engine.receive(text("later") + frame(PING)) is False
    assert list(engine.messages) == [(TEXT, b"one")]
    assert not engine.output


def test_without_messages_that_wait_an_ending_is_not_held_back() -> None:
    for ending, code in ((close_frame(1000), 1000), (frame(3), 1002)):
        engine = WebSocket(LIMIT)
        engine.receive(text("one"))
        engine.messages.clear()
        engine.receive(ending)
        assert (engine.finished, engine.close_code) == (True, code)


def test_after_our_close_frame_an_ending_is_not_held_back() -> None:
    engine = WebSocket(LIMIT)
    engine.receive(text("unread"))
    engine.close(1001)
    engine.receive(close_frame(1001))
    assert (engine.finished, engine.is_clean) == (True, True)


@pytest.mark.parametrize(
    ("ending", "answer", "code", "is_clean"),
    [(close_frame(3001), server_close(3001), 3001, True), (frame(3), server_failure(1002), 1002, False)],
)
def test_closing_carries_out_what_was_held_back_instead(
    ending: bytes, answer: bytes, code: int, is_clean: bool
) -> None:
    engine = WebSocket(LIMIT)
    engine.receive(text("unread") + ending)
    engine.close(1000)
    assert engine.output == [answer]
    assert (engine.finished, engine.is_clean, engine.close_code) == (True, is_clean, code)


def test_the_end_of_the_stream_does_not_hide_the_close_frame_that_was_held_back() -> None:
    engine = WebSocket(LIMIT)
    engine.receive(text("unread") + close_frame(3001))
    engine.receive_eof()
    assert (engine.state, engine.close_code, engine.close_received) == (State.CLOSED, 3001, True)


def test_a_connection_failed_by_its_owner_stays_so_when_it_is_settled() -> None:
    engine = WebSocket(LIMIT)
    engine.receive(text("unread") + close_frame(3001))
    engine.fail(KeepaliveTimeout("no pong"))
    engine.settle()
    assert engine.output == [frame(CLOSE, b"\x03\xf3no answer to a ping", key=None)]
    assert engine.close_code == 1011


def test_settling_without_an_ending_does_nothing() -> None:
    engine = WebSocket(LIMIT)
    engine.settle()
    assert (engine.state, engine.finished, engine.output) == (State.OPEN, False, None)


# Streaming


def pieces_of(engine: WebSocket) -> list[tuple[Any, ...]]:
    taken = [tuple(item) for item in engine.messages]
    engine.messages.clear()
    return taken


def test_a_streamed_message_comes_piece_by_piece_and_the_next_one_whole() -> None:
    engine = WebSocket(LIMIT)
    engine.stream_next(True)
    raw = text("Hello", fin=False)
    engine.receive(raw[:8])
    assert pieces_of(engine) == [(TEXT, b"He", False)]
    engine.receive(raw[8:])
    assert pieces_of(engine) == [(TEXT, b"llo", False)]
    engine.receive(frame(PING, b"?"))
    assert pieces_of(engine) == []
    assert engine.streaming
    engine.receive(frame(CONTINUATION, b", world") + text("next"))
    assert pieces_of(engine) == [(TEXT, b", world", True), (TEXT, b"next")]
    assert not engine.streaming


def test_an_empty_fragment_is_no_piece_unless_it_is_the_last() -> None:
    engine = WebSocket(LIMIT)
    engine.stream_next(True)
    engine.receive(frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"", fin=False))
    assert pieces_of(engine) == []
    engine.receive(frame(CONTINUATION, b""))
    assert pieces_of(engine) == [(BINARY, b"", True)]


def test_streaming_may_begin_in_the_middle_of_a_message() -> None:
    engine = WebSocket(LIMIT)
    engine.receive(frame(BINARY, b"ab", fin=False))
    assert pieces_of(engine) == []
    engine.stream_next(True)
    assert pieces_of(engine) == [(BINARY, b"ab", False)]
    engine.receive(frame(CONTINUATION, b"cd", fin=False))
    assert pieces_of(engine) == [(BINARY, b"cd", False)]


def test_the_limit_holds_for_a_streamed_message() -> None:
    engine = WebSocket(10)
    engine.stream_next(True)
    engine.receive(frame(BINARY, b"12345678", fin=False))
    engine.messages.clear()
    engine.receive(frame(CONTINUATION, b"123", fin=False))
    assert engine.close_code == 1009


def test_a_streamed_text_fails_in_the_piece_that_is_no_utf8() -> None:
    engine = WebSocket(LIMIT)
    engine.stream_next(True)
    engine.receive(text("ok", fin=False))
    engine.messages.clear()
    engine.receive(frame(CONTINUATION, b"\xf4\x90", fin=False))
    assert engine.close_code == 1007


# What is held

BIG = 200_000


def unfinished() -> WebSocket:
    engine = WebSocket(LIMIT)
    engine.receive(
        frame(BINARY, b"x" * BIG, fin=False) + frame(CONTINUATION, b"y" * BIG, fin=False, length=2 * BIG)[:BIG]
    )
    return engine


ENDINGS: dict[str, Callable[[WebSocket], object]] = {
    "the end of the stream": lambda engine: engine.receive_eof(),
    "our close frame": lambda engine: engine.close(1000),
    "our close frame, and all that the peer goes on to send": lambda engine: (
        engine.close(1000),
        engine.receive(b"z" * BIG),
        engine.receive(frame(CONTINUATION, b"z" * BIG, fin=False)),
    ),
    "a failure of ours": lambda engine: engine.fail(KeepaliveTimeout("no answer")),
    "a fault": lambda engine: engine.receive(b"y" * (BIG + 14) + frame(TEXT, b"z" * BIG)),
    "a text that is none": lambda engine: (
        engine.receive(b"y" * (BIG + 14)),
        engine.receive(frame(CONTINUATION)),
        engine.messages.clear(),
        engine.receive(frame(TEXT, b"z" * BIG + b"\xff")),
    ),
    "a fragment that is no text": lambda engine: (
        engine.receive(b"y" * (BIG + 14)),
        engine.receive(frame(CONTINUATION)),
        engine.messages.clear(),
        engine.receive(frame(TEXT, b"z" * BIG, fin=False)),
        engine.receive(frame(CONTINUATION, b"z" * BIG + b"\xff", fin=False)),
    ),
    "a closing handshake": lambda engine: engine.receive(b"y" * (BIG + 14) + close_frame(1000)),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_ended_connection_holds_no_payload(ending: str) -> None:
    """Nor does what remembers the fault: its traceback, or the decoder's own exception behind it."""
    ENDINGS[ending](unfinished())  # what is made once is made
    tracemalloc.start()
    try:
        engine = unfinished()
        assert tracemalloc.get_traced_memory()[0] > BIG
        ENDINGS[ending](engine)
        assert engine.state is not State.OPEN
        assert tracemalloc.get_traced_memory()[0] < BIG / 4
    finally:
        tracemalloc.stop()


def test_a_message_that_crosses_our_close_frame_still_has_a_limit() -> None:
    engine = WebSocket(1_000)
    engine.close(1000)
    engine.receive(frame(BINARY, b"x" * 600, fin=False) + frame(CONTINUATION, b"x" * 600, fin=False))
    assert engine.cause is not None
    assert engine.cause.close_code == 1009


@pytest.mark.parametrize("size", [0, 1, 2, 7, 64, 125, 126, 500])
def test_what_waits_is_counted_as_what_it_takes(size: int) -> None:
    """Of a flood of short messages the bytes that make them messages are nearly all."""
    data = frame(BINARY, b"x" * size)
    count = min(MAX_WAITING, 100)
    WebSocket(LIMIT).receive(data)
    engine = WebSocket(LIMIT)
    gc.collect()
    gc.disable()  # a collection would make some ready again
    used_up = [(number, data) for number in range(5_000)]  # the tuples that CPython has ready
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(count):
            engine.receive(data)
        taken = (tracemalloc.get_traced_memory()[0] - before) / count
    finally:
        tracemalloc.stop()
        gc.enable()
    assert len(engine.messages) == count
    assert len(used_up) > count
    # CPython 3.10 takes 62 bytes for an empty message, later versions more.
    assert 0.4 * (size + MESSAGE_OVERHEAD) < taken < 1.05 * (size + MESSAGE_OVERHEAD)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("piece", [text("x"), frame(BINARY), frame(TEXT, b"x", fin=False) + frame(CONTINUATION)])
def test_of_a_flood_in_one_read_no_more_become_messages_than_may_wait(piece: bytes, streaming: bool) -> None:
    engine = WebSocket(LIMIT)
    engine.stream_next(streaming)
    flood = piece * 30_000
    assert engine.receive(flood + frame(PING, b"at last")), "there is a rest to be told of"
    seen = 0
    while engine.has_rest:
        assert 0 < len(engine.messages) <= MAX_WAITING
        assert not engine.is_idle
        seen += len(engine.messages)
        engine.messages.clear()
        engine.receive(b"")
    assert len(engine.messages) <= MAX_WAITING
    assert seen + len(engine.messages) == 30_000 + (streaming and len(piece) > 12)
    assert engine.output == [server_frame(PONG, b"at last")]
    assert engine.is_idle


def test_bytes_that_come_behind_a_rest_wait_behind_it() -> None:
    engine = WebSocket(LIMIT)
    engine.receive(text("x") * (MAX_WAITING + 1))
    engine.receive(text("y"))
    assert len(engine.messages) == MAX_WAITING
    engine.messages.clear()
    engine.receive(b"")
    assert list(engine.messages) == [(TEXT, b"x"), (TEXT, b"y")]


def test_behind_our_close_frame_nothing_waits() -> None:
    """The peer's may be in the rest."""
    engine = WebSocket(LIMIT)
    engine.receive(text("x") * (MAX_WAITING + 100) + close_frame(1000))
    assert not engine.close_received
    engine.close(1000)
    engine.receive(b"")
    assert engine.is_clean
    assert len(engine.messages) == MAX_WAITING


def test_a_frame_that_came_in_two_reads_leaves_it_idle() -> None:
    engine = WebSocket(LIMIT)
    engine.receive(text("hello")[:4])
    assert not engine.is_idle
    engine.receive(text("hello")[4:])
    assert engine.is_idle


def test_a_connection_whose_limit_is_the_longest_short_message_begins_idle() -> None:
    assert WebSocket(65_535).is_idle
    assert not WebSocket(65_534).is_idle


def test_a_failed_connection_has_no_rest() -> None:
    engine = WebSocket(LIMIT)
    engine.receive(text("") * (MAX_WAITING + 1))
    assert engine.has_rest
    engine.fail(FrameError("bad"))
    assert not engine.has_rest


def test_a_message_in_one_frame_that_is_too_big_names_its_size_and_the_limit() -> None:
    engine = WebSocket(10)
    engine.receive(text("eleven byte"))
    assert isinstance(engine.cause, MessageTooBig)
    assert (engine.cause.size, engine.cause.limit) == (11, 10)


def test_every_frame_is_counted() -> None:
    engine = WebSocket(LIMIT)
    engine.receive(text("short") + frame(BINARY, b"x" * 70_000) + frame(PING) + frame(PONG))
    engine.receive(text("He", fin=False) + frame(PING) + frame(CONTINUATION, b"llo", fin=False))
    engine.receive(frame(CONTINUATION)[:3])
    engine.receive(frame(CONTINUATION)[3:] + close_frame(1000))
    assert engine.frames_received == 9


# The table


def test_a_closed_connection_cannot_move_any_more() -> None:
    assert TRANSITIONS[State.CLOSED] == {}
    assert set(TRANSITIONS) == set(State)


def test_every_input_leads_away_from_open() -> None:
    assert set(TRANSITIONS[State.OPEN]) == set(Input)
    assert State.OPEN not in TRANSITIONS[State.OPEN].values()
    assert State.OPEN not in TRANSITIONS[State.CLOSING].values()
