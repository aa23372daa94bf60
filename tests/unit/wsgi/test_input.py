"""``wsgi.input`` without a client: a request that gives its body piece by piece."""

from __future__ import annotations

import io
import time
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from uwsgi_ws.errors import BodyError
from uwsgi_ws.request.base import Request
from uwsgi_ws.wsgi.input import BodyFile


class PiecewiseRequest:
    """Stands for a front's request; None among the pieces is a wait."""

    def __init__(self, pieces: list[bytes | BodyError | None]) -> None:
        self.pieces = pieces
        self.websocket = None
        self.asked_past_end = 0

    def fileno(self) -> int:
        return 42

    def read_body(self) -> bytes:
        while self.pieces and self.pieces[0] is None:
            self.pieces.pop(0)
        return self.read_body_now() or b""

    def read_body_now(self) -> bytes | None:
        if not self.pieces:
            self.asked_past_end += 1
            return b""
        piece = self.pieces.pop(0)
        if isinstance(piece, BodyError):
            raise piece
        return piece


def body_file(*pieces: bytes | BodyError | None) -> tuple[BodyFile, PiecewiseRequest]:
    request = PiecewiseRequest(list(pieces))
    return BodyFile(cast(Request, request)), request


CALLS = st.one_of(
    st.tuples(st.just("read"), st.integers(-1, 9)),
    st.tuples(st.just("read"), st.none()),
    st.tuples(st.just("readline"), st.integers(-1, 9)),
    st.tuples(st.just("readline"), st.none()),
    st.tuples(st.just("readlines"), st.just(-1)),
    st.tuples(st.just("readlines"), st.integers(1, 9)),
    st.tuples(st.just("next"), st.just(None)),
)


@example([b"a", b"bc"], [("readline", 2)])  # the limit counts what other pieces gave
@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"d\n", b"\ne", b"f\n\ng\n"]), max_size=8), st.lists(CALLS))
def test_it_reads_as_a_file_does_however_the_body_comes(pieces: list[bytes], calls: list[tuple[str, Any]]) -> None:
    ours, request = body_file(*pieces)
    theirs = io.BytesIO(b"".join(pieces))
    for name, argument in calls:
        if name == "next":
            assert next(iter(ours), b"") == next(iter(theirs), b"")
        else:
            assert getattr(ours, name)(argument) == getattr(theirs, name)(argument), (name, argument)
    assert ours.read() == theirs.read()
    assert ours.read() == b""
    assert request.asked_past_end == 1  # the end is asked for once, and remembered


def test_nothing_is_read_before_it_is_asked_for() -> None:
    ours, request = body_file(b"one", b"two")
    assert (ours.read(0), ours.readline(0)) == (b"", b"")
    assert len(request.pieces) == 2
    assert ours.read(3) == b"one"
    assert len(request.pieces) == 1


def test_chunks_come_as_they_are_and_after_lines() -> None:
    ours, _ = body_file(b"line\nrest", b"next")
    assert ours.readline() == b"line\n"
    assert ours.read_chunk() == b"rest"
    assert ours.read_chunk() == b"next"
    assert (ours.read_chunk(), ours.read_chunk()) == (b"", b"")


def test_what_is_there_is_told_from_the_end() -> None:
    ours, _ = body_file(None, b"one\ntwo", None)
    assert ours.read_chunk_now() is None
    assert ours.readline() == b"one\n"
    assert ours.read_chunk_now() == b"two"
    assert ours.read_chunk_now() is None
    assert (ours.read_chunk_now(), ours.read_chunk_now(), ours.read()) == (b"", b"", b"")


def test_errors_reach_the_reader_and_what_came_before_does_too() -> None:
    ours, _ = body_file(b"one", BodyError(408, "too late"))
    assert ours.read(3) == b"one"
    with pytest.raises(OSError, match="too late"):
        ours.read(3)


def test_it_has_the_requests_descriptor_and_closes_nothing() -> None:
    ours, _ = body_file(b"body")
    assert ours.fileno() == 42
    ours.close()
    assert ours.read() == b"body"


def test_many_short_lines_in_one_piece_take_linear_time() -> None:
    ours, _ = body_file(b"\n" * 400_000)  # cutting off the front for each would move 80 GB
    begun = time.process_time()
    assert sum(1 for _ in ours) == 400_000
    assert time.process_time() - begun < 3
