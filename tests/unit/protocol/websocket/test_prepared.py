"""Messages on their way out: whoever gets one, and however, it is the frame that RFC 6455 asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

import uwsgi_ws
from uwsgi_ws.protocol.websocket import frames
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
