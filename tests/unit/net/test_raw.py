"""A non-blocking socket's reads and writes: the build in use, and its Python twin."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.twins import both_twins

TWINS = both_twins("uwsgi_ws.net.raw")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


@pytest.fixture(params=[(twin, has_threads) for twin in TWINS for has_threads in (False, True)], ids=str)
def raw(request: pytest.FixtureRequest, pair: tuple[socket.socket, socket.socket]) -> Any:
    twin, has_threads = request.param
    return TWINS[twin].RawSocket(pair[0], has_threads)


@pytest.mark.parametrize("size", [100, 100_000])
def test_reading_returns_what_is_there_or_none_or_the_end(
    raw: Any, pair: tuple[socket.socket, socket.socket], size: int
) -> None:
    assert raw.recv(size) is None
    pair[1].sendall(b"one")
    assert raw.recv(size) == b"one"
    pair[1].sendall(b"x" * 200)
    assert raw.recv(100) == b"x" * 100
    pair[1].close()
    assert raw.recv(100) == b"x" * 100
    assert raw.recv(size) == b""


@pytest.mark.parametrize("way", ["send", "sendmsg"])
def test_writing_returns_what_went_and_0_when_nothing_can(
    raw: Any, pair: tuple[socket.socket, socket.socket], way: str
) -> None:
    data = b"x" * 10_000
    total = 0
    while (
        sent := raw.send(memoryview(data)) if way == "send" else raw.sendmsg([data[:1_000], memoryview(data)[1_000:]])
    ):
        total += sent
    assert total >= 10_000
    pair[1].close()
    with pytest.raises(OSError, match="Broken pipe"):
        raw.send(data)


def test_no_more_than_64_buffers_go_by_one_call(raw: Any, pair: tuple[socket.socket, socket.socket]) -> None:
    assert raw.sendmsg([b"x"] * 3_000) == 64


def test_what_is_closed_says_so(raw: Any) -> None:
    raw.close()
    for call in (lambda: raw.send(b"x"), lambda: raw.recv(1), lambda: raw.sendmsg([b"x"])):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call()
