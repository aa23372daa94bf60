"""Positions as clients send them, and which rule says what is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.channels.positions import Keep, Position, keeper, parse_position


@given(st.from_regex(r"[0-9a-f]{1,16}", fullmatch=True), st.integers(0, 2**63))
def test_a_position_comes_back_and_fits_into_a_header_line(epoch: str, number: int) -> None:
    text = str(Position(epoch, number))
    assert parse_position(text) == (epoch, number)
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text


@given(st.text())
def test_a_client_may_send_anything(text: str) -> None:
    position = parse_position(text)
    assert position is None or position.id >= 0


@pytest.mark.parametrize("text", ["", "-", "a-", "-1", "a-b", "a--1", "a-1-1", "a b-1", "é-1", "a-²", "a-" + "1" * 70])
def test_what_is_no_position_is_none(text: str) -> None:
    assert parse_position(text) is None


def test_the_first_pattern_that_fits_counts() -> None:
    keep_for = keeper([("room-secret*", 0, 10), ("room-[0-9]*", 5, 60), ("room-*", 7, 70)])
    assert keep_for("room-1") == Keep(5, 60)
    assert keep_for("room-x") == Keep(7, 70)
    assert keep_for("room-secret-1") is None
    assert keep_for("Room-1") is None
