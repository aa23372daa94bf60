"""How fast a peer may send, and what becomes of one that is faster."""

from __future__ import annotations

from typing import Any

from uwsgi_ws.websocket.rate import RateLimit


class Connection:
    """Counts a frame for each byte; the first ``handed`` reads go straight to who waits."""

    path = "/"

    def __init__(self, handed: int = 0) -> None:
        self.handed = handed
        self.frames_received = 0
        self.is_open = True
        self.told: list[object] = []

    def take_if_simple(self, data: bytes) -> Any:
        if not self.handed:
            return None
        self.handed -= 1
        return self

    def switch(self) -> None:
        self.told.append("switched to")

    def receive(self, data: bytes) -> None:
        self.frames_received += len(data)

    def close(self, code: int | None, reason: str) -> None:
        self.is_open = False
        self.told.append((code, reason))


def test_a_peer_that_sends_too_many_messages_is_closed_once_however_they_were_taken() -> None:
    connection = Connection(handed=3)
    limit = RateLimit(connection, 5, 0)
    for _ in range(3):
        limit.receive(b"x")
    limit.receive(b"xx")
    assert connection.told == ["switched to"] * 3
    limit.receive(b"xx")
    limit.receive(b"xx")
    assert connection.told[3:] == [(1008, "too many messages")]


def test_a_peer_that_sends_too_much_is_closed() -> None:
    connection = Connection()
    RateLimit(connection, 0, 5).receive(b"123456")
    assert connection.told == [(1008, "too much data")]


def test_the_end_of_the_stream_goes_to_the_connection_itself() -> None:
    connection = Connection(handed=1)
    RateLimit(connection, 1, 1).receive(b"")
    assert connection.told == []
    assert connection.handed == 1
