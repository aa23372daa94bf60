"""Header blocks and their memo: it never says anything else than hpack itself."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.fronts.http2.headers import FieldDecoder, FieldEncoder

NAMES = st.sampled_from([b"a", b"accept", b":path", b"date", b"cookie"])
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from([b"", b"1", b"/", b"x" * 40])), min_size=1, max_size=4)
SIZES = st.sampled_from([0, 64, 100, 4_096])


@given(st.lists(st.one_of(FIELDS, SIZES), max_size=30))
def test_what_is_packed_is_unpacked_again_whatever_the_tables_hold(steps: list[object]) -> None:
    """hpack unpacks what ours packs, and ours what hpack unpacks, with tables of any size that change in between."""
    encoder, ours, reference = FieldEncoder(), FieldDecoder(), Decoder()
    for step in steps:
        if isinstance(step, int):
            encoder.header_table_size = step
            continue
        assert isinstance(step, list)
        block = encoder.encode(step)
        assert ours.decode(block, raw=True) == reference.decode(block, raw=True) == step
        assert reference.header_table_size == encoder.header_table_size


def test_a_block_that_comes_again_is_unpacked_once() -> None:
    encoder, decoder = Encoder(), FieldDecoder()
    fields = [(b":method", b"GET"), (b"x-a", b"1")]
    first, again = encoder.encode(fields), encoder.encode(fields)
    assert decoder.decode(first) == fields
    known = decoder.decode(again)
    assert known == fields
    assert decoder.decode(again) is known
    encoder.encode([(b"x-b", b"2")])
    decoder.decode(b"\x40\x03x-b\x012")  # the same block means another field now
    assert decoder.decode(again) == [(b":method", b"GET"), (b"x-b", b"2")]


def test_the_memo_is_small() -> None:
    encoder, decoder = FieldEncoder(), FieldDecoder()
    for size in range(1, 400):
        block = b"\x82" * size
        assert len(decoder.decode(block)) == size
        encoder.encode([(b":method", b"GET")] * size)
    assert len(decoder._known) <= 16
    assert len(encoder._known) <= 16
    assert all(len(fields) <= 64 for fields in decoder._known.values())


@pytest.mark.parametrize(
    ("sizes", "announced"),
    [((100, 100), b"\x3f\x45"), ((100, 0), b"\x20"), ((0, 64, 100), b"\x20\x3f\x45"), ((4_096,), b"")],
)
def test_a_change_of_size_is_announced_once_though_the_block_is_known(sizes: tuple[int, ...], announced: bytes) -> None:
    encoder = FieldEncoder()
    fields = [(b":status", b"200")]
    assert encoder.encode(fields) == encoder.encode(fields) == b"\x88"
    for size in sizes:
        encoder.header_table_size = size
    assert encoder.encode(fields) == announced + b"\x88"
    assert encoder.encode(fields) == b"\x88"
