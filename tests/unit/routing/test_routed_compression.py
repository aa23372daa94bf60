"""Which responses are compressed."""

from __future__ import annotations

import pytest

from uwsgi_ws.routing.compression import compressed_head


@pytest.mark.parametrize(
    "header",
    [
        ("Content-Type", "text/event-stream"),
        ("content-type", "Text/Event-Stream; charset=utf-8"),
        ("Cache-Control", "no-cache, No-Transform"),
        ("Content-Encoding", "br"),
    ],
)
def test_what_must_go_out_as_it_is_does(header: tuple[str, str]) -> None:
    assert compressed_head(200, [header]) is None
    assert compressed_head(200, [("Content-Type", "text/plain")]) is not None
