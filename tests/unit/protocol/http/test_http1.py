"""HTTP/1 request parsing: vector files, llhttp as an oracle, and properties over any bytes."""

from __future__ import annotations

import itertools
import json
import sys
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.growth import growth
from support.limits import make_limits

from uwsgi_ws.errors import InvalidState, RequestError
from uwsgi_ws.protocol.http import cgi
from uwsgi_ws.protocol.http.http1 import Head, Limits, RequestParser

VECTORS = Path(__file__).parents[3] / "vectors" / "http1"
VALID = sorted((VECTORS / "valid").glob("*.http"))
INVALID = sorted((VECTORS / "invalid").glob("*.http"))
DEFAULT = make_limits()
STATUSES = {400, 413, 414, 417, 431, 501, 505}

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Outcome:
    """All that came out of a parser, the same however its input was cut."""

    def __init__(self) -> None:
        self.requests: list[tuple[Head, bytearray]] = []
        self.ended = True  # the last request's body
        self.error: RequestError | None = None
        self.partial = False

    def comparable(self) -> object:
        error = (self.error.status, self.error.reason) if self.error else None
        requests = [([getattr(head, name) for name in Head.__slots__], bytes(body)) for head, body in self.requests]
        return requests, self.ended, error, self.partial


def drive(pieces: Iterable[bytes], limits: Limits = DEFAULT, parser: RequestParser | None = None) -> Outcome:
    """Feed the pieces and pull everything after each one, as a server does."""
    parser = parser or RequestParser(limits)
    outcome = Outcome()
    try:
        for piece in pieces:
            parser.receive(piece)
            while True:
                if outcome.ended:
                    head = parser.next_head()
                    if head is None:
                        break
                    outcome.requests.append((head, bytearray()))
                    outcome.ended = False
                else:
                    body = parser.next_body()
                    if body is None:
                        break
                    outcome.requests[-1][1].extend(body)
                    outcome.ended = not body
    except RequestError as error:
        outcome.error = error
    outcome.partial = parser.has_partial
    return outcome


def vector(path: Path) -> tuple[bytes, dict[str, Any], Limits]:
    expected = json.loads(path.with_suffix(".json").read_text())
    return path.read_bytes(), expected, make_limits(**expected.get("limits", {}))


