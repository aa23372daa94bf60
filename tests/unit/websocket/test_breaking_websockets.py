"""WebSockets whose stream fails at its n-th call, over each front and in threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hpack import Encoder
from support.breaking import Worker, break_everywhere, ways_to_fail, working
from support.http2_client import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, WINDOW_UPDATE
from support.http2_client import frame as http2_frame
from support.uwsgi_client import packet_of
from support.websocket_client import CONTINUATION, PING, TEXT, close_frame, frame, handshake, text

import uwsgi_ws

ROOM = 100_000  # what the kernel takes at once
LARGE = "x" * 200_000
TALK = [
    text("hello"),
    frame(TEXT, b"in ", fin=False),
    frame(PING, b"between") + frame(CONTINUATION, b"two", fin=True),
    text("large"),
    frame(TEXT, b"cut anywhere")[:5],
    frame(TEXT, b"cut anywhere")[5:] + text("one more"),
]


def echo(environ: dict[str, Any], start_response: Any) -> Any:
    """Echoes; sends a message that no kernel takes at once, and closes, when asked to."""
    connection = uwsgi_ws.accept(environ)
    connection.join("lobby")
    for message in connection:
        if message == "close":
            connection.close(4001, "as you wish")
        else:
            connection.send(LARGE if message == "large" else message)
    return []


ENDS = {
    "the peer's close": [close_frame(1000)],
    "ours": [text("close"), close_frame(4001)],
    "a fault of the peer's": [frame(3, b"of no meaning")],
    "the end of the stream": [],
}


def http1(worker: Worker, talk: list[bytes]) -> tuple[Callable[[Any], Any], list[bytes]]:
    return worker.http1, [handshake(), *talk]


def uwsgi(worker: Worker, talk: list[bytes]) -> tuple[Callable[[Any], Any], list[bytes]]:
    return worker.uwsgi, [packet_of(handshake()), *talk]


def http2(worker: Worker, talk: list[bytes]) -> tuple[Callable[[Any], Any], list[bytes]]:
    """RFC 8441, by a client whose windows are as large as they may be."""
    large = (2**31 - 1).to_bytes(4, "big")
    opening = Encoder().encode(
        [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "x"),
            ("sec-websocket-version", "13"),
        ]
    )
    return worker.http2, [
        PREFACE + http2_frame(SETTINGS, b"\0\4" + large) + http2_frame(WINDOW_UPDATE, (2**30).to_bytes(4, "big")),
        http2_frame(HEADERS, opening, flags=END_HEADERS, stream=1),
        *(http2_frame(DATA, piece, stream=1) for piece in talk),
        http2_frame(DATA, flags=END_STREAM, stream=1),
    ]


Carrier = Callable[[Worker, list[bytes]], tuple[Callable[[Any], Any], list[bytes]]]


@ways_to_fail
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("carrier", [http1, uwsgi, http2])
def test_a_websocket_that_breaks_anywhere_leaves_nothing(carrier: Carrier, end: str, how: dict[str, Any]) -> None:
    with working(echo) as worker:
        make, pieces = carrier(worker, [*TALK, *ENDS[end]])
        stream = break_everywhere(worker, make, *pieces, room=ROOM, **how)
    sent = bytes(stream.sent)
    assert sent.count(b"x") > ROOM, "more than the kernel had room for; over HTTP/2 the peer may leave before the end"
    assert all(part in sent for part in (b"hello", b"in two"))
