"""Masking of payloads (RFC 6455 5.3).

wsaccel's C loop: 0.6 us for 32 bytes, 1.0 ms for 1 MiB. Big-integer XOR and ``bytes.translate`` over
strides, the fastest forms without it, take 0.7 us and 2.4 ms.
"""

from __future__ import annotations

from wsaccel.xormask import XorMaskerSimple

__all__ = ["Masker", "unmask"]

#: ``Masker(key).process(data)`` XORs successive pieces of one payload, the key's rotation kept between calls.
Masker = XorMaskerSimple


def unmask(key: bytes, payload: bytes) -> bytes:
    """Return ``payload`` XORed with the four bytes of ``key``; masking and unmasking are the same."""
    return Masker(key).process(payload)  # type: ignore[no-any-return]  # wsaccel is not typed
