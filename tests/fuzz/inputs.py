"""What a target makes of the bytes that a fuzzer gives it."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Reader", "cuts", "same_for_all_cuts"]

#: Bytes up to which an input is given byte by byte as well.
_SINGLE = 300


def cuts(data: bytes, count: int = 2) -> Iterator[list[bytes]]:
    """Yield ``data`` in one piece, in pieces drawn from it, and, if it is short, byte by byte.

    Args:
        data: Whatever a peer sends.
        count: How often pieces are drawn; the same for the same bytes.
    """
    if not data:
        yield []
        return
    yield [data]
    draw = random.Random(zlib.crc32(data))
    for _ in range(count):
        places = sorted(draw.randrange(len(data) + 1) for _ in range(draw.randrange(1, 6)))
        pieces = [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]
        yield [piece for piece in pieces if piece]
    if len(data) <= _SINGLE and draw.random() < 0.25:
        yield [data[at : at + 1] for at in range(len(data))]


def same_for_all_cuts(data: bytes, *readers: Callable[[list[bytes]], Any], count: int = 2) -> Any:
    """Return what each of ``readers`` makes of ``data``, which must be the same for whatever ``cuts`` yields."""
    first: Any = None
    for pieces in cuts(data, count):
        for reader in readers:
            outcome = reader(pieces)
            if first is None:
                first = outcome
            assert outcome == first, (reader, pieces)
    return first


class Reader:
    """Takes values off the front of an input; of an input that has ended nothing but zeros come."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def has_more(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def below(self, count: int) -> int:
        return self.byte() % count

    def word(self) -> int:
        return self.byte() << 8 | self.byte()

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def line(self) -> bytes:
        """Return what comes before the next line feed, or all."""
        end = self._data.find(b"\n", self._at)
        taken = self._data[self._at : end if end >= 0 else len(self._data)]
        self._at += len(taken) + 1
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._data))
