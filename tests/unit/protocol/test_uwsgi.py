"""uwsgi packets: vector files, properties over any bytes, and the writer that is the reader's inverse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.limits import make_limits

from uwsgi_ws.errors import RequestError
from uwsgi_ws.protocol import uwsgi
from uwsgi_ws.protocol.http.http1 import Head, RequestParser
from uwsgi_ws.protocol.uwsgi import PacketParser, encode_packet

VECTORS = Path(__file__).parents[2] / "vectors" / "uwsgi"
VALID = sorted((VECTORS / "valid").glob("*.bin"))
INVALID = sorted((VECTORS / "invalid").glob("*.bin"))
LIMITS = make_limits(body_size=1_000)
STATUSES = {400, 413, 501}
LEAST = {
    "REQUEST_METHOD": "GET",
    "REQUEST_URI": "/",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
}


def parse(pieces: list[bytes]) -> tuple[Head | None, bytes]:
    """Feed the pieces as a server does; return the head and what came behind the packet."""
    parser = PacketParser(LIMITS)
    head = None
    for piece in pieces:
        parser.receive(piece)
        if head is None:
            head = parser.next_head()
    return head, parser.take_rest()


def cuts(raw: bytes) -> list[list[bytes]]:
    """In one piece, in small ones, and in two at many places."""
    step = max(1, len(raw) // 100)
    return [
        [raw],
        [raw[i : i + step] for i in range(0, len(raw), step)],
        *([raw[:i], raw[i:]] for i in range(1, len(raw), step)),
    ]


def test_vector_files_are_found_and_complete() -> None:
    assert len(VALID) > 15
    assert len(INVALID) > 35
    assert {path.with_suffix("") for path in VECTORS.rglob("*.bin")} == {
        path.with_suffix("") for path in VECTORS.rglob("*.json")
    }


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_packet_gives_its_request_however_it_is_cut(path: Path) -> None:
    raw = path.read_bytes()
    expected: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    for pieces in cuts(raw):
        head, rest = parse(pieces)
        assert head is not None
        assert head.variables == expected["variables"]
        assert rest == expected.get("rest", "").encode("latin-1")
        assert head.size == len(raw) - len(rest)
        assert (head.content_length, head.chunked) == (expected.get("content_length"), expected.get("chunked", False))
        assert head.upgrade == expected.get("upgrade")
        assert (head.keep_alive, head.expects_continue) == (False, False)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_packet_cut_short_is_awaited(path: Path) -> None:
    raw = path.read_bytes()
    rest = json.loads(path.with_suffix(".json").read_text()).get("rest", "")
    packet = raw[: len(raw) - len(rest)]
    parser = PacketParser(LIMITS)
    assert not parser.has_partial
    parser.receive(packet[:-1])
    assert parser.next_head() is None
    assert parser.has_partial
    parser.receive(packet[-1:])
    assert parser.next_head() is not None
    assert not parser.has_partial


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_packet_is_refused_with_its_status_however_it_is_cut(path: Path) -> None:
    raw = path.read_bytes()
    expected = json.loads(path.with_suffix(".json").read_text())
    for pieces in cuts(raw):
        with pytest.raises(RequestError) as caught:
            parse(pieces)
        assert caught.value.status == expected["status"]


@pytest.mark.parametrize("modifier1", [m for m in range(256) if m not in (0, 5, 30)])
def test_a_modifier_that_is_not_spoken_is_refused_before_its_packet_has_come(modifier1: int) -> None:
    parser = PacketParser(LIMITS)
    parser.receive(bytes((modifier1, 0, 1, 0)))
    with pytest.raises(RequestError, match=f"modifier requested: {modifier1} "):
        parser.next_head()


def test_what_a_front_says_twice_is_told_by_name_and_lists_are_not() -> None:
    parser = PacketParser(LIMITS)
    pairs = [*LEAST.items(), ("HTTP_HOST", "a"), ("HTTP_HOST", "b"), ("X", "1"), ("X", "2"), ("X", "3")]
    parser.receive(encode_packet([*pairs, ("HTTP_ACCEPT", "a"), ("HTTP_ACCEPT", "b"), ("SAME", "1"), ("SAME", "1")]))
    assert parser.next_head() is not None
    assert parser.contradicted == ("HTTP_HOST", "X")


def test_http_on_a_uwsgi_socket_is_called_by_its_name() -> None:
    with pytest.raises(RequestError, match="this is HTTP"):
        parse([b"GET / HTTP/1.1\r\n"])


def test_names_are_one_object_for_all_and_the_table_of_them_is_bounded() -> None:
    names = []
    for _ in range(2):
        head, _ = parse([encode_packet([*LEAST.items(), ("X_NAME", "1")])])
        assert head is not None
        names.append(next(name for name in head.variables if name == "X_NAME"))
    assert names[0] is names[1]
    for first in range(0, 3_000, 1_000):
        parse([encode_packet([*LEAST.items(), *((f"X{number}", "") for number in range(first, first + 1_000))])])
    assert len(uwsgi._names) <= uwsgi._Names.CAPACITY


@pytest.mark.parametrize(
    ("head", "body"),
    [({"CONTENT_LENGTH": "5"}, b"hello"), ({"HTTP_TRANSFER_ENCODING": "chunked"}, b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")],
    ids=["counted", "chunked"],
)
def test_the_body_behind_a_packet_is_http1s_to_read(head: dict[str, str], body: bytes) -> None:
    for pieces in cuts(body + b"more"):
        parsed, _ = parse([encode_packet((LEAST | head).items())])
        assert parsed is not None
        parser = RequestParser.of_body(LIMITS, parsed)
        came = b""
        for piece in pieces:
            parser.receive(piece)
            while data := parser.next_body():
                came += data
        assert came == b"hello"
        assert parser.next_body() == b""
        assert not parser.has_partial
        assert parser.next_head() is None


def test_without_a_body_what_follows_a_packet_is_left_as_it_is() -> None:
    parsed, _ = parse([encode_packet(LEAST.items())])
    assert parsed is not None
    parser = RequestParser.of_body(LIMITS, parsed)
    parser.receive(b"\x81\x80")
    assert parser.next_body() == b""
    assert parser.take_rest() == b"\x81\x80"


def refusal(data: bytes) -> RequestError | None:
    try:
        parse([data])
    except RequestError as error:
        return error
    return None


@given(st.binary(max_size=200))
@example(b"\0\xff\xff\0")
def test_any_bytes_are_taken_or_refused_with_a_documented_status(data: bytes) -> None:
    error = refusal(data)
    assert error is None or error.status in STATUSES


@given(st.binary(max_size=100))
def test_any_variables_are_taken_or_refused_with_a_documented_status(block: bytes) -> None:
    error = refusal(b"\0" + len(block).to_bytes(2, "little") + b"\0" + block)
    assert error is None or error.status in STATUSES


NAMES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=50)


@given(st.dictionaries(NAMES, VALUES), st.sampled_from([0, 5]))
def test_what_is_written_is_read(variables: dict[str, str], modifier1: int) -> None:
    variables |= LEAST
    for name in ("CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "HTTP_UPGRADE"):
        variables.pop(name, None)
    head, rest = parse([encode_packet(variables.items(), modifier1)])
    assert head is not None
    assert head.variables == {"SCRIPT_NAME": "", **variables}
    assert rest == b""


def test_the_writer_makes_the_bytes_of_the_reference() -> None:
    assert encode_packet([("PATH_INFO", "/ws")], 5, 7) == b"\x05\x10\0\x07\x09\0PATH_INFO\x03\0/ws"


@pytest.mark.parametrize(
    "variables",
    [[("A", "x" * 65_536)], [("A" * 65_536, "")], [("A", "x" * 65_531)], [("A", "x" * 40_000)] * 2],
    ids=["value", "name", "by one byte", "together"],
)
def test_the_writer_refuses_what_no_packet_can_hold(variables: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="too long for a uwsgi packet"):
        encode_packet(variables)


def test_the_writer_fills_a_packet_to_its_last_byte() -> None:
    assert len(encode_packet([("A", "x" * 65_530)])) == 65_539


@pytest.mark.parametrize("method", ["G T", "GET\r\nX: y", "G\x00T", "(GET)", "\xe9"])
def test_a_method_is_a_token(method: str) -> None:
    packet = encode_packet(list({**LEAST, "REQUEST_METHOD": method}.items()))
    with pytest.raises(RequestError, match="the REQUEST_METHOD is malformed") as caught:
        parse([packet])
    assert caught.value.status == 400
