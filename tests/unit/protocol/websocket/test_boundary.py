"""Where frames end in bytes that are only passed on, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.protocol.websocket.boundary import FrameBoundary

SIZES = (0, 1, 125, 126, 65_535, 65_536)
CLOSE = b"\x88\x02\x03\xe9"


def frame(size: int, masked: bool = False, first: int = 0x82) -> bytes:
    """RFC 6455 5.2, written out once more; the payload looks like headers of close frames."""
    if size < 126:
        length = bytes((size,))
    elif size < 65_536:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    mask = 0x80 if masked else 0
    return bytes((first, length[0] | mask)) + length[1:] + (b"mask" if masked else b"") + (b"\x88\0" * size)[:size]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_each_frame_ends_where_its_length_says(size: int, masked: bool) -> None:
    data = frame(size, masked)
    boundary = FrameBoundary()
    for byte in data[:20]:
        boundary.follow(bytes((byte,)))
    boundary.follow(data[20:])
    assert boundary.is_here
    assert FrameBoundary().follow_frame(data + data) == len(data)
    boundary.follow(data[:-1])
    assert not boundary.is_here
    assert boundary.has_close is False


@given(
    st.lists(st.tuples(st.sampled_from(SIZES[:4]), st.booleans()), max_size=6),
    st.lists(st.integers(0, 600), max_size=6),
)
def test_cutting_the_bytes_elsewhere_moves_no_boundary(shapes: list[tuple[int, bool]], cuts: list[int]) -> None:
    ends, data = [0], b""
    for size, masked in shapes:
        data += frame(size, masked)
        ends.append(len(data))
    boundary = FrameBoundary()
    before = 0
    for cut in sorted({min(cut, len(data)) for cut in cuts}):
        boundary.follow(data[before:cut])
        assert boundary.is_here == (cut in ends)
        before = cut
    found = []
    while before < len(data):
        before = boundary.follow_frame(data, before)
        found.append(before)
    assert found == [end for end in ends if end > max(cuts, default=0)]
    assert boundary.is_here


def test_a_close_frame_is_noticed_by_its_first_bytes() -> None:
    boundary = FrameBoundary()
    boundary.follow(frame(3) + CLOSE[:1])
    assert (boundary.is_here, boundary.has_close) == (False, False)
    boundary.follow(CLOSE[1:2])
    assert (boundary.is_here, boundary.has_close) == (False, True)
    boundary.follow(CLOSE[2:])
    assert (boundary.is_here, boundary.has_close) == (True, True)


def test_a_length_that_nobody_could_send_is_waited_for() -> None:
    boundary = FrameBoundary()
    assert boundary.follow_frame(b"\x82\x7f" + b"\xff" * 8 + bytes(100)) == 110
    assert not boundary.is_here


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_are_followed_to_their_end(pieces: list[bytes]) -> None:
    boundary = FrameBoundary()
    for piece in pieces:
        boundary.follow(piece)
    whole = FrameBoundary()
    whole.follow(b"".join(pieces))
    assert (boundary.is_here, boundary.has_close) == (whole.is_here, whole.has_close)
