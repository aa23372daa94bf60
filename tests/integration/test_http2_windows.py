"""Clients that give a window back as they like, however much they are sent, keep their connection."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from support.http2_client import Http2Client
from support.peers import require_module
from support.server import HTTP2_SOCKET, Server

APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [])
    return (b"x" * 65536 for _ in range(128))
"""
LENGTH = 128 * 65_536


PARTS = 3


class InParts(Http2Client):
    """Takes each DATA frame in parts, and opens the windows of stream and connection again for each of them."""

    def _take(self, event: object) -> None:
        if type(event).__name__ == "DataReceived":
            number: int = event.stream_id  # type: ignore[attr-defined]
            part = event.flow_controlled_length // PARTS + 1  # type: ignore[attr-defined]
            self.holds_back.add(number)
            for _ in range(PARTS):
                self.h2.increment_flow_control_window(part)
                with contextlib.suppress(require_module("h2.exceptions").StreamClosedError):
                    self.h2.increment_flow_control_window(part, number)
        super()._take(event)


def test_a_client_may_take_each_frame_in_parts(serve: Callable[..., Server]) -> None:
    """haproxy does, where its buffer has no room for a frame of ours: 10 MiB were its end."""
    server = serve(APPLICATION, program=HTTP2_SOCKET)
    with InParts(server.addresses[0]) as client:
        answer = client.request()
    assert (answer.status, len(answer.body)) == (200, LENGTH)
