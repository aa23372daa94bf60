"""The keepalive policy, told the time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.protocol.websocket.keepalive import Action, KeepalivePolicy

POLICY = KeepalivePolicy(ping_freq=30.0, pong_tolerance=3.0)
NEVER = 0.0  # earlier than anything heard


def test_a_peer_heard_lately_is_left_alone_until_it_has_been_silent_for_long_enough() -> None:
    assert POLICY.judge(heard_at=100.0, pinged_at=NEVER, now=100.0) == (Action.WAIT, 130.0)
    assert POLICY.judge(heard_at=100.0, pinged_at=NEVER, now=129.9) == (Action.WAIT, 130.0)


def test_a_silent_peer_is_pinged_and_looked_at_again_when_its_pong_is_due() -> None:
    assert POLICY.judge(heard_at=100.0, pinged_at=NEVER, now=130.0) == (Action.PING, 133.0)
    assert POLICY.judge(heard_at=100.0, pinged_at=NEVER, now=150.0) == (Action.PING, 153.0)


def test_a_tolerance_longer_than_the_frequency_makes_pings_no_rarer() -> None:
    """Who answers at once is asked again, or found due, after each silence of ping_freq."""
    policy = KeepalivePolicy(ping_freq=5.0, pong_tolerance=60.0)
    assert policy.judge(heard_at=100.0, pinged_at=NEVER, now=105.0) == (Action.PING, 110.0)
    assert policy.judge(heard_at=100.0, pinged_at=105.0, now=110.0) == (Action.WAIT, 115.0)
    assert policy.judge(heard_at=111.0, pinged_at=105.0, now=115.0) == (Action.WAIT, 116.0)
    assert policy.judge(heard_at=100.0, pinged_at=105.0, now=163.0) == (Action.WAIT, 165.0)


def test_a_pinged_peer_is_waited_for_while_its_pong_may_come() -> None:
    assert POLICY.judge(heard_at=100.0, pinged_at=130.0, now=130.0) == (Action.WAIT, 133.0)
    assert POLICY.judge(heard_at=100.0, pinged_at=130.0, now=132.9) == (Action.WAIT, 133.0)


def test_a_peer_whose_pong_is_late_is_given_up() -> None:
    assert POLICY.judge(heard_at=100.0, pinged_at=130.0, now=133.0)[0] is Action.FAIL
    assert POLICY.judge(heard_at=100.0, pinged_at=130.0, now=1000.0)[0] is Action.FAIL


def test_any_byte_after_a_ping_is_an_answer() -> None:
    assert POLICY.judge(heard_at=130.5, pinged_at=130.0, now=140.0) == (Action.WAIT, 160.5)


def test_a_byte_in_the_very_moment_of_the_ping_is_an_answer() -> None:
    assert POLICY.judge(heard_at=130.0, pinged_at=130.0, now=135.0) == (Action.WAIT, 160.0)


def test_an_answered_peer_is_pinged_again_after_the_next_silence() -> None:
    assert POLICY.judge(heard_at=130.5, pinged_at=130.0, now=160.5) == (Action.PING, 163.5)


@given(st.floats(0.1, 100), st.floats(0.1, 100), st.floats(0.01, 5), st.integers(0, 200))
def test_a_peer_that_only_sends_is_never_given_up(freq: float, tolerance: float, pause: float, steps: int) -> None:
    policy = KeepalivePolicy(freq, tolerance)
    pause = min(pause, tolerance * 0.9)
    heard_at, pinged_at, now = 1.0, NEVER, 1.0
    for _ in range(steps):
        now += pause
        action, _due = policy.judge(heard_at, pinged_at, now)
        assert action is not Action.FAIL
        if action is Action.PING:
            pinged_at = now
        heard_at = now


@given(st.floats(0.1, 100), st.floats(0, 100))
def test_a_silent_peer_is_given_up_after_one_ping_and_never_late(freq: float, tolerance: float) -> None:
    policy = KeepalivePolicy(freq, tolerance)
    heard_at, pinged_at, now = 1.0, NEVER, 1.0
    actions = []
    for _ in range(1_010):  # asked once per ping_freq
        action, due = policy.judge(heard_at, pinged_at, now)
        if action is not Action.WAIT:
            actions.append(action)
        if action is Action.FAIL:
            break
        if action is Action.PING:
            pinged_at = now
        assert due >= now
        now = due
    assert actions == [Action.PING, Action.FAIL]
    assert now == pytest.approx(1.0 + freq + tolerance)
