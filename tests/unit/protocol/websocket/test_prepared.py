"""Messages on their way out: whoever gets one, and however, it is the frame that RFC 6455 asks for."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

import uwsgi_ws
from uwsgi_ws.protocol.websocket import frames
from uwsgi_ws.protocol.websocket.deflate import Agreement, Compressors, Deflate, DeflateSettings
from uwsgi_ws.protocol.websocket.engine import WebSocket
from uwsgi_ws.protocol.websocket.frames import BINARY, TEXT
from uwsgi_ws.protocol.websocket.prepared import Prepared


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
def test_an_engine_s_three_ways_to_make_a_data_frame_give_the_same_bytes(opcode: int, length: int) -> None:
    payload = b"x" * length
    engine = WebSocket(1_000)
    frame = frames.encode(opcode, payload)
    assert engine.encode(opcode, payload) == frame
    assert b"".join(engine.encode_long(opcode, payload)) == frame
    assert engine.frame_of(Prepared(opcode, payload)) == frame


def test_many_peers_share_one_frame() -> None:
    prepared = Prepared(TEXT, b"hello")
    assert WebSocket(1_000).frame_of(prepared) is WebSocket(2_000).frame_of(prepared)
    assert (prepared.opcode, prepared.payload, prepared.size) == (TEXT, b"hello", 5)


TEXTS = b"hello " * 100


def deflate(bits: int = 15, takeover: bool = False) -> Deflate:
    return Deflate(Agreement(bits, 15, takeover, False, ""), Compressors(DeflateSettings()))


def inflated(frame: bytes) -> bytes:
    """Return the payload of a compressed frame of up to 125 bytes (RFC 7692 7.2.2)."""
    assert frame[1] == len(frame) - 2
    return zlib.decompressobj(-15).decompress(frame[2:] + b"\x00\x00\xff\xff")


@pytest.mark.parametrize(("opcode", "first"), [(TEXT, 0xC1), (BINARY, 0xC2)])
def test_a_compressed_message_is_one_frame_that_inflates_to_it(opcode: int, first: int) -> None:
    frame = Prepared(opcode, TEXTS).compressed(deflate())
    assert frame[0] == first
    assert inflated(frame) == TEXTS


def test_a_message_is_compressed_once_for_each_window() -> None:
    prepared = Prepared(TEXT, bytes(range(32, 127)) * 20 + TEXTS)
    frame = prepared.compressed(deflate(15))
    assert prepared.compressed(deflate(15)) is frame
    other = prepared.compressed(deflate(9))
    assert other is not frame
    assert prepared.compressed(deflate(9)) is other
    assert prepared.compressed(deflate(15)) is frame


def test_a_message_that_may_not_be_compressed_goes_as_it_is() -> None:
    secret = Prepared(TEXT, TEXTS, may_compress=False)
    assert secret.compressed(deflate()) is secret.plain
    assert secret.may_compress is False


def test_a_message_that_would_not_be_shorter_goes_as_it_is() -> None:
    short = Prepared(TEXT, b"hello")
    assert short.compressed(deflate()) is short.plain
    assert short.compressed(deflate()) is short.plain


@pytest.mark.parametrize(("message", "is_forgotten"), [(TEXTS, True), (b"hello", False)])
def test_after_a_compressed_message_to_many_the_next_refers_to_no_earlier_one(
    message: bytes, is_forgotten: bool
) -> None:
    own = deflate(takeover=True)
    text = bytes(range(256)) * 2
    first = own.compress(text)
    Prepared(TEXT, message).compressed(own)
    again = own.compress(text)
    assert first is not None
    assert again is not None
    assert (again == first) is is_forgotten


def test_a_long_payload_is_not_copied() -> None:
    payload = b"x" * 100_000
    assert WebSocket(1_000).encode_long(BINARY, payload)[1] is payload


def test_only_the_protocol_s_own_room_makes_frames() -> None:
    """Or an extension would have to be known elsewhere, too."""
    package = Path(uwsgi_ws.__file__).parent
    makers = {
        str(path.relative_to(package).parent)
        for path in package.rglob("*.py")
        if any(name in path.read_text() for name in ("frames.encode", "encode_header", "SHORT_HEADERS"))
    }
    assert makers == {"protocol/websocket"}
