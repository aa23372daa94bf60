"""Shared areas' memory: bytes, and numbers that several processes count together."""

from __future__ import annotations

import os
from contextlib import nullcontext
from mmap import mmap

import pytest

from uwsgi_ws.shared.areas import SharedArea
from uwsgi_ws.shared.locks import SharedLocks


def make(size: int = 10) -> SharedArea:
    return SharedArea(memoryview(bytearray(size)), memoryview(bytearray(8)), nullcontext())


def test_what_is_written_can_be_read() -> None:
    area = make()
    area.write(2, b"abc")
    assert (area.read(0, 6), area.read(9, 1), area.read(3, 0)) == (b"\0\0abc\0", b"\0", b"")
    assert area.changes == 1
    area.note_change()
    assert area.changes == 2


@pytest.mark.parametrize(("position", "size"), [(10, 0), (9, 2), (-1, 1), (0, 11), (3, -1), (2**62, 2**62)])
def test_there_is_nothing_outside(position: int, size: int) -> None:
    area = make()
    with pytest.raises(IndexError):
        area.read(position, size)
    if 0 <= size < 100:
        with pytest.raises(IndexError):
            area.write(position, bytes(size))
    assert area.changes == 0


def test_a_number_begins_anew_when_it_gets_too_large() -> None:
    area = make()
    area.add(1, 4, 2**32 - 1)
    area.add(1, 4, 3)
    assert area.read(0, 6) == b"\0\2\0\0\0\0"
    area.add(1, 4, -3)
    assert area.read(0, 6) == b"\0\xff\xff\xff\xff\0"
    with pytest.raises(IndexError):
        area.add(7, 4, 1)


def test_processes_that_count_together_lose_nothing() -> None:
    area = SharedArea(memoryview(mmap(-1, 8)), memoryview(mmap(-1, 8)), SharedLocks().lock())
    children = []
    for _ in range(3):
        pid = os.fork()
        if not pid:
            for _ in range(1_000):
                area.add(0, 8, 1)
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    assert (int.from_bytes(area.read(0, 8), "little"), area.changes) == (3_000, 3_000)
