"""Reads arguments as uWSGI's functions, written in C, read them: what they take, and what they say of the rest.

Source: CPython's ``PyArg_ParseTuple``, formats ``s#``, ``s``, ``i``, ``l`` and ``L``.
"""

from __future__ import annotations

from operator import index
from typing import Any

from uwsgi_ws.protocol.plain import plain_bytes

__all__ = ["MOST", "c_bytes", "c_int", "c_long", "c_long_long", "c_str"]

#: The largest number of C's.
MOST = 2**63 - 1


def c_bytes(value: str | bytes, function: str, number: int) -> bytes:
    """Return text or bytes as bytes.

    Raises:
        TypeError: it is neither.
        UnicodeEncodeError: text that cannot be encoded.
    """
    if isinstance(value, str):
        return str.encode(value)
    if isinstance(value, bytes):
        return plain_bytes(value)
    kind = type(value).__name__
    try:
        memoryview(value)
    except TypeError:
        raise TypeError(f"a bytes-like object is required, not {kind!r}") from None
    raise TypeError(f"{function}() argument {number} must be read-only bytes-like object, not {kind}")


def c_str(value: str, function: str, number: int) -> str:
    """Return text.

    Raises:
        TypeError: it is none.
        ValueError: there is a null character in it.
    """
    if not isinstance(value, str):
        kind = "None" if value is None else type(value).__name__
        raise TypeError(f"{function}() argument {number} must be str, not {kind}")
    if "\0" in value:
        raise ValueError("embedded null character")
    return str.__str__(value)


def c_long(value: Any) -> int:
    """Return a whole number of 64 bits.

    Raises:
        TypeError: it is none.
        OverflowError: it is too large.
    """
    whole = int(index(value))
    if not ~MOST <= whole <= MOST:
        raise OverflowError("Python int too large to convert to C long")
    return whole


def c_int(value: Any) -> int:
    """Return a whole number of 32 bits.

    Raises:
        TypeError: it is none.
        OverflowError: it is too large.
    """
    whole = c_long(value)
    if not -(2**31) <= whole < 2**31:
        raise OverflowError(f"signed integer is {'less than minimum' if whole < 0 else 'greater than maximum'}")
    return whole


def c_long_long(value: Any) -> int:
    """Return a whole number of 64 bits, as ``c_long`` but for the words of an error."""
    whole = int(index(value))
    if not ~MOST <= whole <= MOST:
        raise OverflowError("int too big to convert")
    return whole
