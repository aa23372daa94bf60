"""Records and packets: cut anywhere, torn by a death, never mixed up."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.channels.records import (
    BODY_SIZE,
    OVERHEAD,
    PACKET_SIZE,
    UNCOMPRESSED,
    Assembler,
    Decoder,
    Record,
    encode_name,
    encode_packet,
    encode_record,
)
from uwsgi_ws.errors import ChannelError

LIMIT = 1_000

MESSAGES = [1, 2, UNCOMPRESSED + 1, UNCOMPRESSED + 2]
records = st.builds(Record, st.text(st.characters(), max_size=20), st.sampled_from(MESSAGES), st.binary(max_size=50))


def encode(record: Record) -> bytes:
    return encode_record(encode_name(record.channel), record.opcode, record.payload)


def packets(stream: bytes, size: int, writer: int = 0, generation: int = 1, reader_generation: int = 1) -> list[bytes]:
    """Cut a stream into packets of ``size`` bytes of it."""
    return [
        encode_packet(writer, generation, reader_generation, stream[at : at + size])
        for at in range(0, len(stream), size)
    ]


def drain(assembler: Assembler, packets: list[bytes]) -> list[Record]:
    return [record for packet in packets for record in assembler.feed(packet)]


@given(st.lists(records, max_size=8), st.lists(st.integers(0, 700), max_size=8))
def test_a_stream_may_be_cut_anywhere(sent: list[Record], cuts: list[int]) -> None:
    stream = b"".join(map(encode, sent))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    decoder = Decoder(LIMIT)
    came = []
    for begin, end in pairwise(edges):
        came += decoder.feed(stream[begin:end])
    assert came == sent
    assert decoder.is_idle


@given(st.lists(records, min_size=1, max_size=4))
def test_byte_by_byte_a_record_comes_with_its_last_byte(sent: list[Record]) -> None:
    decoder = Decoder(LIMIT)
    for record in sent:
        *before, last = encode(record)
        for byte in before:
            assert decoder.feed(bytes([byte])) == []
            assert not decoder.is_idle
        assert decoder.feed(bytes([last])) == [record]


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_are_records_or_a_documented_error(data: bytes, piece: int) -> None:
    decoder = Decoder(LIMIT)
    try:
        for at in range(0, len(data), piece):
            for record in decoder.feed(data[at : at + piece]):
                assert record.opcode in MESSAGES
                assert len(record.payload) <= LIMIT
    except ChannelError:
        pass


def test_a_payload_above_the_limit_is_refused_before_it_has_come() -> None:
    decoder = Decoder(LIMIT)
    assert decoder.feed(encode(Record("a", 1, b"x" * LIMIT)))
    assert decoder.feed(encode(Record("a", 1, b"x" * (LIMIT + 1)))[:7]) == []
    assert str(decoder.error) == f"message of {LIMIT + 1} bytes, {LIMIT} allowed"


def test_an_opcode_of_neither_text_nor_binary_is_no_record() -> None:
    decoder = Decoder(LIMIT)
    assert decoder.feed(encode_record(b"a", 9, b"")) == []
    assert str(decoder.error) == "not a record: opcode 9"


def test_a_name_that_is_not_utf_8_is_no_record() -> None:
    decoder = Decoder(LIMIT)
    assert decoder.feed(encode_record(b"\xff", 1, b"")) == []
    assert str(decoder.error) == "not a record: the channel's name is not UTF-8"


@given(st.lists(records, max_size=4), st.integers(1, 90))
def test_the_records_before_an_error_are_whole_however_it_is_cut(before: list[Record], size: int) -> None:
    data = b"".join(map(encode, before)) + encode_record(b"a", 9, b"") + encode(Record("a", 1, b"too late"))
    decoder = Decoder(LIMIT)
    came: list[Record] = []
    for start in range(0, len(data), size):
        if decoder.error is None:
            came += decoder.feed(data[start : start + size])
    assert came == before
    assert decoder.is_idle, "nothing of it is kept"
    with pytest.raises(ChannelError, match="opcode 9"):
        decoder.feed(b"")


def test_a_name_may_be_anything_up_to_its_limit() -> None:
    for name in ("", "room 1", "Grüße/世界", "\udce4", "\0", "n" * 65_535):
        assert Decoder(LIMIT).feed(encode(Record(name, 1, b""))) == [Record(name, 1, b"")]
    with pytest.raises(ValueError, match="65536 bytes, 65535 allowed"):
        encode_name("n" * 65_536)
    with pytest.raises(TypeError, match="not int"):
        encode_name(7)  # type: ignore[arg-type]
    assert len(encode_record(encode_name("n" * 65_535), 1, b"")) == OVERHEAD


def test_a_packet_is_no_longer_than_a_pipe_takes_whole() -> None:
    assert len(encode_packet(127, 2**32 - 1, 2**32 - 1, b"x" * BODY_SIZE)) == PACKET_SIZE


@given(st.lists(records, max_size=6), st.lists(records, max_size=6), st.integers(1, 90), st.randoms())
def test_writers_do_not_disturb_each_other(ours: list[Record], theirs: list[Record], size: int, random: object) -> None:
    one = packets(b"".join(map(encode, ours)), size, writer=1)
    two = packets(b"".join(map(encode, theirs)), size, writer=2, generation=7)
    queues = [(one, 1), (two, 2)]
    mixed = []
    while one or two:
        queue, _ = random.choice([entry for entry in queues if entry[0]])  # type: ignore[attr-defined]
        mixed.append(queue.pop(0))
    came = drain(Assembler(1, LIMIT), mixed)
    marked_ours = [record for record in came if record in ours]
    assert sorted(came) == sorted(ours + theirs)
    if not set(ours) & set(theirs):
        assert marked_ours == ours
        assert [record for record in came if record in theirs] == theirs


@given(st.integers(1, 300), st.lists(records, min_size=1, max_size=4))
def test_a_writer_s_death_loses_its_last_record_and_nothing_of_its_successor(cut: int, after: list[Record]) -> None:
    last = encode(Record("a", 2, b"x" * 300))
    assembler = Assembler(1, LIMIT)
    assert drain(assembler, packets(encode(Record("a", 1, b"whole")) + last[:cut], 64)) == [Record("a", 1, b"whole")]
    assert drain(assembler, packets(b"".join(map(encode, after)), 64, generation=2)) == after
    assert assembler.torn == 1


def test_a_writer_that_died_between_two_records_has_torn_none() -> None:
    assembler = Assembler(1, LIMIT)
    drain(assembler, packets(encode(Record("a", 1, b"one")), 64))
    assert drain(assembler, packets(encode(Record("a", 1, b"two")), 64, generation=2)) == [Record("a", 1, b"two")]
    assert assembler.torn == 0


@given(st.integers(0, 4))
def test_a_successor_drops_what_its_predecessor_left_in_the_inbox(taken: int) -> None:
    sent = packets(encode(Record("a", 2, b"x" * 300)), 64)
    assert drain(Assembler(1, LIMIT), sent[:taken]) == []
    successor = Assembler(2, LIMIT)
    fresh = packets(encode(Record("a", 1, b"fresh")), 64, reader_generation=2)
    assert drain(successor, sent[taken:] + fresh) == [Record("a", 1, b"fresh")]
    assert successor.stale == len(sent) - taken


def test_a_writer_of_no_records_is_ignored_until_another_takes_its_place() -> None:
    assembler = Assembler(1, LIMIT)
    whole = Record("a", 1, b"before")
    assert assembler.feed(encode_packet(3, 1, 1, encode(whole) + b"\x09 nonsense")) == [whole]
    assert str(assembler.error) == "not a record: opcode 9"
    assert assembler.feed(encode_packet(3, 1, 1, encode(Record("a", 1, b"late")))) == []
    assert assembler.stale == 1
    assert assembler.feed(encode_packet(4, 1, 1, encode(Record("a", 1, b"other")))) == [Record("a", 1, b"other")]
    assert assembler.feed(encode_packet(3, 2, 1, encode(Record("a", 1, b"new")))) == [Record("a", 1, b"new")]
