"""Subclasses of text and bytes are taken for what they hold."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from uwsgi_ws.protocol.plain import octets, plain_bytes, plain_str


class Text(str):
    def __str__(self) -> str:
        return "other"

    def encode(self, *args: Any) -> bytes:
        return b"other"


class Octets(bytes):
    def __bytes__(self) -> bytes:
        return b"other"

    def __buffer__(self, flags: int, /) -> memoryview:
        """Is asked from Python 3.12 on (PEP 688)."""
        return memoryview(b"other")


def test_text_is_what_it_holds() -> None:
    for text in ("abc", Text("abc")):
        assert plain_str(text, "it is str") == "abc"
        assert type(plain_str(text, "it is str")) is str


def test_bytes_are_what_they_hold() -> None:
    for data in (b"abc", Octets(b"abc")):
        assert plain_bytes(data) == b"abc"
        assert type(plain_bytes(data)) is bytes


@pytest.mark.parametrize(
    "value", [b"abc", Octets(b"abc"), bytearray(b"abc"), memoryview(b"xabcx")[1:4], array("B", b"abc")]
)
def test_anything_with_a_buffer_is_octets(value: Any) -> None:
    assert octets(value, "it is bytes") == b"abc"
    assert type(octets(value, "it is bytes")) is bytes


@pytest.mark.parametrize("value", ["abc", 5, None, [1, 2]])
def test_nothing_else_is(value: Any) -> None:
    with pytest.raises(TypeError, match=f"it is bytes, not {type(value).__name__}"):
        octets(value, "it is bytes")


def test_nor_what_has_been_released() -> None:
    view = memoryview(b"abc")
    view.release()
    with pytest.raises(ValueError, match="released"):
        octets(view, "it is bytes")


@pytest.mark.parametrize("value", [b"abc", 5, None])
def test_text_is_no_bytes(value: Any) -> None:
    with pytest.raises(TypeError, match="it is str"):
        plain_str(value, "it is str")
