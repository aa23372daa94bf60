"""What checks the chaos finds each fault that it is there for, and accuses nobody without reason."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from chaos.checker import GAP, Session, check

BEGUN = {"a": 0.0, "b": 0.0, "late": 50.0}


def session(words: str, *, recovered: bool | None = None, reader: str = "reader", start: float = 1.0) -> Session:
    """Return a session of ``LIFE NUMBER`` without the blank, and of gaps, a second between them."""
    items = [GAP if word == "gap" else (word.rstrip("0123456789"), int(word.lstrip("abelt"))) for word in words.split()]
    return Session(reader, recovered, items, [start + number for number in range(len(items))])


@pytest.mark.parametrize(
    ("sessions", "missed"),
    [
        (["a3 a4 b7 a5 b8"], 0),
        (["a3 gap a5 b1"], 1),
        (["a3 b1 gap b5 a5"], 4),
        (["a3 gap gap a4"], 0),
    ],
)
def test_what_is_signalled_may_be_missing(sessions: Sequence[str], missed: int) -> None:
    verdict = check(map(session, sessions), BEGUN)
    assert not verdict.problems
    assert verdict.missed == missed


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("a3 a5", "silent hole"),
        ("gap a3 a5", "silent hole"),
        ("a3 gap a5 a7", "silent hole"),
        ("a3 b1 gap a4 b3 b5", "silent hole"),
        ("a3 a4 a3", "duplicate"),
        ("a3 gap a3", "duplicate"),
        ("a3 a5 a4", "reordering"),
        ("a3 gap a5 a4", "reordering"),
    ],
)
def test_what_must_not_be_is_found(words: str, kind: str) -> None:
    assert kind in check([session(words)], BEGUN).problems


def test_a_life_that_began_while_a_reader_was_live_comes_from_its_first_message_on() -> None:
    assert "silent hole" in check([session("a1 late1")], BEGUN).problems
    assert not check([session("a1 late0 late1")], BEGUN).problems
    assert not check([session("late4 late5", start=60)], BEGUN).problems
    assert not check([session("a1 gap late4", start=60)], BEGUN).problems


def test_another_connection_begins_anew_unless_it_says_that_it_has_recovered() -> None:
    def after(words: str, recovered: bool | None) -> dict[str, int]:
        return dict(check([session("a1 a2"), session(words, recovered=recovered, start=9)], BEGUN).problems)

    assert after("a3 a4", True) == {}
    assert after("a4", True) == {"silent hole": 1}
    assert after("a2", True) == {"duplicate": 1}
    for recovered in (None, False):
        assert after("a2 a3", recovered) == {}
        assert after("a9", recovered) == {}
        assert after("a9 a8", recovered) == {"reordering": 1}


def test_two_readers_agree_about_the_order() -> None:
    assert not check([session("a1 b1 a2"), session("b1 a2", reader="other")], BEGUN).problems
    assert "another order" in check([session("a1 b1"), session("b1 a1", reader="other")], BEGUN).problems
    assert not check([session("a1 gap b1"), session("b1 gap a1", reader="other")], BEGUN).problems


def test_what_is_gone_of_what_was_missed_may_lack_anywhere_and_what_came_live_not() -> None:
    for until, problems in ((0, 1), (2, 0), (None, 0)):
        returned = session("a5 a7", recovered=False, start=9)
        returned.missed_until = until
        assert len(check([session("a1 a2"), returned], BEGUN).problems) == problems
