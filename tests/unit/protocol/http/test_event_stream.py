"""Server-Sent Events on the wire."""

from __future__ import annotations

import pytest

from uwsgi_ws.protocol.http.event_stream import (
    chunk,
    encode_binary,
    encode_event,
    encode_id,
    encode_retry,
    read_ids,
    write_ids,
)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one line", ["one line"]),
        ("", [""]),
        (" blanks ", [" blanks "]),
        ("a\nb\r\nc\rd\n", ["a", "b", "c", "d", ""]),
        ("\n\r", ["", "", ""]),
        ("id: 5\n\nretry: 1", ["id: 5", "", "retry: 1"]),
        ("Grüße\u2028\x85\x0b\x0c", ["Grüße\u2028\x85\x0b\x0c"]),  # of those the standard knows none
    ],
)
def test_each_line_of_a_message_is_a_field(text: str, lines: list[str]) -> None:
    assert encode_event(text.encode()).decode() == "".join(f"data: {line}\n" for line in lines)


def test_an_event_has_a_type_and_ends_with_its_id() -> None:
    assert encode_event(b"x", "gap") + encode_id("e-1 -") == b"event: gap\ndata: x\nid: e-1 -\n\n"
    assert encode_binary(b"\0\xff") == b"event: binary\ndata: AP8=\n"
    assert encode_retry(1500) == b"retry: 1500\n\n"


def test_a_chunk_says_its_length_in_hexadecimal() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_one_id_holds_the_positions_on_several_channels() -> None:
    positions = ["a-1", None, "b-22"]
    assert write_ids(positions) == "a-1 - b-22"
    assert read_ids("a-1 - b-22", 3) == positions


@pytest.mark.parametrize("text", ["a-1", "", "a b c", " \t"])
def test_an_id_for_other_channels_names_no_position(text: str) -> None:
    assert read_ids(text, 2) == ["", ""]
