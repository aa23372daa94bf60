"""Messages from pieces: their limit, and UTF-8 that is judged as early as it can be (RFC 6455 5.4, 8.1)."""

from __future__ import annotations

import itertools
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.errors import InvalidText, MessageTooBig
from uwsgi_ws.protocol.websocket.deflate import Inflater
from uwsgi_ws.protocol.websocket.frames import BINARY, TEXT
from uwsgi_ws.protocol.websocket.messages import Assembler, as_message, check_text
from uwsgi_ws.protocol.websocket.speed import Masker

WIDTHS = "a é € 😀"

# Bytes that cannot begin UTF-8, and how many of them it takes to know (Unicode 3.9, table 3-7).
IMPOSSIBLE = [
    (b"\x80", 1),
    (b"\xbf", 1),
    (b"\xc0\xaf", 1),
    (b"\xc1\xbf", 1),
    (b"\xc2\x00", 2),
    (b"\xe0\x80\x80", 2),
    (b"\xe0\x9f\xbf", 2),
    (b"\xed\xa0\x80", 2),
    (b"\xe2\x82\x28", 3),
    (b"\xf0\x8f\xbf\xbf", 2),
    (b"\xf4\x90\x80\x80", 2),
    (b"\xf0\x9f\x98\x28", 4),
    (b"\xf5\x80\x80\x80", 1),
    (b"\xff", 1),
]


def test_pieces_are_joined_in_order() -> None:
    assembler = Assembler(BINARY, 100)
    for piece in (b"one ", b"", b"two ", b"\xff"):
        assembler.announce(len(piece))
        assembler.add(piece)
    assert assembler.finish() == b"one two \xff"


def test_pieces_of_all_sizes_are_joined_in_order() -> None:
    pieces = [bytes([number]) * size for number, size in enumerate([1, 100_000, 2, 3, 50_000, 50_000, 1, 0])]
    assembler = Assembler(BINARY, 1_000_000)
    for piece in pieces:
        assembler.add(piece)
    assert assembler.finish() == b"".join(pieces)


def test_a_message_may_be_empty() -> None:
    for opcode in (TEXT, BINARY):
        assert Assembler(opcode, 0).finish() == b""


@pytest.mark.parametrize("lengths", [[10], [4, 6], [0, 10, 0], [1] * 10])
def test_a_message_as_large_as_the_limit_passes(lengths: list[int]) -> None:
    assembler = Assembler(BINARY, 10)
    for length in lengths:
        assembler.announce(length)
        assembler.add(bytes(length))
    assert assembler.finish() == bytes(10)


@pytest.mark.parametrize("lengths", [[11], [10, 1], [1] * 11, [2**63 - 1], [1, 2**63 - 1]])
def test_a_message_past_the_limit_is_refused_by_its_header(lengths: list[int]) -> None:
    assembler = Assembler(BINARY, 10)
    for length in lengths[:-1]:
        assembler.announce(length)
    with pytest.raises(MessageTooBig) as caught:
        assembler.announce(lengths[-1])
    assert caught.value.close_code == 1009
    assert (caught.value.size, caught.value.limit) == (sum(lengths), 10)


def test_what_was_taken_is_held_no_longer_but_still_counts() -> None:
    assembler = Assembler(BINARY, 10)
    assembler.announce(6)
    assembler.add(b"abc")
    assert assembler.take() == b"abc"
    assembler.add(b"def")
    assert assembler.take() == b"def"
    assert assembler.take() == b""
    with pytest.raises(MessageTooBig):
        assembler.announce(5)
    assert assembler.finish() == b""


@pytest.mark.parametrize(("bad", "enough"), IMPOSSIBLE)
@pytest.mark.parametrize("before", [b"", b"ok ", "é€😀".encode()])
def test_text_fails_at_the_first_impossible_byte(bad: bytes, enough: int, before: bytes) -> None:
    assembler = Assembler(TEXT, 100)
    for byte in before + bad[: enough - 1]:
        assembler.add(bytes([byte]))
    with pytest.raises(InvalidText) as caught:
        assembler.add(bad[enough - 1 : enough])
    assert caught.value.close_code == 1007


@pytest.mark.parametrize(("bad", "enough"), IMPOSSIBLE)
def test_text_fails_wherever_it_is_cut(bad: bytes, enough: int) -> None:
    data = b"ok" + bad + b"ok"
    for cut in range(len(data) + 1):
        assembler = Assembler(TEXT, 100)

        def add_both(assembler: Assembler = assembler, cut: int = cut) -> None:
            assembler.add(data[:cut])
            assembler.add(data[cut:])

        with pytest.raises(InvalidText):
            add_both()


