"""A token bucket's arithmetic."""

from __future__ import annotations

from uwsgi_ws.protocol.bucket import TokenBucket


def test_a_burst_may_be_spent_at_once_and_then_what_comes_back_with_time() -> None:
    bucket = TokenBucket(10, 10, 100.0)
    assert bucket.spend(10, 100.0)
    assert bucket.spend(5, 100.5)
    assert not bucket.spend(1, 100.5)


def test_quiet_hours_save_up_no_more_than_the_burst() -> None:
    bucket = TokenBucket(10, 10, 0.0)
    assert not bucket.spend(11, 3_600.0)


def test_what_is_overspent_is_owed() -> None:
    bucket = TokenBucket(10, 1, 0.0)
    assert not bucket.spend(12, 0.0)
    assert not bucket.spend(1, 2.5)
    assert bucket.spend(0, 3.5)


def test_what_is_earned_may_be_spent_again_up_to_the_burst() -> None:
    bucket = TokenBucket(2, 0, 0.0)
    assert bucket.spend(2, 0.0)
    bucket.earn(5)
    assert bucket.spend(2, 0.0)
    assert not bucket.spend(1, 0.0)
