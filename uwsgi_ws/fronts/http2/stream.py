"""One stream of an HTTP/2 connection: a ``Stream`` like that of a socket, for a request's body or a WebSocket.

What comes waits here until it is read, and only then is the peer's window opened again: a slow reader slows its
own stream, never a neighbour's. What goes out is cut to what the peer's windows and the connection's buffer have room
for; who finds none is called back in turn.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gevent import getcurrent
from gevent.hub import Hub

from uwsgi_ws.fronts.peer import StreamSettings
from uwsgi_ws.hub.own import refuse_copies
from uwsgi_ws.hub.poller import Receiver

__all__ = ["Carrier", "Http2Stream"]

_TIMED_OUT = object()
#: Bytes read from a file at once.
_FILE_PIECE = 65_536
#: Data below is joined with what comes behind it: kept by themselves, 131,072 bytes of window, each in a frame of its
#: own, would take 11 MiB.
_SMALL = 4_096
#: Data cut to fewer bytes than these, by the peer's window, costs more to send than to ask for.
_CRUMB = 128
#: RST_STREAM's error codes (RFC 9113 7).
NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0x0, 0x2, 0x7, 0x8


class Carrier(Protocol):
    """The connection, as its streams and their requests see it."""

    hub: Hub

    @property
    def settings(self) -> StreamSettings:
        """The worker's."""

    @property
    def scheme(self) -> str:
        """How its client reached us: ``http`` or ``https``."""

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 once closed."""

    def room(self, stream: Http2Stream) -> int:
        """Return how many bytes the stream may send now."""

    def taken_for(self, stream: Http2Stream) -> int:
        """Return the bytes that the peer has taken of others, if only they are in the stream's way; else 0."""

    def send_data(self, stream: Http2Stream, data: memoryview, *, is_end: bool) -> None:
        """Send data, no more than there is room for, and the end of the stream with it if so told."""

    def charge_crumb(self) -> None:
        """A few bytes will be sent because the peer's window has no room for more."""

    def end_stream(self, stream: Http2Stream) -> None:
        """Send the end of the stream."""

    def give_back(self, stream: Http2Stream, size: int) -> None:
        """Let the peer send ``size`` bytes more."""

    def line_up(self, stream: Http2Stream) -> None:
        """Call ``stream.write_on`` when there is room, in turn with others, until ``step_out``."""

    def step_out(self, stream: Http2Stream) -> None:
        """End the calls of ``line_up``."""

    def send_head(self, stream: Http2Stream, fields: Sequence[tuple[bytes, bytes]], *, is_end: bool = False) -> None:
        """Put a head into what goes out next."""

    def answer(self, stream: Http2Stream, fields: Sequence[tuple[bytes, bytes]], data: bytes) -> bool:
        """Send a whole answer if there is room for it; return whether there was."""

    def flush(self) -> None:
        """Send what waits, as far as the client takes it."""

    def drop(self, stream: Http2Stream, error_code: int | None) -> None:
        """Forget a stream; None if both sides have ended it, else the peer is told why."""


