"""Masking: the loop in use against the definition, byte by byte (RFC 6455 5.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.protocol.websocket.masking import Masker, Payload, unmask


def masked(key: bytes, payload: bytes) -> bytes:
    return bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


@given(st.binary(min_size=4, max_size=4), st.binary(max_size=300))
def test_every_byte_is_xored_with_its_byte_of_the_key(key: bytes, payload: bytes) -> None:
    assert unmask(key, payload) == masked(key, payload)
    assert unmask(key, unmask(key, payload)) == payload


@given(st.binary(min_size=4, max_size=4), st.lists(st.binary(max_size=40)))
def test_a_masker_goes_on_where_the_piece_before_ended(key: bytes, pieces: list[bytes]) -> None:
    masker = Masker(key)
    assert b"".join(masker.process(piece) for piece in pieces) == masked(key, b"".join(pieces))


@pytest.mark.parametrize("size", [7, 8, 9, 65_535, 65_536, 1_048_577])
def test_long_payloads_are_masked_to_their_last_byte(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    assert unmask(b"\x01\x80\xff\x00", payload[:size]) == masked(b"\x01\x80\xff\x00", payload[:size])


@pytest.mark.skipif(Payload is None, reason="pieces are joined where there is no compiled twin")
def test_a_payload_is_filled_piece_by_piece_and_never_past_its_size() -> None:
    masker = Masker(b"\x01\x80\xff\x00")
    payload = Payload(10)
    plain = "abcdé".encode()
    raw = masked(b"\x01\x80\xff\x00", plain + b"xy")
    assert payload.add(masker, raw[:4])
    assert payload.last(2) == b"cd"
    assert not payload.add(masker, raw[4:6])
    assert payload.add(masker, raw[6:])
    assert payload.last(99) == plain + b"xy"
    with pytest.raises(ValueError, match="more than"):
        payload.add(masker, b"123")
    assert payload.take() == plain + b"xy"
    for wrong in ((masker, b"x"), (None, b"x"), (masker, None)):
        with pytest.raises(TypeError):
            payload.add(*wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="negative"):
        Payload(-1)
