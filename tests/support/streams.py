"""Streams in memory: the interface of ``uwsgi_ws.net.base`` without a socket, a clock or a hub.

``MemoryStream`` gives what it was made of and keeps what it is sent. ``FailingStream`` fails at its n-th call; a test
counts n up until nothing fails any more (``failing_streams``) and so meets every place at which a connection can break.
``support.breaking`` has a whole server serve them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from uwsgi_ws.hub.poller import Receiver

#: Bytes that the kernel takes more in each turn.
_ROOM = 50_000


class MemoryStream:
    """A peer that has said all it will say, and takes as many bytes as the test lets it.

    Attributes:
        incoming: What is left to be read, one piece for each read. After the last one ``recv`` tells the end of the
            stream, and ``recv_now`` tells that nothing is there.
        room: How many more bytes the kernel takes; None is any number.
        sent: All bytes sent.
        writes: The same, one piece for each write.
        writable: What was given to ``when_writable``.
        receiver: What was given to ``start_receiving``.
    """

    is_plain = True
    raw = None
    has_unsent = False
    is_waiting = False
    waits_until = 0.0

    def __init__(self, *pieces: bytes, room: int | None = None) -> None:
        self.incoming = list(pieces)
        self.room = room
        self.sent = bytearray()
        self.writes: list[bytes] = []
        self.writable: Callable[[], object] | None = None
        self.receiver: Receiver | None = None
        self.is_shut = False
        self.is_closed = False

    def recv(self, timeout: float | None) -> bytes:
        self.attempt()
        return self.incoming.pop(0) if self.incoming else b""

    def recv_now(self) -> bytes | None:
        self.attempt()
        return self.incoming.pop(0) if self.incoming else None

    def send(self, data: Any) -> int:
        self.attempt()
        size = len(data) if self.room is None else min(len(data), self.room)
        if not size:
            return 0
        if self.room is not None:
            self.room -= size
        self._keep(data[:size])
        return size

    def sendmsg(self, buffers: list[Any]) -> int:
        return self.send(b"".join(buffers))

    def send_all(self, data: Any, timeout: float | None) -> None:
        self.attempt()
        assert self.writable is None, "what waits until it can write would be overtaken"
        self._keep(data)

    answer = send_all

    def start_receiving(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def pause_receiving(self) -> None:
        self.receiver = None

    def when_writable(self, callback: Callable[[], object]) -> None:
        self.writable = callback

    def stop_writing(self) -> None:
        self.writable = None

    def fileno(self) -> int:
        return -1 if self.is_closed else 99

    def progress(self) -> int:
        return len(self.sent)

    def expire(self) -> None:
        raise AssertionError("nothing waits for this stream")

    def shutdown(self) -> None:
        self.is_shut = True

    def reset(self) -> None:
        self.close()

    def close(self) -> None:
        self.is_closed = True
        self.receiver = self.writable = None

    def go_on(self) -> None:
        """Do what the kernel tells the hub in one turn: more can be written, and there is something to read."""
        if self.writable is not None:
            self.make_room(_ROOM)
        receiver = self.receiver
        if receiver is not None:
            try:
                data = self.recv_now() or b""
            except OSError:
                data = b""  # errors count as the end
            if not data:
                self.pause_receiving()
            receiver.receive(data)

    def make_room(self, size: int | None) -> None:
        """Have the kernel take ``size`` bytes more, and the hub tell so."""
        self.room = size
        if self.writable is not None:
            self.writable()

    def attempt(self) -> None:
        """Begin a call that may fail; a subclass says when one does."""

    def _keep(self, data: Any) -> None:
        self.sent += data
        self.writes.append(bytes(data))


class FailingStream(MemoryStream):
    """A stream whose ``at``-th call fails, counted from 1.

    Args:
        error: With what; a kernel that has given a peer up says TimeoutError, too.
        is_lasting: Whether all calls after it fail as well, as those of a connection that is gone. A kernel without
            memory may have some the next time.

    Attributes:
        has_failed: Whether the failing call has been made.
    """

    def __init__(
        self,
        *pieces: bytes,
        at: int,
        room: int | None = None,
        error: type[OSError] = ConnectionResetError,
        is_lasting: bool = True,
    ) -> None:
        super().__init__(*pieces, room=room)
        self._left = at
        self._error = error
        self._is_lasting = is_lasting
        self.has_failed = False

    def attempt(self) -> None:
        self._left -= 1
        if self._left == 0 or (self._left < 0 and self._is_lasting):
            self.has_failed = True
            raise self._error("of a test")


def failing_streams(
    *pieces: bytes, make: Callable[..., FailingStream] = FailingStream, **how: Any
) -> Iterator[FailingStream]:
    """Yield streams that fail at their first call, at their second, and so on, the last of which has not failed.

    The caller uses each before it asks for the next.

    Args:
        pieces: What the peer says.
        make: The kind of stream.
        how: Further arguments of it.
    """
    for at in itertools.count(1):
        stream = make(*pieces, at=at, **how)
        yield stream
        if not stream.has_failed:
            return
