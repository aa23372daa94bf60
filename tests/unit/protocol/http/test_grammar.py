"""HTTP's words: each rule against the characters that its RFC lists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from uwsgi_ws.protocol.http import grammar

LATIN_1 = [chr(code) for code in range(256)]
PACKAGE = Path(grammar.__file__).resolve().parents[2]


def test_a_token_has_the_characters_of_rfc_9110_5_6_2() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    expected = set("!#$%&'*+-.^_`|~0123456789" + letters + letters.upper())
    assert {text for text in LATIN_1 if grammar.TOKEN.fullmatch(text)} == expected
    assert not grammar.TOKEN.fullmatch("")


def test_a_field_value_has_visible_characters_space_and_tab() -> None:
    expected = {text for text in LATIN_1 if text == "\t" or (ord(text) >= 32 and ord(text) != 127)}
    assert {text for text in LATIN_1 if grammar.FIELD_VALUE.fullmatch(text)} == expected
    assert {text for text in LATIN_1 if grammar.FIELD_VALUE_BYTES.fullmatch(text.encode("latin-1"))} == expected
    assert not grammar.FIELD_VALUE.fullmatch("ĉ")
    assert {text for text in LATIN_1 if grammar.SPLITTERS.search(text)} == {"\0", "\r", "\n"}


@pytest.mark.parametrize(
    ("text", "is_one"), [("200 OK", True), ("200", True), ("299 \xe9", True), ("20 O", False), ("200 a\nb", False)]
)
def test_a_status_is_three_digits_and_a_reason(text: str, is_one: bool) -> None:
    assert bool(grammar.STATUS.fullmatch(text)) is is_one


def test_a_length_has_up_to_20_ascii_digits() -> None:
    assert grammar.LENGTH.fullmatch("9" * 20)
    for text in ("", "9" * 21, "-1", "+1", "1_0", "\xb2", "٣"):
        assert not grammar.LENGTH.fullmatch(text)


def test_the_rules_have_no_copies() -> None:
    copies = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if path.name != "grammar.py"
        and re.search(r"\[\\t -~\\x80-\\xff\]|!#\$%&'\*\+\\-\.\^_`|\[\\0\\r\\n\]|\[0-9\]\{1,20\}", path.read_text())
    ]
    assert copies == []
