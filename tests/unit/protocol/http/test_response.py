"""A backend's response: what becomes of its bytes, however they are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.errors import RequestError
from uwsgi_ws.protocol.http.response import ResponseParser


def parse(*pieces: bytes, is_head: bool = False) -> tuple[ResponseParser, bytes]:
    parser = ResponseParser(is_head=is_head)
    body = b""
    for piece in pieces:
        parser.receive(piece)
        body += parser.take_body()
    return parser, body


def test_a_parser_that_is_told_nothing_waits_for_a_body() -> None:
    parser = ResponseParser()
    assert (parser.head, parser.is_complete, parser.rest) == (None, False, b"")
    parser.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
    assert not parser.is_complete


def test_a_426_says_what_to_upgrade_to() -> None:
    """RFC 9110 15.5.22."""
    parser, _ = parse(b"HTTP/1.1 426 No\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n")
    assert parser.head is not None
    assert parser.head.headers == [("Upgrade", "websocket"), ("Content-Length", "0")]


def test_a_reason_may_come_in_two_parts() -> None:
    parser, _ = parse(b"HTTP/1.1 200 All", b" right\r\nContent-Length: 0\r\n\r\n")
    assert parser.head is not None
    assert parser.head.reason == "All right"


def test_a_body_of_declared_length_ends_there_and_what_follows_means_nothing() -> None:
    parser, body = parse(
        b"HTTP/1.1 200 All right\r\nContent-Length: 3\r\nX-A: \xe9\r\n\r\nabcHTTP/1.1 500 No\r\n\r\n", b"x"
    )
    assert parser.head is not None
    assert (parser.head.code, parser.head.reason, parser.head.content_length) == (200, "All right", 3)
    assert parser.head.headers == [("Content-Length", "3"), ("X-A", "\xe9")]
    assert parser.is_complete
    assert body == b"abc"


def test_a_chunked_body_is_unwrapped_and_its_trailers_are_dropped() -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"
    parser, body = parse(raw)
    assert parser.head is not None
    assert (parser.head.headers, parser.head.content_length) == ([], None)
    assert parser.is_complete
    assert body == b"abcde"


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    parser, body = parse(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nab", b"c")
    assert not parser.is_complete
    parser.receive(b"")
    assert parser.is_complete
    assert body == b"abc"


def test_interim_responses_are_passed_over() -> None:
    raw = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    raw += b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n"
    parser, _ = parse(raw)
    assert parser.head is not None
    assert (parser.head.code, parser.head.reason, parser.head.headers) == (404, "", [("Content-Length", "0")])
    assert parser.is_complete


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("field", ["ETag: x", "Content-Length: 4", "Transfer-Encoding: chunked"])
def test_some_statuses_have_no_body(status: str, field: str) -> None:
    parser, body = parse(f"HTTP/1.1 {status}\r\n{field}\r\n\r\njunk".encode())
    assert parser.is_complete
    assert body == b""


def test_the_response_to_head_has_no_body_whatever_its_head_says() -> None:
    parser, body = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n", is_head=True)
    assert parser.is_complete
    assert parser.head is not None
    assert parser.head.content_length == 30
    parser, body = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", is_head=True)
    assert body == b""


@pytest.mark.parametrize("connection", [b"", b"Connection: x\r\n", b"Content-Length: 1\r\nContent-Length: 1\r\n"])
@pytest.mark.parametrize(
    "interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n\r\n"]
)
def test_nothing_behind_a_101_is_lost_whatever_its_connection_field_says(connection: bytes, interim: bytes) -> None:
    parser = ResponseParser()
    parser.receive(interim + b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\n" + connection + b"\r\n\x81\1a")
    assert parser.head is not None
    assert parser.head.code == 101
    assert parser.is_complete
    assert parser.rest == b"\x81\1a"


def test_what_comes_behind_a_101_is_no_http_any_more() -> None:
    head = b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
    parser, _ = parse(head + b"\x81\x02hi")
    assert parser.head is not None
    assert parser.head.code == 101
    assert parser.head.headers == [("Sec-WebSocket-Accept", "x")]
    assert parser.rest == b"\x81\x02hi"
    assert parser.is_complete


def test_headers_that_concern_the_backends_connection_go_no_further() -> None:
    raw = b"HTTP/1.1 200 OK\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nServer: s\r\n\r\n"
    parser, _ = parse(raw)
    assert parser.head is not None
    assert parser.head.headers == [("Server", "s")]


@pytest.mark.parametrize(
    "pieces",
    [
        (b"SSH-2.0-OpenSSH\r\n",),
        (b"HTTP/1.1 025 X\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",),
        (b"HTTP/1.1 099 X\r\nContent-Length: 1, 1\r\n\r\nx",),
        (b"\x81\x02hi",),
        (b"",),
        (b"HTTP/1.1 200 OK\r\nContent-Le", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",),
        (b"HTTP/1.1 99 OK\r\n\r\n",),
    ],
)
def test_what_is_no_whole_response_is_a_502(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(RequestError) as caught:
        parse(*pieces)
    assert caught.value.status == 502


def test_a_head_that_never_ends_is_a_502_before_it_fills_the_memory() -> None:
    endless = (b"HTTP/1.1 200 OK\r\n", *(b"X: " + b"y" * 1_000 + b"\r\n" for _ in range(1_000)))
    with pytest.raises(RequestError, match="too long") as caught:
        parse(*endless)
    assert caught.value.status == 502


def test_a_head_may_have_64_kib() -> None:
    begin = b"HTTP/1.1 200 OK\r\nX: "
    longest = begin + b"y" * (65_536 - len(begin))
    parse(longest)
    with pytest.raises(RequestError, match="too long"):
        parse(longest, b"y")


@given(cuts=st.lists(st.integers(0, 120)))
def test_where_the_bytes_are_cut_changes_nothing(cuts: list[int]) -> None:
    raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n"
    raw += b"3\r\nabc\r\n0\r\n\r\n"
    edges = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    pieces = [raw[start:end] for start, end in pairwise(edges)]
    parser, body = parse(*pieces)
    assert parser.head is not None
    assert (parser.head.reason, parser.head.headers, body, parser.is_complete) == ("Fine", [("A", "b")], b"abc", True)


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 5\r\ncontent-length:5 ", b"Content-Length: 5, 5", b"Content-Length: 05,5"]
)
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"])
def test_equal_lengths_are_one_however_they_are_cut(fields: bytes, interim: bytes) -> None:
    """RFC 9110 8.6."""
    raw = interim + b"HTTP/1.1 200 OK\r\nX-A: 1\r\n" + fields + b"\r\nX-B: 2\r\n\r\nhello"
    for cut in range(len(raw)):
        parser, body = parse(*filter(None, (raw[:cut], raw[cut:])))
        assert parser.head is not None
        assert sorted(parser.head.headers) == [("Content-Length", "5"), ("X-A", "1"), ("X-B", "2")]
        assert (parser.head.content_length, body, parser.is_complete) == (5, b"hello", True)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 5, 6",
        b"Content-Length: 5 5",
        b"Content-Length: x",
        b"Content-Length: " + b"5".zfill(21),
    ],
)
def test_improper_lengths_are_malformed(fields: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\nhello")
    assert caught.value.status == 502
