"""Frame headers and close payloads (RFC 6455 5.2, 5.5, 7.4), and masking (5.3)."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.websocket_client import frame, masked

from uwsgi_ws.errors import ConnectionClosed, FrameError, InvalidDeflate, InvalidText, KeepaliveTimeout, MessageTooBig
from uwsgi_ws.protocol.websocket import frames
from uwsgi_ws.protocol.websocket.engine import WebSocket
from uwsgi_ws.protocol.websocket.frames import CloseCode
from uwsgi_ws.protocol.websocket.speed import Masker, unmask

DATA = (frames.CONTINUATION, frames.TEXT, frames.BINARY)
CONTROL = (frames.CLOSE, frames.PING, frames.PONG)
BOUNDARIES = [0, 1, 124, 125, 126, 127, 128, 255, 256, 65_534, 65_535, 65_536, 65_537, 2**31, 2**32, 2**63 - 1]
KEY = b"\x01\x02\x03\x04"

# RFC 6455 7.4.1, 7.4.2 and IANA's registry, written out one by one.
MAY_BE_SENT = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, *range(3000, 5000)]


# Headers received


def test_only_the_first_frame_of_a_message_may_be_compressed_and_only_by_agreement() -> None:
    """RFC 7692 6: RSV1, and no other reserved bit."""
    for opcode, rsv, fin in itertools.product(range(16), range(8), (0, 0x80)):
        header = bytes((fin | rsv << 4 | opcode, 0x80)) + b"mask"
        is_right = rsv == 0 or (rsv == 4 and opcode in (frames.TEXT, frames.BINARY))
        is_known = opcode in frames.NAMES and (fin or opcode < frames.CLOSE)
        if is_right and is_known:
            found = frames.parse_header(header, 0, takes_compressed=True)
            assert found == (bool(fin), opcode, 0, b"mask", 6, rsv == 4)
            unmasked = frames.parse_header(header[:1] + b"\0", 0, takes_unmasked=True, takes_compressed=True)
            assert unmasked == (bool(fin), opcode, 0, bytes(4), 2, rsv == 4)
        else:
            with pytest.raises(FrameError):
                frames.parse_header(header, 0, takes_compressed=True)
        if rsv:
            with pytest.raises(FrameError):
                frames.parse_header(header, 0)


@pytest.mark.parametrize("opcode", [frames.TEXT, frames.BINARY])
@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_the_header_of_a_compressed_message_is_a_plain_one_with_rsv1(opcode: int, length: int) -> None:
    plain, compressed = frames.encode_header(opcode, length), frames.encode_compressed_header(opcode, length)
    assert compressed == bytes((plain[0] | 0x40,)) + plain[1:]


@pytest.mark.parametrize("length", BOUNDARIES)
@pytest.mark.parametrize("opcode", DATA)
@pytest.mark.parametrize("fin", [True, False])
def test_a_header_with_any_length_is_read(opcode: int, length: int, fin: bool) -> None:
    data = frame(opcode, length=length, fin=fin, key=KEY)
    assert frames.parse_header(data, 0) == (fin, opcode, length, KEY, len(data), False)


@pytest.mark.parametrize("length", BOUNDARIES)
def test_a_header_that_is_not_all_there_is_no_header_yet(length: int) -> None:
    data = frame(frames.BINARY, length=length)
    for end in range(len(data)):
        assert frames.parse_header(data[:end], 0) is None


def test_a_header_is_read_where_it_starts() -> None:
    data = b"noise" + frame(frames.TEXT, b"Hello", key=KEY)
    assert frames.parse_header(data, 5) == (True, frames.TEXT, 5, KEY, 6, False)
    assert frames.parse_header(data, len(data)) is None


@pytest.mark.parametrize("opcode", CONTROL)
def test_control_frames_of_up_to_125_bytes_are_read(opcode: int) -> None:
    for length in (0, 125):
        header = frames.parse_header(frame(opcode, length=length), 0)
        assert header is not None
        assert (header.opcode, header.length) == (opcode, length)


@pytest.mark.parametrize(
    "start",
    [pytest.param(bytes((0x80 | rsv << 4 | frames.TEXT, 0x80)), id=f"RSV bits {rsv:03b}") for rsv in range(1, 8)]
    + [pytest.param(bytes((0x80 | opcode, 0x80)), id=f"opcode {opcode}") for opcode in (3, 4, 5, 6, 7, *range(11, 16))]
    + [
        pytest.param(b"\x81\x05", id="unmasked text"),
        pytest.param(b"\x89\x00", id="unmasked ping"),
        pytest.param(b"\x09\x80", id="fragmented ping"),
        pytest.param(b"\x08\x82", id="fragmented close"),
        pytest.param(b"\x89\xfe", id="ping with 16 bits of length"),
        pytest.param(b"\x8a\xff", id="pong with 64 bits of length"),
    ],
)
def test_what_two_bytes_show_to_be_wrong_fails_at_two_bytes(start: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        frames.parse_header(start, 0)
    assert caught.value.close_code == 1002


@pytest.mark.parametrize("length", [0, 1, 125])
def test_a_16_bit_length_that_fits_in_7_bits_is_refused(length: int) -> None:
    with pytest.raises(FrameError, match="shortest"):
        frames.parse_header(frame(frames.BINARY, length=length, length_bytes=2)[:4], 0)


@pytest.mark.parametrize("length", [0, 125, 126, 65_535])
def test_a_64_bit_length_that_fits_in_16_bits_is_refused(length: int) -> None:
    with pytest.raises(FrameError, match="shortest"):
        frames.parse_header(frame(frames.BINARY, length=length, length_bytes=8)[:10], 0)


@pytest.mark.parametrize("length", [2**63, 2**63 + 125, 2**64 - 1])
def test_a_length_with_its_most_significant_bit_set_is_refused(length: int) -> None:
    with pytest.raises(FrameError, match="most significant"):
        frames.parse_header(frame(frames.BINARY, length=length)[:10], 0)


# Headers and frames sent


@pytest.mark.parametrize("length", BOUNDARIES)
@pytest.mark.parametrize("opcode", [frames.TEXT, frames.BINARY])
def test_a_header_sent_has_the_shortest_form_and_no_mask(opcode: int, length: int) -> None:
    assert frames.encode_header(opcode, length) == frame(opcode, length=length, key=None)


@pytest.mark.parametrize("opcode", CONTROL)
def test_a_control_frame_sent_is_its_header_and_its_payload(opcode: int) -> None:
    for payload in (b"", b"Hello", bytes(125)):
        assert frames.encode(opcode, payload) == frame(opcode, payload, key=None)


@given(st.sampled_from([frames.TEXT, frames.BINARY]), st.integers(0, 2**63 - 1), st.binary(min_size=4, max_size=4))
def test_a_header_written_is_read_back(opcode: int, length: int, key: bytes) -> None:
    written = bytearray(frames.encode_header(opcode, length))
    written[1] |= frames.MASKED
    data = bytes(written) + key
    assert frames.parse_header(data, 0) == (True, opcode, length, key, len(data), False)


# Close frames


def test_the_codes_that_may_stand_in_a_close_frame_are_those_of_the_registry() -> None:
    assert [code for code in range(65_536) if frames.is_valid_close_code(code)] == MAY_BE_SENT


@pytest.mark.parametrize("code", [*MAY_BE_SENT[:12], 3000, 3999, 4000, 4999])
def test_a_close_frame_written_is_read_back(code: int) -> None:
    for reason in ("", "done", "süß €", "x" * 123):
        written = frames.encode_close(code, reason)
        assert written[0] == 0x88
        assert written[1] == len(written) - 2
        assert frames.parse_close(written[2:]) == (code, reason)


def test_a_close_frame_without_a_code_is_empty() -> None:
    assert frames.encode_close(None) == b"\x88\x00"
    assert frames.parse_close(b"") == (None, "")


def test_a_reason_without_a_code_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="needs a close code"):
        frames.encode_close(None, "why")


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535, 65_536])
def test_a_code_that_may_not_be_sent_is_refused_before_anything_is_written(code: int) -> None:
    with pytest.raises(ValueError, match=f"{code} is not a close code"):
        frames.encode_close(code)


def test_a_reason_of_more_than_123_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="124 bytes"):
        frames.encode_close(1000, "é" * 62)


@pytest.mark.parametrize("payload", [b"\x00", b"\x03", b"\xff"])
def test_a_close_payload_of_one_byte_is_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        frames.parse_close(payload)
    assert caught.value.close_code == 1002


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 65_535])
def test_a_close_code_that_may_not_be_sent_is_a_protocol_error(code: int) -> None:
    with pytest.raises(FrameError) as caught:
        frames.parse_close(code.to_bytes(2, "big") + b"why")
    assert caught.value.close_code == 1002


@pytest.mark.parametrize("reason", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", "€".encode()[:2]])
def test_a_close_reason_that_is_not_utf8_is_invalid_text(reason: bytes) -> None:
    with pytest.raises(InvalidText) as caught:
        frames.parse_close(b"\x03\xe8" + reason)
    assert caught.value.close_code == 1007


# Masking


@given(st.binary(max_size=200), st.binary(min_size=4, max_size=4))
def test_unmasking_is_the_rfc_s_xor_and_its_own_inverse(payload: bytes, key: bytes) -> None:
    assert unmask(key, payload) == masked(payload, key)
    assert unmask(key, unmask(key, payload)) == payload


@given(st.binary(max_size=100), st.binary(min_size=4, max_size=4), st.lists(st.integers(0, 100)))
def test_the_key_goes_on_where_a_payload_was_cut(payload: bytes, key: bytes, cuts: list[int]) -> None:
    masker = Masker(key)
    places = [0, *sorted(min(cut, len(payload)) for cut in cuts), len(payload)]
    pieces = [payload[start:end] for start, end in itertools.pairwise(places)]
    assert b"".join(masker.process(piece) for piece in pieces if piece) == masked(payload, key)


def test_each_close_code_has_a_name_and_may_be_sent_unless_it_tells_what_no_frame_told() -> None:
    never_sent = {CloseCode.NO_STATUS_RECEIVED, CloseCode.ABNORMAL_CLOSURE, CloseCode.TLS_HANDSHAKE}
    assert {code for code in CloseCode if not frames.is_valid_close_code(code)} == never_sent
    assert sorted(CloseCode) == sorted({code for code in MAY_BE_SENT if code < 3000} | never_sent)


def test_the_faults_of_a_peer_have_close_codes_of_the_registry() -> None:
    """The tree of errors imports nothing, so its numbers stand there bare."""
    codes = {
        FrameError: CloseCode.PROTOCOL_ERROR,
        InvalidText: CloseCode.INVALID_DATA,
        InvalidDeflate: CloseCode.INVALID_DATA,
        MessageTooBig: CloseCode.MESSAGE_TOO_BIG,
        KeepaliveTimeout: CloseCode.INTERNAL_ERROR,
    }
    assert {kind: kind.close_code for kind in (FrameError, *FrameError.__subclasses__())} == codes


def test_applications_get_plain_numbers() -> None:
    """Of a member of an enum, ``repr``, and in Python 3.10 ``str``, give the name."""
    engine = WebSocket(1_000)
    engine.close(CloseCode.GOING_AWAY)
    assert type(engine.close_code) is int
    assert type(engine.closed_error().code) is int
    assert type(ConnectionClosed(CloseCode.ABNORMAL_CLOSURE).code) is int
    assert str(ConnectionClosed(CloseCode.ABNORMAL_CLOSURE)) == "connection closed: 1006"


def test_no_close_code_stands_bare_in_the_package() -> None:
    package = Path(frames.__file__).parents[2]
    bare = []
    for path in package.rglob("*.py"):
        numbers = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        if any(type(number.value) is int and 1001 <= number.value <= 1015 for number in numbers):
            bare.append(str(path.relative_to(package)))
    assert set(bare) <= {"errors.py", "process/worker.py", "protocol/websocket/frames.py"}