def cuts(raw: bytes) -> list[list[bytes]]:
    """The bytes in one piece, byte by byte, and in two pieces at many places."""
    step = max(1, len(raw) // 100)
    return [
        [raw],
        [raw[i : i + 1] for i in range(len(raw))],
        *([raw[:i], raw[i:]] for i in range(1, len(raw), step)),
    ]


# -- vectors -------------------------------------------------------------------------------------


def test_vector_files_are_found_and_complete() -> None:
    assert len(VALID) > 50
    assert len(INVALID) > 200
    names = {path.with_suffix("") for path in VECTORS.rglob("*.http")}
    assert names == {path.with_suffix("") for path in VECTORS.rglob("*.json")}


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_vector_gives_its_requests_however_it_is_cut(path: Path) -> None:
    raw, expected, limits = vector(path)
    rest = expected.get("rest", "").encode("latin-1")
    if rest:
        assert raw.endswith(rest)
        raw = raw.removesuffix(rest)
    for pieces in cuts(raw):
        parser = RequestParser(limits)
        outcome = drive(pieces, parser=parser)
        assert outcome.error is None
        assert outcome.ended
        assert len(outcome.requests) == len(expected["requests"])
        for (head, body), request in zip(outcome.requests, expected["requests"], strict=True):
            assert head.variables == request["variables"]
            assert body == request["body"].encode("latin-1")
            for name, value in request.get("head", {}).items():
                assert getattr(head, name) == value, name
        if rest:
            parser.receive(rest)
        assert parser.has_partial == bool(rest)
        assert parser.take_rest() == rest


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_vector_is_refused_with_its_status_however_it_is_cut(path: Path) -> None:
    raw, expected, limits = vector(path)
    whole = drive([raw], limits)
    for pieces in cuts(raw):
        outcome = drive(pieces, limits)
        assert outcome.error is not None
        assert outcome.error.status == expected["status"]
        assert len(outcome.requests) == expected["heads"]
        assert outcome.comparable() == whole.comparable()


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_vector_cut_short_is_never_refused(path: Path) -> None:
    raw, expected, limits = vector(path)
    for end in range(1, len(raw) - len(expected.get("rest", ""))):
        assert drive([raw[:end]], limits).error is None


# -- the interface -------------------------------------------------------------------------------


def test_size_counts_the_head_alone() -> None:
    parser = RequestParser(DEFAULT)
    parser.receive(b"\r\n" + GET + GET)
    for _ in range(2):
        head = parser.next_head()
        assert head is not None
        assert head.size == len(GET)


def test_has_partial_tells_an_unfinished_head_from_silence_and_from_a_body() -> None:
    parser = RequestParser(DEFAULT)
    assert not parser.has_partial
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    for i in range(len(post)):
        parser.receive(post[i : i + 1])
        assert parser.has_partial
        head = parser.next_head()
        assert parser.has_partial == (head is None)
    parser.receive(b"a")
    assert not parser.has_partial
    assert parser.next_body() == b"a"
    assert parser.next_body() is None
    parser.receive(b"b\r\n")
    assert parser.next_body() == b"b"
    assert parser.next_body() == b""
    assert parser.has_partial
    assert parser.next_head() is None
    assert not parser.has_partial, "an empty line is no request yet"


def test_the_body_must_be_read_before_the_next_head() -> None:
    for body in (b"Content-Length: 1\r\n\r\na", b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"):
        parser = RequestParser(DEFAULT)
        parser.receive(b"POST / HTTP/1.1\r\nHost: x\r\n" + body + GET)
        assert parser.next_head()
        with pytest.raises(InvalidState):
            parser.next_head()
        assert parser.next_body() == b"a"
        assert parser.next_body() == b""
        assert parser.next_body() == b"", "asking again is allowed"
        assert parser.next_head()
        assert parser.next_body() == b""


def test_a_body_piece_of_a_whole_buffer_is_not_copied() -> None:
    parser = RequestParser(DEFAULT)
    parser.receive(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    assert parser.next_head()
    assert parser.next_body() is None
    piece = bytes(65_536)
    parser.receive(piece)
    assert parser.next_body() is piece
    assert parser.next_body() is None


def test_the_end_of_the_stream_is_not_for_the_parser() -> None:
    with pytest.raises(InvalidState):
        RequestParser(DEFAULT).receive(b"")


def test_after_an_error_every_call_raises_it_again() -> None:
    for raw in (b"\x16", GET + b"GET / HTTP/1.1\r\n\r\n", CHUNKED + b"x\r\n"):
        parser = RequestParser(DEFAULT)
        error = drive([raw], parser=parser).error
        assert error is not None
        for call in (
            lambda p: p.receive(GET),
            lambda p: p.next_head(),
            lambda p: p.next_body(),
            lambda p: p.take_rest(),
        ):
            with pytest.raises(RequestError) as caught:
                call(parser)
            assert caught.value is error
        assert not parser.has_partial


def test_a_failed_parser_keeps_none_of_the_peers_bytes() -> None:
    for raw in (b"\x16abc", GET[:-4] + b"\x00\r\n\r\n", CHUNKED + b"x\r\n"):
        before = sys.getrefcount(raw)
        parser = RequestParser(DEFAULT)
        parser.receive(raw)
        assert sys.getrefcount(raw) == before + 1
        with pytest.raises(RequestError):  # noqa: PT012 - whichever of the two it is
            if parser.next_head():
                parser.next_body()
        assert sys.getrefcount(raw) == before


def test_after_the_last_request_bytes_are_ignored_and_dropped() -> None:
    parser = RequestParser(DEFAULT)
    parser.receive(b"GET / HTTP/1.0\r\n\r\n" + GET)
    head = parser.next_head()
    assert head is not None
    assert not head.keep_alive
    assert parser.next_body() == b""
    assert parser.next_head() is None
    assert parser.take_rest() == b""


def test_after_take_rest_no_more_heads_come() -> None:
    parser = RequestParser(DEFAULT)
    parser.receive(GET + GET)
    assert parser.next_head()
    assert parser.take_rest() == GET
    assert not parser.has_partial
    parser.receive(GET)
    assert not parser.has_partial
    assert parser.next_head() is None


def test_take_rest_gives_bytes_also_from_a_buffer_that_was_put_together() -> None:
    parser = RequestParser(DEFAULT)
    parser.receive(GET[:5])
    parser.receive(GET[5:] + b"ab")
    assert parser.next_head()
    parser.receive(b"c")
    rest = parser.take_rest()
    assert type(rest) is bytes
    assert rest == b"abc"


def test_a_foreign_exception_in_a_field_callback_comes_out_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(dict[bytes, str]):
        def __missing__(self, name: bytes) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr(cgi, "_KEYS", Interrupted())
    parser = RequestParser(DEFAULT)
    parser.receive(GET)
    with pytest.raises(KeyboardInterrupt):
        parser.next_head()


def test_every_method_of_the_table_is_accepted() -> None:
    for method in cgi.METHODS:
        outcome = drive([f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode()])
        assert [head.variables["REQUEST_METHOD"] for head, _ in outcome.requests] == [method]


# -- shared keys ---------------------------------------------------------------------------------


def keys_of(raw_fields: bytes) -> dict[str, str]:
    [(head, _)] = drive([b"GET / HTTP/1.1\r\nHost: x\r\n" + raw_fields + b"\r\n"]).requests
    return {key: key for key in head.variables}


def test_environs_share_their_keys_whatever_the_spelling() -> None:
    first = keys_of(b"User-Agent: a\r\nX-Ours: b\r\nContent-Type: c\r\n")
    second = keys_of(b"USER-agent: a\r\nx-ours: b\r\nCONTENT-type: c\r\n")
    assert first == second
    assert all(second[key] is key for key in first)


def test_invented_names_neither_grow_the_table_nor_keep_others_out() -> None:
    for i in range(3 * cgi._Keys.CAPACITY):
        keys_of(b"X-Invented-%d: a\r\nX_Dropped_%d: a\r\n%s%d: a\r\n" % (i, i, b"L" * 64, i))
        assert len(cgi._KEYS) <= cgi._Keys.CAPACITY
    first = keys_of(b"X-Late: a\r\n")
    assert all(first[key] is key for key in keys_of(b"X-Late: b\r\n") if key == "HTTP_X_LATE")
    assert "HTTP_USER_AGENT" in cgi._KEYS.values()
    assert all(len(name) <= cgi._Keys.NAME_SIZE for name in cgi._KEYS)


def test_a_full_table_starts_over_at_its_capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    table = cgi._Keys()
    usual = len(table)
    monkeypatch.setattr(cgi._Keys, "CAPACITY", usual + 4)
    assert table[b"X-A"] == "HTTP_X_A"
    assert table[b"x-a"] is table[b"X-A"]
    assert len(table) == usual + 2
    assert table[b"X-a-TOO"] == "HTTP_X_A_TOO"
    assert len(table) == usual + 4
    assert table[b"x-b"] == "HTTP_X_B"
    assert len(table) == usual + 2, "started over"


# -- bounds --------------------------------------------------------------------------------------


def hostile(kind: str) -> Iterable[bytes]:
    start = {
        "line": b"GET /",
        "blank": b"",
        "fields": b"GET / HTTP/1.1\r\nHost: x\r\n",
        "value": b"GET / HTTP/1.1\r\nHost: x\r\nA: ",
        "size": CHUNKED,
        "chunks": CHUNKED,
        "trailers": CHUNKED + b"0\r\n",
    }[kind]
    more = {
        "blank": b"\r\n",
        "fields": b"a:b\r\n",
        "size": b"0",
        "chunks": b"1;a=b\r\nx\r\n",
        "trailers": b"a:b\r\n",
    }
    if start:
        yield start
    for _ in range(30 if kind == "chunks" else 400):
        yield more.get(kind, b"a") * 1_000


@pytest.mark.parametrize("kind", ["line", "blank", "fields", "value", "size", "chunks", "trailers"])
def test_memory_is_bounded_while_a_peer_sends_without_end(kind: str) -> None:
    parser = RequestParser(DEFAULT)
    tracemalloc.start()
    try:
        error = None
        reading_body = False
        for piece in hostile(kind):
            try:
                parser.receive(piece)
                if not reading_body:
                    reading_body = parser.next_head() is not None
                while reading_body and parser.next_body():
                    pass
            except RequestError as caught:
                error = caught
                break
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (error is None) == (kind == "chunks")
    assert held < 100_000
    assert peak < 500_000


@pytest.mark.parametrize(
    ("before", "unit", "after"),
    [
        (b"GET /", b"a", b" HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b" b", b"\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: ", b",a", b"\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: ", b"a%41", b'"\r\n\r\n'),
        (b"GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Extensions: ", b'a;b="', b"\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b""),
        (CHUNKED, b"1;a=b\r\nx\r\n", b"0\r\n\r\n"),
    ],
    ids=["target", "value", "connection", "host", "extensions", "pipelined", "chunks"],
)
def test_time_is_linear_in_the_bytes_however_they_come(before: bytes, unit: bytes, after: bytes) -> None:
    """Sixteen times the bytes take 16 times as long; a quadratic parser would take 256 times."""
    limits = make_limits(head_size=10_000_000, target_size=10_000_000)
    for cut in (1, 10_000_000):

        def parse(size: int, cut: int = cut) -> None:
            raw = before + unit * (size // len(unit)) + after
            drive((raw[i : i + cut] for i in range(0, len(raw), cut)), limits)

        assert growth(parse, 8_000, 128_000) < 40


# -- llhttp as the oracle ------------------------------------------------------------------------


class Listener:
    def __init__(self) -> None:
        self.body = b""
        self.complete = 0

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete += 1


def llhttp(raw: bytes) -> Listener | None:
    """What llhttp makes of a request: None if it refuses it."""
    listener = Listener()
    try:
        httptools.HttpRequestParser(listener).feed_data(raw)
    except httptools.HttpParserError:
        return None
    return listener


CHUNK_WORDS = [
    b"0", b"1", b"2", b"a", b"A", b"00", b"f" * 16, b"g", b"\r\n", b"\r\n", b"\r\n", b"\r", b"\n", b";", b"=",
    b'"', b"\\", b" ", b"\t", b"x", b"xx", b"x" * 10, b"a=b", b';q="r"', b"T: u", b"\x00", b"\xff", b"\x7f",
    b"0\r\n\r\n", b"1\r\nx\r\n", b"Content-Length: 1", b"Transfer-Encoding: chunked",
]  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(CHUNK_WORDS), max_size=12))
@example([b"1", b'="'])
def test_a_chunked_body_we_accept_is_one_llhttp_reads_the_same(words: list[bytes]) -> None:
    raw = b"".join(words)
    ours = drive([CHUNKED + raw])
    theirs = llhttp(CHUNKED + raw)
    if ours.error is None and ours.ended and len(ours.requests) == 1 and not ours.partial:
        assert theirs is not None
        assert theirs.complete == 1
        assert theirs.body == ours.requests[0][1]


@pytest.mark.parametrize("char", range(256))
def test_every_byte_in_an_extension_is_judged_as_llhttp_does(char: int) -> None:
    for form in (b"1;%c", b"1;a%ca", b"1;a=%c", b'1;a="%c"', b'1;a="\\%c"', b'1;a="b"%c', b"1%c", b"%c"):
        raw = CHUNKED + form % char + b"\r\nx\r\n0\r\n\r\n"
        theirs = llhttp(raw)
        ours = drive([raw])
        # llhttp alone takes ``1;=``, an extension without a name.
        if ours.error is None and ours.ended:
            assert theirs is not None, form
        elif theirs is not None and theirs.complete and (form, char) != (b"1;%c", 0x3D):
            pytest.fail(f"llhttp takes {form % char!r}, we do not: {ours.error}")


# -- properties ----------------------------------------------------------------------------------

WORDS = [
    b"GET", b"POST", b"OPTIONS", b"CONNECT", b"PRI", b"FOO", b" ", b" ", b"/", b"*", b"http://x/", b"x:80",
    b"?a=%41", b"#", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\r",
    b"Host: x", b"Host: y", b"Content-Length: 3", b"Content-Length: 0", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip", b"Connection: close", b"Connection: upgrade", b"Upgrade: websocket",
    b"Upgrade: h2c", b"Expect: 100-continue", b"Expect: x", b"A_B: c", b"A: b", b"A:", b"Cookie: a", b": ",
    b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\n", b"\x00", b"\xff", b"\t",
    b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST /a HTTP/1.1\r\nHost: x\r\n", GET, CHUNKED,
]  # fmt: skip
SEEDS = [path.read_bytes() for path in (*VALID, *INVALID) if path.stat().st_size < 1_000]
messages = st.one_of(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=25).map(b"".join),
    st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3).map(b"".join),
    st.binary(min_size=1, max_size=200),
)
few_limits = st.sampled_from(
    [
        make_limits(),
        make_limits(head_size=60, target_size=10, header_count=2, trailer_size=8, body_size=2),
        make_limits(body_size=0),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A message with some bytes replaced, removed or doubled."""
    raw = bytearray(draw(messages))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw) - 1))
        raw[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2) | st.sampled_from(WORDS))
        if not raw:
            raw += b"x"
    return bytes(raw)


@st.composite
def cut(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    raw = draw(mutated())
    at = sorted(draw(st.sets(st.integers(1, max(1, len(raw) - 1)), max_size=8)))
    edges = [0, *at, len(raw)]
    return raw, [raw[a:b] for a, b in itertools.pairwise(edges) if a < b]


@settings(max_examples=500, deadline=None)
@given(cut(), few_limits)
def test_cutting_the_bytes_elsewhere_changes_nothing(message: tuple[bytes, list[bytes]], limits: Limits) -> None:
    raw, pieces = message
    whole = drive([raw], limits).comparable()
    assert drive(pieces, limits).comparable() == whole
    assert drive([raw[i : i + 1] for i in range(len(raw))], limits).comparable() == whole


LINES = st.sampled_from(
    [
        *(b"%b HTTP/1.%d\r\n" % line for line in itertools.product((b"GET /", b"HEAD /a%20b?c=d", b"POST /"), (0, 1))),
        *(b"%b HTTP/1.1\r\n" % line for line in (b"OPTIONS *", b"GET http://y/", b"GET x", b"BREW /", b"GET /#")),
    ]
)
FIELDS = st.sampled_from(
    [
        b"Host: x\r\n\r\n",
        b"Host: x\r\nA: 1\r\na: 2\r\n\r\n",
        b"Host: x\r\nConnection: keep-alive\r\n\r\n",
        b"Host: x\r\nConnection: close\r\n\r\n",
        b"Host: x\r\nUpgrade: websocket\r\n\r\n",
        b"Host: x\r\nContent-Length: 0\r\n\r\n",
        b"Host: x\r\nContent-Length: 1\r\n\r\n1",
        b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
        b"Host: x\r\nExpect: 100-continue\r\n\r\n",
        b"Host: x\r\nA: " + b"a" * 4_096 + b"\r\n\r\n",
        b"A: 1\r\n\r\n",
        b"\r\n",
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(LINES, FIELDS | st.just(b"Host: x\r\n\r\n")), min_size=2, max_size=6))
def test_a_request_is_read_as_if_it_were_its_connections_first(requests: list[tuple[bytes, bytes]]) -> None:
    together = drive([line + rest for line, rest in requests])
    alone = Outcome()
    for line, rest in requests:
        outcome = drive([line + rest])
        alone.requests += outcome.requests
        alone.error = outcome.error
        if outcome.error or not outcome.requests[-1][0].keep_alive:
            break
    assert together.comparable() == alone.comparable()


def test_every_request_has_the_variables_that_were_given_for_all() -> None:
    given = {"SERVER_PORT": "80"}
    requests = drive([GET * 2 + GET.replace(b"x", b"y")], parser=RequestParser(DEFAULT, given)).requests
    assert len(requests) == 3
    for head, _ in requests:
        assert head.variables.pop("SERVER_PORT") == "80"
        assert len(head.variables) == 6
    assert given == {"SERVER_PORT": "80"}


def test_what_is_done_to_a_requests_variables_is_not_seen_in_the_next() -> None:
    parser = RequestParser(DEFAULT)
    for _ in range(3):
        parser.receive(GET)
        head = parser.next_head()
        assert head is not None
        assert head.variables.pop("HTTP_HOST") == "x"
        head.variables["REMOTE_USER"] = "root"
        assert len(head.variables) == 6


@settings(max_examples=500, deadline=None)
@given(mutated(), few_limits)
def test_any_bytes_give_requests_or_a_documented_error(raw: bytes, limits: Limits) -> None:
    parser = RequestParser(limits)
    outcome = drive([raw], parser=parser)
    if outcome.error is not None:
        assert outcome.error.status in STATUSES
        assert outcome.error.reason.isascii()
    used = 0
    for head, body in outcome.requests:
        used += head.size + len(body)
        assert head.size <= limits.head_size
        assert limits.body_size is None or len(body) <= limits.body_size
        assert all(type(value) is str and value.encode("latin-1") is not None for value in head.variables.values())
        assert all("\r" not in v and "\n" not in v for k, v in head.variables.items() if k != "PATH_INFO")
        assert head.variables["SERVER_PROTOCOL"] == "HTTP/1.0" or head.variables["HTTP_HOST"]
        assert not (head.chunked and head.content_length is not None)
        assert head.upgrade is None or not (head.chunked or head.content_length)
    assert used <= len(raw)


@settings(max_examples=500, deadline=None)
@given(mutated())
def test_a_single_head_we_accept_is_one_llhttp_accepts(raw: bytes) -> None:
    end = raw.find(b"\r\n\r\n") + 4
    if end < 4 or not (requests := drive([raw[:end]]).requests):
        return
    # The request line is not llhttp's to judge: it knows some methods, two versions, and ASCII.
    line = f"GET / {requests[0][0].variables['SERVER_PROTOCOL']}".encode()
    fields = raw[:end].removeprefix(b"\r\n").partition(b"\r\n")[2]
    try:
        httptools.HttpRequestParser(Listener()).feed_data(line + b"\r\n" + fields)
    except httptools.HttpParserUpgrade:
        pass
