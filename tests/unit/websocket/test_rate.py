"""The arithmetic of how fast a peer may send."""

from __future__ import annotations

from uwsgi_ws.websocket.rate import Bucket


def test_a_seconds_worth_may_come_at_once_and_then_as_time_passes() -> None:
    bucket = Bucket(10, 100.0)
    assert bucket.take(10, 100.0)
    assert bucket.take(5, 100.5)
    assert not bucket.take(1, 100.5)


def test_quiet_hours_save_up_no_more_than_a_second() -> None:
    bucket = Bucket(10, 0.0)
    assert not bucket.take(11, 3_600.0)


def test_no_rate_is_no_limit() -> None:
    assert Bucket(0, 0.0).take(10**9, 0.0)
