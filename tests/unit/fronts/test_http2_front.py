"""An HTTP/2 connection over a stream that takes as many bytes as the test says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from hpack import Encoder
from support.breaking import break_everywhere, ways_to_fail, working
from support.http2_client import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from support.limits import make_limits
from support.streams import MemoryStream

from uwsgi_ws.fronts.http2.front import Http2Front
from uwsgi_ws.fronts.peer import Peer, StreamSettings
from uwsgi_ws.request.base import Request

GET = b"\x82\x86\x84\x41\x01x"


def answer(request: Request) -> None:
    """A head of some 6,000 bytes, which no window holds back, and no body."""
    request.write_head("200 OK", [("X-Long", f"{id(request)}" * 500)], 0)
    request.finish()


@pytest.fixture
def below() -> Iterator[MemoryStream]:
    below = MemoryStream(room=1 << 20)
    settings = StreamSettings(make_limits(), 10, 10, 10)
    peer = Peer("", "", "x", "80")
    front = Http2Front(
        below,  # type: ignore[arg-type]
        settings,
        peer,
        0,
        answer,
        lambda lane: False,
        gevent.get_hub(),
    )
    greenlet = gevent.spawn(front.run)
    gevent.sleep(0)
    assert below.receiver is not None
    below.receiver.receive(PREFACE + frame(SETTINGS))
    yield below
    greenlet.kill()


def test_who_does_not_read_our_answers_is_not_read_from_until_he_does(below: MemoryStream) -> None:
    below.room = 0
    answered = 0
    while below.receiver is not None:
        below.receiver.receive(frame(HEADERS, GET, flags=5, stream=2 * answered + 1))
        gevent.sleep(0)
        answered += 1
        assert answered < 1_000, "its answers are kept without end"
    assert answered > 10
    assert below.writable is not None
    below.room = 100_000
    below.writable()
    below.room = 1_000_000
    while below.writable is not None:
        below.writable()
    assert below.receiver is not None


def test_a_request_that_is_refused_and_taken_back_at_once_ends_nothing_else(below: MemoryStream) -> None:
    assert below.receiver is not None
    refused = frame(HEADERS, b"\x82\x86\x84\x41\x03a b", flags=5, stream=1)
    below.receiver.receive(refused + frame(RST_STREAM, b"\0\0\0\x08", stream=1))
    before = len(below.sent)
    below.receiver.receive(frame(HEADERS, GET, flags=5, stream=3))
    gevent.sleep(0)
    assert len(below.sent) > before + 1_000, "the next one gets its answer"
    assert not below.receiver.has_streams  # type: ignore[attr-defined]  # the front's


def answer_with_what_came(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [])
    return [environ["wsgi.input"].read(), b"y" * 100_000]


@ways_to_fail
def test_a_connection_that_breaks_anywhere_leaves_nothing(how: dict[str, Any]) -> None:
    post = Encoder().encode([(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "x")])
    window = (1 << 20).to_bytes(4, "big")
    pieces = [
        PREFACE + frame(SETTINGS),
        frame(HEADERS, post, flags=END_HEADERS, stream=1) + frame(DATA, b"first", stream=1),
        frame(HEADERS, GET, flags=5, stream=3) + frame(HEADERS, GET, flags=5, stream=5),
        frame(PING, bytes(8)) + frame(DATA, b"last", flags=END_STREAM, stream=1),
        frame(WINDOW_UPDATE, window) + frame(WINDOW_UPDATE, window, stream=1),
        frame(RST_STREAM, b"\0\0\0\x08", stream=5),
        frame(WINDOW_UPDATE, window, stream=3),
        frame(HEADERS, GET, flags=5, stream=7) + frame(GOAWAY, bytes(8)),
        frame(WINDOW_UPDATE, window, stream=7),
    ]
    with working(answer_with_what_came) as worker:
        stream = break_everywhere(worker, worker.http2, *pieces, room=50_000, **how)
    assert b"firstlast" in stream.sent
    assert stream.sent.count(b"y") > 3 * 100_000
