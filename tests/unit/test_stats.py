from types import SimpleNamespace

import pytest

from uwsgi_ws.request.base import Request
from uwsgi_ws.stats import Stats


def test_requests_are_numbered_and_summed_up_when_they_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uwsgi_ws.stats.monotonic", lambda: 1_000.5)
    stats = Stats()
    for number in (1, 2):
        request = Request({}, 0, 0)
        request.began_at = 1_000.0
        request.request_id = stats.begin()
        assert (stats.requests, request.request_id) == (number, number)
        request.header_bytes, request.body_bytes = 10, 5
        if number == 2:
            request.websocket = SimpleNamespace(bytes_sent=100)  # type: ignore[assignment]  # all that is asked of it
        stats.end(request.began_at, request.bytes_sent)
    assert stats.bytes_sent == 130
    assert stats.busy_seconds == 1.0
