"""Text and bytes of an application's as the interpreter's own types, whatever it has made of them.

An application may hand over a subclass of ``str`` or ``bytes``: a member of an Enum, a framework's safe string, a
message that knows its sender. What counts is what it holds. No method of it is asked: compiled code reads its bytes
past them, and what has been checked must be what is sent.
"""

from __future__ import annotations

from typing import Any

__all__ = ["is_text", "octets", "plain_bytes", "plain_str", "wire_value"]

_ALL = slice(None)


def plain_str(value: Any, what: str) -> str:
    """Return a ``str`` that is no subclass.

    Args:
        value: A str of any kind.
        what: The beginning of an error, such as ``a status is str``.

    Raises:
        TypeError: it is no str.
    """
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"{what}, not {type(value).__name__}")


def plain_bytes(value: bytes) -> bytes:
    """Return a ``bytes`` that is no subclass."""
    if type(value) is bytes:
        return value
    return bytes.__getitem__(value, _ALL)  # a buffer may be a method of theirs (PEP 688)


def octets(value: Any, what: str) -> bytes:
    """Return what a bytes-like object holds: of any format and shape, in C's order.

    Args:
        value: Has a buffer.
        what: The beginning of an error, such as ``a status is str``.

    Raises:
        TypeError: it is not bytes-like.
        ValueError: it is closed or released.
    """
    if type(value) is bytes:
        return value
    if isinstance(value, bytes):
        return plain_bytes(value)
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(f"{what}, not {type(value).__name__}") from None
    with view:
        return view.tobytes()


def is_text(payload: bytes) -> bool:
    """Return whether bytes are UTF-8, as a text message is.

    ``bytes.decode`` validates some 20 GB/s of ASCII, wsaccel's table walk 0.4; ``isascii`` makes no string.
    """
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def wire_value(value: str) -> str:
    """Return a value as environs have text; an application may have set one with other characters."""
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value
