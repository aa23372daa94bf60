"""An HTTP/2 connection over a stream that takes as many bytes as the test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from support.http2_client import HEADERS, PREFACE, SETTINGS, frame
from support.limits import make_limits

from uwsgi_ws.fronts.http2.front import Http2Front
from uwsgi_ws.fronts.peer import Peer, StreamSettings
from uwsgi_ws.hub.poller import Receiver
from uwsgi_ws.request.base import Request

GET = b"\x82\x86\x84\x41\x01x"


class Below:
    """The stream below: how much room the kernel has, and whether it is read from."""

    def __init__(self) -> None:
        self.room = 1 << 20
        self.receiver: Receiver | None = None
        self.when: Callable[[], object] | None = None

    def send(self, data: Any) -> int:
        if not self.room:
            return 0
        size = min(len(data), self.room)
        self.room -= size
        return size

    def when_writable(self, callback: Callable[[], object]) -> None:
        self.when = callback

    def stop_writing(self) -> None:
        self.when = None

    def start_receiving(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def pause_receiving(self) -> None:
        self.receiver = None

    def fileno(self) -> int:
        return 99

    def shutdown(self) -> None:
        """Nobody looks."""

    def close(self) -> None:
        self.receiver = self.when = None


def answer(request: Request) -> None:
    """A head of some 6,000 bytes, which no window holds back, and no body."""
    request.write_head("200 OK", [("X-Long", f"{id(request)}" * 500)], 0)
    request.finish()


@pytest.fixture
def below() -> Iterator[Below]:
    below = Below()
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


def test_who_does_not_read_our_answers_is_not_read_from_until_he_does(below: Below) -> None:
    below.room = 0
    answered = 0
    while below.receiver is not None:
        below.receiver.receive(frame(HEADERS, GET, flags=5, stream=2 * answered + 1))
        gevent.sleep(0)
        answered += 1
        assert answered < 1_000, "its answers are kept without end"
    assert answered > 10
    assert below.when is not None
    below.room = 100_000
    below.when()
    below.room = 1_000_000
    while below.when is not None:
        below.when()
    assert below.receiver is not None
