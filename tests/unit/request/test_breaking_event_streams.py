"""Event streams whose client's connection fails at its n-th call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hpack import Encoder
from support.breaking import break_everywhere, ways_to_fail, working
from support.http2_client import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS
from support.http2_client import frame as http2_frame
from support.uwsgi_client import packet_of

import uwsgi_ws
from uwsgi_ws.request.event_stream import EventStream

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
GET_FIELDS = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")]
#: What the client sends while it is told of events, a piece in each turn of the loop: nothing that is wanted.
IDLE = [b"more"] * 8
REQUESTS = {
    "http1": [GET, *IDLE],
    "uwsgi": [packet_of(GET), *IDLE],
    "http2": [
        PREFACE + http2_frame(SETTINGS),
        http2_frame(HEADERS, Encoder().encode(GET_FIELDS), flags=END_HEADERS, stream=1),
        *(http2_frame(DATA, piece, stream=1) for piece in IDLE),
        http2_frame(DATA, flags=END_STREAM, stream=1),
    ],
}


class Application:
    """Makes event streams, and has them told and ended.

    Args:
        is_iterated: Whether a middleware stands before it.
        ends: Whether it is the server that ends them.
    """

    def __init__(self, *, is_iterated: bool, ends: bool) -> None:
        self._is_iterated = is_iterated
        self._ends = ends
        self._open: list[EventStream] = []
        self._events = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        stream = uwsgi_ws.event_stream(environ, start_response, "prices")
        stream.send("welcome")
        self._open, self._events = [stream], 0
        return map(bytes, stream) if self._is_iterated else stream

    def go_on(self) -> None:
        """Publish; after some turns end the stream. One that has ended is known no more."""
        if self._open and self._open[0].is_ended:
            self._open.clear()
        if self._open:
            uwsgi_ws.publish("prices", "x" * 20_000)
            self._events += 1
            if self._events == 5:
                stream = self._open.pop()
                if self._ends:
                    stream.close(1001)


@ways_to_fail
@pytest.mark.parametrize("carrier", REQUESTS)
@pytest.mark.parametrize(
    ("is_iterated", "ends"),
    [(False, False), (False, True), (True, True)],  # what is iterated over sees a client leave when it writes
    ids=["fed, the client leaves", "fed, the server ends", "iterated"],
)
def test_an_event_stream_that_breaks_anywhere_leaves_nothing(
    is_iterated: bool, ends: bool, carrier: str, how: dict[str, Any]
) -> None:
    application = Application(is_iterated=is_iterated, ends=ends)
    with working(application) as worker:
        front: Callable[[Any], Any] = getattr(worker, carrier)
        stream = break_everywhere(worker, front, *REQUESTS[carrier], meanwhile=application.go_on, room=1_000, **how)
    assert b"welcome" in stream.sent
    assert stream.sent.count(b"x") > 50_000
