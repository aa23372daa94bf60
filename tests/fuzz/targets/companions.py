"""What a companion sends: each build reads the same records from any cut of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from struct import pack
from typing import Any

from fuzz.builds import Build, raised
from fuzz.inputs import same_for_all_cuts

MEASURED = ("companions/records",)
VECTORS = None


def _record(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + pack(">I", len(payload)) + payload


SEEDS = [
    _record(b"V", pack(">HI", 1, 1_000)) + _record(b"T", b"text") + _record(b"D", b"\xff"),
    _record(b"R", b"200 OK\n") + _record(b"B", b"body") + _record(b"E", b""),
    _record(b"H", b"\4\0:key\1\0k\1\0X\1\0y") + _record(b"P", bytes(8)) + _record(b"C", b"\x03\xe8bye"),
    _record(b"J", b"room") + _record(b"L", b"room") + _record(b"I", b"a") + _record(b"O", b"a"),
    _record(b"U", b"\0\1aT\1text") + _record(b"U", b"\0\1aD\0") + _record(b"N", b"\0\0\0\1room"),
    _record(b"S", bytes(4)) + _record(b"G", b"log\xff"),
    _record(b"R", pack(">H", 200) + b"\2\0OK\1\0x"),
    b"T\0\0\0\4text",
    b"?\0\0\0\0",
]
MOST = 2_000


def prepare(builds: Sequence[Build]) -> Callable[[bytes], None]:
    modules = [build.module("companions.records") for build in builds]

    def check(data: bytes) -> None:
        found, _ = same_for_all_cuts(data, *(partial(decoded, records) for records in modules))
        for kind, value in found:
            again(modules[0], kind, value, data)

    return check


def decoded(records: Any, pieces: list[bytes]) -> tuple[list[tuple[Any, Any]], Any]:
    """Return the records that pieces make, and the error that ends them."""
    decoder = records.Decoder(MOST)
    found: list[Any] = []
    for piece in pieces:
        found += decoder.feed(piece)
    error = decoder.error
    assert error is None or not decoder.feed(b"T\0\0\0\0")
    return (
        [(kind, tuple(value) if isinstance(value, tuple) else value) for kind, value in found],
        None if error is None else raised(error),
    )


def again(records: Any, kind: int, value: Any, data: bytes) -> None:
    """Those records that a worker sends as well are made again as they were."""
    if kind in (records.TEXT_MESSAGE, records.DATA):
        opcode = 1 if kind == records.TEXT_MESSAGE else 2
        assert records.encode_message_head(opcode, len(value)) + value in data
    elif kind == records.BODY:
        assert records.encode_body(value) in data
    elif kind == records.CLOSE:
        assert records.encode_close(*value) in data