class Http2Stream:
    """Made when its request has come; ends by ``close`` or ``reset``, and then always forgotten by its carrier.

    Args:
        carrier: Its connection.
        number: Its id in it.

    Attributes:
        is_shut: We have ended our side.
        is_evicted: ``expire`` has been called.
        when_lost: Called in the hub when the peer, or the connection, has given the stream up.
    """

    __slots__ = (
        "_at_end",
        "_carrier",
        "_chunks",
        "_hub",
        "_is_closed",
        "_is_lost",
        "_moved",
        "_on_writable",
        "_parked",
        "_reader",
        "_receiver",
        "is_evicted",
        "is_shut",
        "number",
        "when_lost",
    )
    raw = None

    def __init__(self, carrier: Carrier, number: int) -> None:
        self._carrier: Any = carrier  # None once closed: what still knows the stream keeps no connection in memory
        self._hub: Any = carrier.hub
        self.number = number
        self._chunks: deque[tuple[bytes, int]] = deque()  # data, and what it took of the window
        self._at_end = False  # the peer sends nothing more
        self.is_shut = self.is_evicted = False
        self._is_lost = False  # the peer, or the connection, has given it up
        self._is_closed = False
        self._reader: Any = None
        self._parked: Any = None  # the greenlet whose wait has a deadline
        self._moved = 0  # bytes that have come and gone
        self._receiver: Receiver | None = None
        self._on_writable: Callable[[], object] | None = None
        self.when_lost: Callable[[], object] | None = None

    @property
    def is_plain(self) -> bool:
        """See Stream."""
        return False

    def fileno(self) -> int:
        """Return the connection's descriptor; -1 when the stream has ended."""
        return -1 if self._is_closed or self._is_lost else self._carrier.fileno()

    # What the connection tells

    def take(self, data: bytes, size: int) -> None:
        """Data has come; ``size`` is what it took of the window."""
        self._moved += len(data)
        if self._chunks and len(self._chunks[-1][0]) < _SMALL:
            before, size_before = self._chunks.pop()
            data, size = before + data, size_before + size
        self._chunks.append((data, size))
        self._wake_reader()

    def end(self) -> None:
        """The peer has ended its side."""
        self._at_end = True
        self._wake_reader()

    def lose(self) -> None:
        """The peer has reset the stream, or the connection is gone."""
        if self._is_lost:
            return
        self._is_lost = self._at_end = True
        # The greenlet that waits finds out; later, as only the hub may switch to it.
        self._hub.loop.run_callback(self._wake_reader)
        if self._on_writable is not None:
            self._hub.loop.run_callback(self.write_on)
        if self.when_lost is not None:
            self._hub.loop.run_callback(self.when_lost)

    def write_on(self) -> None:
        """There is room."""
        if self._on_writable is not None:
            self._on_writable()

    # Reading

    def recv(self, timeout: float | None) -> bytes:
        """See Stream."""
        while True:
            data = self.recv_now()
            if data is not None:
                return data
            self._reader = getcurrent()
            try:
                self._park(timeout)
            finally:
                self._reader = None

    def recv_now(self) -> bytes | None:
        """See Stream."""
        while self._chunks:
            data, size = self._chunks.popleft()
            self._carrier.give_back(self, size)
            if data:
                return data
        if self._is_lost:
            raise ConnectionResetError("the stream was reset")
        return b"" if self._at_end else None

    def start_receiving(self, receiver: Receiver) -> None:
        """See Stream."""
        self._receiver = receiver
        if self._chunks or self._at_end:
            self._hub.loop.run_callback(self._push)

    def pause_receiving(self) -> None:
        """See Stream."""
        self._receiver = None

    def _wake_reader(self) -> None:
        if self._receiver is not None:
            self._push()
        elif self._reader is not None:
            self._reader.switch()

    def _push(self) -> None:
        while self._receiver is not None:
            try:
                data = self.recv_now()
            except OSError:
                data = b""
            if data is None:
                return
            receiver = self._receiver
            if not data:
                self._receiver = None
            receiver.receive(data)

    def _park(self, timeout: float | None) -> None:
        """Switch to the hub until woken.

        Raises:
            TimeoutError: nobody did for ``timeout`` seconds.
        """
        refuse_copies()
        if timeout is None:
            self._hub.switch()
            return
        timer = self._hub.loop.timer(max(0.0, timeout))
        self._parked = getcurrent()
        timer.start(self._parked.switch, _TIMED_OUT)
        try:
            if self._hub.switch() is _TIMED_OUT:
                raise TimeoutError("no progress in time")
        finally:
            self._parked = None
            timer.stop()
            timer.close()

    def expire(self) -> None:
        """End a wait of ``recv``, ``send_all`` or ``sendfile`` in progress as if its time were up; the hub calls it."""
        self.is_evicted = True
        if self._parked is not None:
            self._parked.switch(_TIMED_OUT)

    def progress(self) -> int | None:
        """Return the bytes that have come and gone so far; None while nobody waits for the peer."""
        if self._parked is None:
            return None
        return self._moved if self._reader is not None else self._moved + self._carrier.taken_for(self)

    # Writing

    def send(self, data: Any, *, is_last: bool = False) -> int:
        """See Stream; the stream ends with the last byte of data that ``is_last``."""
        self._check_writable()
        if not len(data):
            return 0
        room = self._carrier.room(self)
        if room <= 0:
            return 0
        piece = memoryview(data)[:room]
        if room < _CRUMB and room < len(data):
            self._carrier.charge_crumb()
        self.is_shut = is_last and len(piece) == len(data)
        self._carrier.send_data(self, piece, is_end=self.is_shut)
        self._moved += len(piece)
        return len(piece)

    def sendmsg(self, buffers: list[Any]) -> int:
        """See Stream."""
        sent = 0
        for buffer in buffers:
            size = self.send(buffer)
            sent += size
            if size < len(buffer):
                break
        return sent

    def send_all(self, data: Any, timeout: float | None, *, is_last: bool = False) -> None:
        """See Stream, and ``send``."""
        rest = memoryview(data)
        while rest:
            sent = self.send(rest, is_last=is_last)
            if sent:
                rest = rest[sent:]
                continue
            self.when_writable(getcurrent().switch)
            try:
                self._park(timeout)
            finally:
                self.stop_writing()

    def sendfile(self, fd: int, offset: int, count: int, timeout: float | None, *, is_last: bool = False) -> int:
        """See Stream, and ``send``; the bytes are read, as they must be framed."""
        data = os.pread(fd, min(count, _FILE_PIECE), offset)
        self.send_all(data, timeout, is_last=is_last and len(data) == count)
        return len(data)

    def when_writable(self, callback: Callable[[], object]) -> None:
        """See Stream."""
        self._on_writable = callback
        if self._is_lost:
            self._hub.loop.run_callback(self.write_on)
        else:
            self._carrier.line_up(self)

    def stop_writing(self) -> None:
        """See Stream."""
        self._on_writable = None
        if self._carrier is not None:
            self._carrier.step_out(self)

    def _check_writable(self) -> None:
        if self._is_lost or self._is_closed or self.is_shut:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    # Ending

    def shutdown(self) -> None:
        """See Stream: END_STREAM, which RFC 8441 5 likens to TCP's FIN."""
        if not (self.is_shut or self._is_lost or self._is_closed):
            self.is_shut = True
            self._carrier.end_stream(self)

    def reset(self) -> None:
        """See Stream."""
        self._close(INTERNAL_ERROR)

    def close(self) -> None:
        """See Stream; a peer that still sends is told that nobody listens (RFC 9113 8.1).

        One that has ended its side gets END_STREAM, as TCP's FIN is answered (RFC 8441 5).
        """
        if self._at_end:
            self.shutdown()
        self._close(NO_ERROR if self.is_shut else CANCEL)

    def _close(self, error_code: int) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._receiver = self.when_lost = None
        self.stop_writing()
        for _, size in self._chunks:
            self._carrier.give_back(self, size)
        self._chunks.clear()
        is_over = self._is_lost or (self.is_shut and self._at_end)
        self._carrier.drop(self, None if is_over else error_code)
        self._carrier = None
