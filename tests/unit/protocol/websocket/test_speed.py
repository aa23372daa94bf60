"""Masking by the definition, byte by byte (RFC 6455 5.3): the build in use, its Python twin, one without wsaccel."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.twins import both_twins, python_twin

NAME = "uwsgi_ws.protocol.websocket.speed"


def without_wsaccel() -> ModuleType:
    """Return the Python twin where wsaccel is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "wsaccel.xormask", None)
        return python_twin(NAME)


TWINS = {**both_twins(NAME), "without wsaccel": without_wsaccel()}
# The fixture is the same module for every example.
several = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=TWINS)
def speed(request: pytest.FixtureRequest) -> Any:
    return TWINS[request.param]


def masked(key: bytes, payload: bytes) -> bytes:
    return bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


@several
@given(key=st.binary(min_size=4, max_size=4), payload=st.binary(max_size=300))
def test_every_byte_is_xored_with_its_byte_of_the_key(speed: Any, key: bytes, payload: bytes) -> None:
    assert speed.unmask(key, payload) == masked(key, payload)
    assert speed.unmask(key, speed.unmask(key, payload)) == payload


@several
@given(key=st.binary(min_size=4, max_size=4), pieces=st.lists(st.binary(max_size=40)))
def test_a_masker_goes_on_where_the_piece_before_ended(speed: Any, key: bytes, pieces: list[bytes]) -> None:
    masker = speed.Masker(key)
    assert b"".join(masker.process(piece) for piece in pieces) == masked(key, b"".join(pieces))


def test_a_masking_key_has_four_bytes(speed: Any) -> None:
    for key in (b"", b"123", b"12345"):
        with pytest.raises(ValueError, match=r"4|four"):
            speed.Masker(key)


@pytest.mark.parametrize("size", [7, 8, 9, 65_535, 65_536, 1_048_577])
def test_long_payloads_are_masked_to_their_last_byte(speed: Any, size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    assert speed.unmask(b"\x01\x80\xff\x00", payload[:size]) == masked(b"\x01\x80\xff\x00", payload[:size])


def test_a_payload_is_filled_piece_by_piece_and_never_past_its_size(speed: Any) -> None:
    masker = speed.Masker(b"\x01\x80\xff\x00")
    payload = speed.Payload(10)
    plain = "abcdé".encode()
    raw = masked(b"\x01\x80\xff\x00", plain + b"xy")
    assert payload.last(3) == b""
    assert payload.add(masker, raw[:4])
    assert payload.last(2) == b"cd"
    assert payload.last(0) == b""
    assert not payload.add(masker, raw[4:6])
    assert payload.add(masker, raw[6:])
    assert payload.last(99) == plain + b"xy"
    with pytest.raises(ValueError, match="more than"):
        payload.add(masker, b"123")
    for wrong in ((None, b"x"), (masker, None)):
        with pytest.raises((TypeError, AttributeError)):
            payload.add(*wrong)
    assert payload.take() == plain + b"xy"
    with pytest.raises((TypeError, ValueError)):
        payload.add(masker, b"x")
    with pytest.raises(ValueError, match="negative"):
        speed.Payload(-1)


@several
@given(pieces=st.lists(st.integers(0, 9_000), max_size=12), count=st.integers(0, 20_000))
def test_a_payload_is_the_same_in_pieces_of_any_size(speed: Any, pieces: list[int], count: int) -> None:
    key = b"\x01\x80\xff\x00"
    plain = bytes(index % 251 for index in range(sum(pieces)))
    raw = speed.unmask(key, plain)
    masker, payload, at = speed.Masker(key), speed.Payload(len(plain)), 0
    for size in pieces:
        payload.add(masker, raw[at : at + size])
        at += size
        assert payload.last(count) == plain[max(0, at - count) : at]
    assert payload.take() == plain


def test_a_payload_in_single_bytes_takes_no_more_objects_than_it_must(speed: Any) -> None:
    masker, payload = speed.Masker(b"\x01\x80\xff\x00"), speed.Payload(100_000)
    for _ in range(100_000):
        payload.add(masker, b"x")
    assert len(getattr(payload, "_parts", ())) <= 100_000 // 2_048
    assert len(payload.take()) == 100_000
