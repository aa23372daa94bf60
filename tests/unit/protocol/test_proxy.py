"""PROXY headers of both versions: vector files and properties over any bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from uwsgi_ws.errors import PeerError
from uwsgi_ws.protocol.proxy import ProxyHeader, is_header, parse_header

VECTORS = Path(__file__).parents[2] / "vectors" / "proxy"
VALID = sorted((VECTORS / "valid").glob("*.bin"))
INVALID = sorted((VECTORS / "invalid").glob("*.bin"))
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def test_vector_files_are_found_and_complete() -> None:
    assert len(VALID) > 15
    assert len(INVALID) > 30
    assert {path.with_suffix("") for path in VECTORS.rglob("*.bin")} == {
        path.with_suffix("") for path in VECTORS.rglob("*.json")
    }


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_header_is_awaited_to_its_last_byte_and_not_a_byte_longer(path: Path) -> None:
    raw = path.read_bytes()
    expected = json.loads(path.with_suffix(".json").read_text())
    source = expected["source"] and tuple(expected["source"])
    for end in range(len(raw)):
        assert parse_header(raw[:end]) is None
    for rest in (b"", b"GET / HTTP/1.1\r\n\r\n"):
        assert parse_header(raw + rest) == ProxyHeader(len(raw), source, expected["is_tls"])


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_header_is_refused_and_never_waited_for_when_complete(path: Path) -> None:
    with pytest.raises(PeerError):
        parse_header(path.read_bytes())


@pytest.mark.parametrize("first", [b for b in range(256) if b not in b"P\r"])
def test_one_byte_tells_that_there_is_no_header(first: int) -> None:
    with pytest.raises(PeerError, match="expected here"):
        parse_header(bytes((first,)))


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0"]))
@example(b"", b"")
def test_any_bytes_give_a_header_within_them_nothing_or_the_documented_error(data: bytes, start: bytes) -> None:
    data = start + data
    try:
        header = parse_header(data)
    except PeerError:
        return
    if header is None:
        assert len(data) < 16 + 4_096
    else:
        assert 0 < header.size <= len(data)
        assert parse_header(data[: header.size]) == header


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_who_need_not_have_a_header_is_known_to_have_one_by_its_first_bytes(path: Path) -> None:
    raw = path.read_bytes()
    found = [is_header(raw[:end]) for end in range(len(raw) + 1)]
    assert found[0] is False
    start = found.index(True)
    assert 1 < start <= len(SIGNATURE)
    assert found[1:start] == [None] * (start - 1)
    assert set(found[start:]) == {True}


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b"PROXX", b"\r\n\r\nGET", b"\x16\x03\x01"]
)
def test_anything_else_is_no_header(data: bytes) -> None:
    assert is_header(data) is False
