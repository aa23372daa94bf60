"""Users and passwords: HTTP's Basic authentication (RFC 7617), judged by one pair or by an htpasswd file."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["credentials", "known_users"]


def credentials(header: str) -> tuple[bytes, bytes]:
    """Return user and password of an Authorization header (RFC 7617); both empty when it has none."""
    scheme, _, coded = header.partition(" ")
    if scheme.lower() != "basic":
        return b"", b""
    try:
        user, _, password = base64.b64decode(coded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return b"", b""
    return user, password


def known_users(text: str) -> Callable[[bytes, bytes], bool]:
    """Return what judges a user and password: by ``USER:PASSWORD``, ``USER:`` for any password, or an htpasswd file.

    Raises:
        ValueError: The file cannot be read, or has passwords of another kind than SHA-1.
    """
    if not text:
        return lambda user, password: False
    name, colon, password = text.partition(":")
    if not colon:
        return _htpasswd(Path(text))
    known_user, known_password = os.fsencode(name), os.fsencode(password)
    if not password:
        return lambda user, password: hmac.compare_digest(user, known_user)

    def is_known(user: bytes, password: bytes) -> bool:
        # Both are compared whatever the first says: how long it takes must not tell a user's name.
        return hmac.compare_digest(user, known_user) & hmac.compare_digest(password, known_password)

    return is_known


def _htpasswd(path: Path) -> Callable[[bytes, bytes], bool]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as exc:
        raise ValueError(f"cannot read {str(path)!r}: {exc.strerror}") from exc
    users: dict[bytes, bytes] = {}
    for number, line in enumerate(lines, 1):
        user, _, coded = line.strip().partition(b":")
        if not user or user.startswith(b"#"):
            continue
        if not coded.startswith(b"{SHA}"):
            raise ValueError(f"{str(path)!r}, line {number}: only {{SHA}} passwords are known here (htpasswd -s)")
        users[user] = coded[5:]

    def is_known(user: bytes, password: bytes) -> bool:
        coded = base64.b64encode(hashlib.sha1(password, usedforsecurity=False).digest())
        return hmac.compare_digest(users.get(user, b""), coded)

    return is_known
