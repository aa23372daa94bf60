"""An engine's transcript: a line for each thing that happens, nothing of a payload, and no other behaviour."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.websocket_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, frame, text

from uwsgi_ws.errors import ConnectionClosed
from uwsgi_ws.protocol.websocket.engine import WebSocket
from uwsgi_ws.protocol.websocket.prepared import Prepared

VECTORS = sorted((Path(__file__).parents[3] / "vectors" / "websocket").rglob("*.bin"))
LIMIT = 1_048_576


def traced() -> tuple[WebSocket, list[str]]:
    lines: list[str] = []
    return WebSocket(LIMIT, trace=lines.append), lines


def test_frames_that_come_and_go_are_told_with_their_sizes() -> None:
    engine, lines = traced()
    engine.receive(text("hello") + frame(BINARY, b"x" * 70_000))
    engine.receive(frame(TEXT, b"hel", fin=False) + frame(PING, b"ping") + frame(CONTINUATION, b"lo"))
    engine.encode(TEXT, b"answer")
    engine.encode_long(BINARY, b"long")
    engine.frame_of(Prepared(TEXT, b"to many"))
    engine.ping(b"")
    engine.receive(frame(PONG))
    assert lines == [
        "< TEXT 5",
        "< BINARY 70000",
        "< TEXT 3 more",
        "< PING 4",
        "> PONG 4",
        "< CONTINUATION 2",
        "> TEXT 6",
        "> BINARY 4",
        "> TEXT 7",
        "> PING 0",
        "< PONG 0",
    ]


def test_a_closing_handshake_of_the_peer_s() -> None:
    engine, lines = traced()
    engine.receive(close_frame(1001, b"secret"))
    engine.receive_eof()
    assert lines == ["< CLOSE 8", "= CLOSING 1001", "> CLOSE 2", "= CLOSED 1001"]


def test_a_closing_handshake_of_ours() -> None:
    engine, lines = traced()
    engine.close(4000, "over")
    engine.receive(close_frame(4000))
    engine.receive_eof()
    assert lines == ["= CLOSING 4000", "> CLOSE 6", "< CLOSE 2", "= CLOSED 4000"]


def test_a_fault_is_told_with_its_close_code_and_cause() -> None:
    engine, lines = traced()
    engine.receive(frame(3, b"?"))
    assert lines == ["! 1002 reserved opcode 0x3", "= CLOSING 1002", "> CLOSE 16"]


def test_a_stream_that_just_ends() -> None:
    engine, lines = traced()
    engine.receive_eof()
    assert lines == ["= CLOSED 1006"]


def test_what_cannot_be_sent_any_more_is_not_told_as_sent() -> None:
    engine, lines = traced()
    engine.receive_eof()
    lines.clear()
    for send in (engine.encode, engine.encode_long):
        with pytest.raises(ConnectionClosed):
            send(TEXT, b"late")
    with pytest.raises(ConnectionClosed):
        engine.frame_of(Prepared(TEXT, b"late"))
    assert lines == []


def test_it_may_begin_and_end_at_any_time() -> None:
    engine = WebSocket(LIMIT)
    assert engine.is_idle
    assert engine.is_quiet
    lines: list[str] = []
    engine.trace_to(lines.append)
    assert not engine.is_idle, "a message would go past the engine"
    engine.receive(text("a"))
    engine.encode(TEXT, b"b")
    engine.trace_to(None)
    assert engine.is_idle
    assert engine.is_quiet
    engine.receive(text("c"))
    engine.encode(TEXT, b"d")
    assert lines == ["< TEXT 1", "> TEXT 1"]
    engine.receive_eof()
    engine.trace_to(None)
    assert not engine.is_quiet, "it is not open"


def all_of(engine: WebSocket, raw: bytes) -> tuple[object, ...]:
    engine.receive(raw)
    messages = list(engine.messages)
    engine.messages.clear()
    engine.settle()
    return messages, engine.output, engine.close_code, engine.has_rest


@pytest.mark.parametrize("vector", VECTORS, ids=lambda path: path.stem)
def test_what_is_traced_is_dealt_with_as_ever(vector: Path) -> None:
    raw = vector.read_bytes()
    engine, lines = traced()
    assert all_of(engine, raw) == all_of(WebSocket(LIMIT), raw)
    assert all(json.dumps(line) == f'"{line}"' for line in lines), "nothing in it needs to be escaped"


def test_a_tap_is_told_of_messages_and_control_frames_with_their_payloads() -> None:
    engine = WebSocket(LIMIT)
    told: list[tuple[str, int, bytes]] = []
    engine.receive(text("before"))
    engine.tap_to(lambda *event: told.append(event))
    assert engine.is_watched
    assert not engine.is_idle, "the short way would tell nobody"
    engine.receive(text("hello") + frame(TEXT, b"hel", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"lo"))
    engine.encode(TEXT, b"answer")
    engine.encode_long(BINARY, b"long")
    engine.encode_plain(BINARY, b"plain")
    engine.frame_of(Prepared(TEXT, b"to many"))
    engine.messages.clear()
    engine.receive(close_frame(4000, b"over"))
    engine.receive_eof()
    assert told == [
        ("<", TEXT, b"hello"),
        ("<", PING, b"p"),
        (">", PONG, b"p"),
        ("<", TEXT, b"hello"),
        (">", TEXT, b"answer"),
        (">", BINARY, b"long"),
        (">", BINARY, b"plain"),
        (">", TEXT, b"to many"),
        ("<", CLOSE, b"\x0f\xa0over"),
        (">", CLOSE, b"\x0f\xa0"),
        ("=", 4000, b"over"),
    ]


def test_what_is_streamed_is_tapped_in_pieces() -> None:
    engine = WebSocket(LIMIT)
    told: list[bytes] = []
    engine.tap_to(lambda sign, opcode, payload: told.append(payload))
    engine.stream_next(True)
    whole = frame(BINARY, b"abcd")
    engine.receive(whole[:-2])
    engine.receive(whole[-2:])
    assert told == [b"ab", b"cd"]


def test_without_a_tap_the_short_way_is_open_again() -> None:
    engine = WebSocket(LIMIT)
    engine.tap_to(lambda *event: None)
    engine.tap_to(None)
    assert engine.is_idle
    assert engine.is_quiet
    assert not engine.is_watched
    engine.trace_to(lambda line: None)
    engine.tap_to(lambda *event: None)
    engine.tap_to(None)
    assert engine.is_watched, "the trace is left"