@pytest.mark.parametrize("cut", ["é".encode()[:1], "€".encode()[:2], "😀".encode()[:1], "😀".encode()[:3]])
def test_text_that_ends_inside_a_character_is_refused_at_its_end(cut: bytes) -> None:
    assembler = Assembler(TEXT, 100)
    assembler.add(b"ok" + cut)
    with pytest.raises(InvalidText, match="inside a character"):
        assembler.finish()


@given(st.text(), st.lists(st.integers(0, 200)))
def test_text_passes_wherever_it_is_cut(message: str, cuts: list[int]) -> None:
    data = message.encode()
    assembler = Assembler(TEXT, len(data))
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(places):
        assembler.announce(end - start)
        assembler.add(data[start:end])
    assert assembler.finish() == data


@pytest.mark.parametrize("length", [100, 70_000])
def test_text_fails_at_ascii_inside_a_character_however_long_its_frame_is(length: int) -> None:
    assembler, masker = Assembler(TEXT, length), Masker(bytes(4))
    assembler.announce(length)
    assembler.add_masked(masker, b"ok \xc3")
    with pytest.raises(InvalidText):
        assembler.add_masked(masker, b"ok")


@pytest.mark.parametrize("length", [100, 70_000])
def test_of_a_dropped_message_nothing_is_held_but_its_size_counts(length: int) -> None:
    assembler, masker = Assembler(BINARY, length), Masker(bytes(4))
    assembler.announce(length)
    assembler.add_masked(masker, b"before")
    assembler.drop()
    assembler.add_masked(masker, b"after")
    with pytest.raises(MessageTooBig):
        assembler.announce(1)
    assert assembler.finish() == b""


@pytest.mark.parametrize("is_dropped", [False, True])
def test_a_compressed_message_is_inflated_unless_it_is_dropped(is_dropped: bool) -> None:
    assembler = Assembler(TEXT, 5, Inflater(zlib.decompressobj(-15), 9))
    assembler.announce(9)
    if is_dropped:
        assembler.drop()
    assembler.add_masked(Masker(bytes(4)), bytes.fromhex("000900f6ff48656c6c6f"))
    if is_dropped:
        assert assembler.finish() == b""
    else:
        assert assembler.take() == b"Hello"
        with pytest.raises(InvalidText):
            assembler.finish()


def test_binary_is_not_judged() -> None:
    assembler = Assembler(BINARY, 100)
    assembler.add(b"\xff\xfe")
    assert assembler.finish() == b"\xff\xfe"


@pytest.mark.parametrize("payload", [b"", b"ascii", WIDTHS.encode(), "\x00\ufeff\uffff\U0010ffff".encode()])
def test_a_whole_text_that_is_utf8_passes(payload: bytes) -> None:
    check_text(payload)


@pytest.mark.parametrize("payload", [bad for bad, _ in IMPOSSIBLE] + [WIDTHS.encode()[:-1]])
def test_a_whole_text_that_is_not_utf8_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidText) as caught:
        check_text(payload)
    assert caught.value.close_code == 1007


def test_tiny_and_empty_pieces_take_no_more_memory_than_their_bytes() -> None:
    limit = 30_000
    assembler = Assembler(TEXT, limit)
    tracemalloc.start()
    try:
        for _ in range(limit):
            assembler.announce(1)
            assembler.add(b"x")
            assembler.announce(0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * limit + 10_000
    assert assembler.finish() == b"x" * limit


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("é", (TEXT, "é".encode())),
        ("", (TEXT, b"")),
        (b"x", (BINARY, b"x")),
        (bytearray(b"x"), (BINARY, b"x")),
        (memoryview(b"xyz")[::2], (BINARY, b"xz")),
    ],
)
def test_text_is_sent_as_text_and_what_has_a_buffer_as_binary(message: Any, expected: tuple[int, bytes]) -> None:
    assert as_message(message) == expected
    assert type(as_message(message)[1]) is bytes


@pytest.mark.parametrize("message", [None, 5, ["x"], {"x": 1}])
def test_nothing_else_is_a_message(message: Any) -> None:
    with pytest.raises(TypeError, match="a message is str or bytes-like"):
        as_message(message)
