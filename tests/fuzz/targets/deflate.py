"""permessage-deflate: what is negotiated for any offer, what any compressed bytes become, and back."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

from fuzz.builds import Build, raised
from fuzz.inputs import Reader, cuts

MEASURED = ("protocol/websocket/deflate",)
VECTORS = None


def _raw(data: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


SEEDS = [
    b"\0\0\0permessage-deflate; client_max_window_bits\n" + _raw(b"hello, hello, hello"),
    b'\1\1\1permessage-deflate; server_max_window_bits=10; client_max_window_bits="9", x\n' + _raw(bytes(2_000)),
    b"\2\2\2permessage-deflate; server_no_context_takeover; client_no_context_takeover\n\x4a\x4c\4\0",
    b"\3\1\3x;y=1, permessage-deflate; server_max_window_bits=8, permessage-deflate\n\x03\0" + _raw(b"after the last"),
    b"\4\0\0permessage-deflate; a; a, permessage-deflate; client_max_window_bits=7,permessage-deflate;=\n",
    b"\5\0\1permessage-deflate; server_no_context_takeover=1, permessage-deflate;client_max_window_bits=12\n\xff\xff",
    # Refused or not, as it is cut: its distances reach past the window.
    b'\1\1\1permessage-deflate; server_max_window_bits=10; client_max_window_bits="9"\n'
    b"b`\x18\5\xa3`\x14permess\xa0g\x82Q0\n\0",
]
LIMITS = (10, 1_000, 100_000, 1_048_576)
#: Bytes of a compressed message: zlib makes a thousand times as many of them, at most.
MOST = 1_000


def prepare(builds: Sequence[Build]) -> Callable[[bytes], None]:
    deflate, errors = builds[0].module("protocol.websocket.deflate"), builds[0].module("errors")

    def inflated(agreement: Any, pieces: list[bytes], limit: int) -> Any:
        end = deflate.Compressors(deflate.DeflateSettings()).deflate(agreement)
        inflater = end.inflater(limit)
        try:
            return b"".join([*map(inflater.inflate, pieces), inflater.finish()])
        except (errors.InvalidDeflate, errors.MessageTooBig) as exc:
            return raised(exc)

    def negotiated(header: str, settings: Any) -> Any:
        agreement = deflate.negotiate({"HTTP_SEC_WEBSOCKET_EXTENSIONS": header}, settings)
        if agreement is None:
            return None
        assert 9 <= agreement.server_bits <= settings.window_bits
        assert 8 <= agreement.client_bits <= 15
        assert settings.has_takeover or not (agreement.server_takeover or agreement.client_takeover)
        assert deflate.NAME in header.lower()
        # What is answered, offered once more, is agreed on in the same way.
        again = deflate.negotiate({"HTTP_SEC_WEBSOCKET_EXTENSIONS": agreement.header}, settings)
        assert again == agreement, (agreement, again)
        return agreement

    def check(data: bytes) -> None:
        reader = Reader(data)
        flags, limit, sort = reader.byte(), LIMITS[reader.below(4)], reader.byte()
        takes = bool(flags & 1)
        settings = deflate.DeflateSettings(9 + sort % 7, 1 + sort % 9, 1 + sort % 9, flags >> 4, takes)
        agreement = negotiated(reader.line().decode("latin-1"), settings)
        if agreement is None:
            agreement = deflate.Agreement(settings.window_bits, 15, takes, takes, "")
        message = reader.rest()
        compressed = message[:MOST]
        first: Any = None
        for pieces in cuts(compressed):
            outcome = inflated(agreement, pieces, limit)
            if first is None:
                first = outcome
            is_bytes = isinstance(outcome, bytes)
            if outcome != first and (is_bytes or isinstance(first, bytes)):
                assert_past_window(outcome, first, agreement.client_bits, compressed)
            assert not is_bytes or len(outcome) <= limit
        compare_with_zlib(compressed, first, max(agreement.client_bits, 9), limit)
        round_trip(agreement, settings, message)

    def round_trip(agreement: Any, settings: Any, message: bytes) -> None:
        end = deflate.Compressors(settings).deflate(agreement)
        inflater = zlib.decompressobj(-agreement.server_bits)
        for payload in (message, message[::-1], message):
            found = end.compress(payload)
            assert found is None or len(found) < len(payload)
            if not end.has_takeover:
                inflater = zlib.decompressobj(-agreement.server_bits)
            if found is not None:
                assert inflater.decompress(found + b"\0\0\xff\xff") == payload

    return check


def assert_past_window(one: Any, other: Any, bits: int, compressed: bytes) -> None:
    """Allow two cuts to end in a message and in a refusal only if the peer went past the window that it agreed on.

    zlib checks a distance against its window only where this reaches back before the call: whether such a message is
    refused depends on how it comes. Each peer that keeps its word is inflated alike.
    """
    message, refusal = (one, other) if isinstance(one, bytes) else (other, one)
    assert refusal[0] == "InvalidDeflate"
    assert "too far back" in refusal[1], refusal
    assert bits < 15
    compare_with_zlib(compressed, message, 15, len(message))


def compare_with_zlib(compressed: bytes, outcome: Any, bits: int, limit: int) -> None:
    """Hold a message to what zlib makes of it at once."""
    plain, rest = b"", compressed + b"\0\0\xff\xff"
    try:
        while rest:
            inflater = zlib.decompressobj(-bits if not plain else -15)
            plain += inflater.decompress(rest)
            if not inflater.eof:
                break
            rest = inflater.unused_data
    except zlib.error:
        assert not isinstance(outcome, bytes)
        return
    if len(plain) <= limit:
        assert outcome == plain, "zlib can inflate it"
    else:
        assert outcome[0] == "MessageTooBig"
