"""Messages as they are inside Redis: what goes in comes out, and what others put in is usable or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.channels.positions import Position
from uwsgi_ws.channels.records import GAP, PRESENCE, UNCOMPRESSED
from uwsgi_ws.channels.redis.wire import EXCLUDED_SIZE, KEPT, decode, decode_kept, encode, encode_gap
from uwsgi_ws.errors import ChannelError
from uwsgi_ws.protocol.websocket.frames import BINARY, TEXT

MARKS = st.just(b"") | st.binary(min_size=EXCLUDED_SIZE, max_size=EXCLUDED_SIZE)


@given(st.text() | st.text().map("\0ws".__add__), MARKS)
def test_text_comes_back(text: str, excluded: bytes) -> None:
    assert decode(encode(TEXT, text.encode(), excluded)) == (TEXT, text.encode(), excluded)


@given(st.binary() | st.binary().map(b"\0ws".__add__), MARKS)
def test_binary_comes_back(payload: bytes, excluded: bytes) -> None:
    assert decode(encode(BINARY, payload, excluded)) == (BINARY, payload, excluded)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@given(st.text().map(str.encode) | st.text().map(str.encode).map(b"\0ws".__add__), MARKS)
def test_what_is_not_to_be_compressed_comes_back_as_such(opcode: int, payload: bytes, excluded: bytes) -> None:
    opcode += UNCOMPRESSED
    assert decode(encode(opcode, payload, excluded)) == (opcode, payload, excluded)


def test_text_goes_as_it_is() -> None:
    assert encode(TEXT, b"hello") == b"hello"


def test_a_gap_comes_back() -> None:
    assert decode(encode_gap()) == (GAP, b"", b"")


@given(st.binary() | st.binary().map(b"\0ws".__add__))
def test_what_others_publish_is_a_message_or_refused(data: bytes) -> None:
    try:
        opcode, payload, _ = decode(data)
    except ChannelError:
        assert data.startswith(b"\0ws")
    else:
        assert opcode in (TEXT, BINARY, UNCOMPRESSED + TEXT, UNCOMPRESSED + BINARY, GAP, KEPT, PRESENCE)
        if opcode in (TEXT, UNCOMPRESSED + TEXT):
            payload.decode()


@pytest.mark.parametrize("data", [b"\0ws", b"\0wsx", b"\0wst\xff", b"\0wsu\xff", b"\0wsT", b"\0wsT" + bytes(15)])
def test_a_head_that_nobody_knows_is_refused(data: bytes) -> None:
    with pytest.raises(ChannelError, match="not a message"):
        decode(data)


def test_bytes_without_a_head_are_binary_if_they_are_no_text() -> None:
    assert decode(b"\xff") == (BINARY, b"\xff", b"")
    assert decode("é".encode()) == (TEXT, "é".encode(), b"")


@given(st.binary())
def test_a_position_stands_before_what_is_kept(data: bytes) -> None:
    opcode, payload, _ = decode(b"\0wskab12-17 " + data)
    assert opcode == KEPT
    assert decode_kept(payload) == (Position("ab12", 17), data)


@given(st.binary().filter(lambda data: b"-" not in data))
def test_what_has_no_position_is_not_kept(data: bytes) -> None:
    with pytest.raises(ChannelError, match="its position is"):
        decode_kept(data)
