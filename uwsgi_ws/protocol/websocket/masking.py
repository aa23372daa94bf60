"""The masking of payloads (RFC 6455 5.3) where neither the compiled twin nor wsaccel is there: correct, if slower."""

from __future__ import annotations

__all__ = ["Masker"]


class Masker:
    """Masks, or unmasks, what comes in pieces; wsaccel's ``XorMaskerSimple`` in Python.

    Args:
        key: Four bytes.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != 4:
            raise ValueError("a masking key has four bytes")
        self._key = bytes(key)

    def process(self, data: bytes) -> bytes:
        """Return the next piece XORed with the key."""
        key = self._key
        size = len(data)
        whole, rest = divmod(size, 4)
        mask = key * whole + key[:rest]
        self._key = key[rest:] + key[:rest]
        return (int.from_bytes(data, "little") ^ int.from_bytes(mask, "little")).to_bytes(size, "little")
