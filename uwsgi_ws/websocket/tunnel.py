"""Carries bytes both ways between two streams: a WebSocket whose frames somebody else makes.

That is the backend of a route, once it has accepted the WebSocket; or an application, see ``handed_over``.

No greenlet reads or writes here: the hub passes the bytes of each side on to the other. While a side takes nothing, the
other is not read, so a tunnel holds at most one read for each direction. One greenlet waits for the end.

Of the bytes, the tunnel only follows where the backend's frames end: there it can tell the client that this server
stops. The client's answer goes on to the backend, so both see a closing handshake.
"""

from __future__ import annotations

import math
from time import monotonic
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from uwsgi_ws.hub.poller import Receiver
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.protocol.websocket.boundary import FrameBoundary
from uwsgi_ws.protocol.websocket.frames import CloseCode, encode_close

if TYPE_CHECKING:
    from uwsgi_ws.net.base import Stream

__all__ = ["CLOSE_TIMEOUT", "FramedWay", "Tunnel", "Way"]

#: For a WebSocket in which neither side sent anything. RFC 6455 has no code for that; servers send 1001.
_IDLE = CloseCode.GOING_AWAY, "nothing came for too long"
#: Seconds for both ends to finish once the tunnel closes, including the rest of a frame.
CLOSE_TIMEOUT = 5.0


class Tunnel:
    """Joins two streams; both are closed when it ends.

    It ends when both sides have ended, or when either breaks. The end of one side is passed on, and the other side may
    go on. After ``idle_timeout`` seconds without a byte from either side the tunnel closes.

    Attributes:
        is_open: ``close`` has not been called.
        was_idle: It was closed because neither side sent anything.
    """

    def __init__(self, client: Stream, backend: Stream, timers: Timers, idle_timeout: float) -> None:
        self._streams = (client, backend)
        self._timers = timers
        self._idle_timeout = idle_timeout
        self._heard_at = monotonic()
        self._end = Event()
        self._up = self._make_up(client, backend)
        self._down = self._make_down(backend, client)
        self._close_by = math.inf
        self.wheel_slot = 0  # the wheel's
        self.is_open = True
        self.was_idle = False

    @property
    def bytes_to_client(self) -> int:
        """Bytes that the client has been sent."""
        return self._down.count

    @property
    def is_ended(self) -> bool:
        """Whether both streams are closed, or about to be."""
        return self._end.is_set()

    def run(self, from_client: bytes, from_backend: bytes) -> None:
        """Carry bytes until the tunnel ends; those that came with the handshake first."""
        try:
            self._timers.schedule(self, self._heard_at + self._idle_timeout)
            self._start(from_client, from_backend)
            self._end.wait()
        finally:
            self._stop()

    def _start(self, from_client: bytes, from_backend: bytes) -> None:
        self._down.start(from_backend)
        self._up.start(from_client)

    def _stop(self) -> None:
        self._end.set()
        self._timers.cancel(self)
        for stream in self._streams:
            stream.close()
        self._up.forget()
        self._down.forget()

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake with the client, without waiting for it; no effect the second time.

        The close frame goes out when the backend's frame in progress has passed, and nothing of the backend's comes
        after it. The client's answer goes to the backend, in bounded time. A backend that has begun to close itself
        goes on with that.

        Args:
            code: Of the close frame.
            reason: At most 123 bytes of UTF-8.
        """
        if self.is_open:
            self.is_open = False
            self._close_by = monotonic() + CLOSE_TIMEOUT
            self._timers.schedule(self, self._close_by)
            self._down.say_last(encode_close(code, reason))

    def heard(self, stream: Stream) -> None:
        """Note that one side, whose stream this is, has sent or taken something."""
        self._heard_at = monotonic()

    def one_has_ended(self) -> None:
        """End the tunnel once both sides have ended; called when one has."""
        if self._up.has_ended and self._down.has_ended:
            self.end()

    def end(self) -> None:
        """Let ``run`` return."""
        self._end.set()

    def tick(self, now: float) -> float | None:
        """Close the tunnel when it was idle for too long; end it when closing takes too long (see Wheel)."""
        if self._end.is_set():
            return None
        if self.is_open:
            return self._tick_open(now)
        if now < self._close_by:
            return self._close_by
        self.end()
        return None

    # Hooks, which handed_over extends

    def _tick_open(self, now: float) -> float | None:
        due = self._heard_at + self._idle_timeout
        if now < due:
            return due
        self.was_idle = True
        self.close(*_IDLE)
        return self._close_by

    def _make_up(self, client: Stream, backend: Stream) -> Way:
        return Way(self, client, backend)

    def _make_down(self, backend: Stream, client: Stream) -> FramedWay:
        return FramedWay(self, backend, client)


class Way(Receiver):
    """One direction. While ``_rest`` holds bytes, the source is not read."""

    def __init__(self, tunnel: Tunnel, source: Stream, sink: Stream) -> None:
        self._tunnel: Any = tunnel
        self._source = source
        self._sink = sink
        self._rest = memoryview(b"")
        self.count = 0
        self.has_ended = False

    def start(self, data: bytes) -> None:
        """Begin, with bytes that were read before."""
        if self._write(memoryview(self._passed(data))):
            self._source.start_receiving(self)

    def forget(self) -> None:
        """Pass nothing on any more."""
        self._rest = memoryview(b"")
        self._tunnel = None  # a reference cycle otherwise

    def receive(self, data: bytes) -> None:
        """See Receiver."""
        self._tunnel.heard(self._source)
        if data:
            if not self._write(memoryview(self._passed(data))):
                self._source.pause_receiving()
        else:
            self.has_ended = True
            self._sink.shutdown()
            self._tunnel.one_has_ended()

    @property
    def is_held(self) -> bool:
        """Whether the source is not read, as the sink takes nothing."""
        return bool(self._rest)

    def _passed(self, data: bytes) -> bytes:
        """Return what is sent for bytes from the source."""
        return data

    def _write(self, data: memoryview) -> bool:
        """Send what the sink takes; return False when some is left, which is then sent in the background."""
        try:
            sent = self._sink.send(data) if data else 0
        except OSError:
            return self._on_broken()
        self.count += sent
        self._rest = data[sent:]
        if not self._rest:
            return True
        self._sink.when_writable(self._flush)
        return False

    def _on_broken(self) -> bool:
        """The sink is broken; return whether the source is to be read nevertheless."""
        self._tunnel.end()
        return False

    def _flush(self) -> None:
        self._tunnel.heard(self._sink)
        if self._write(self._rest):
            self._sink.stop_writing()
            self._source.start_receiving(self)


class FramedWay(Way):
    """The direction to the client, which the tunnel may end by a close frame of its own."""

    def __init__(self, tunnel: Tunnel, source: Stream, sink: Stream) -> None:
        super().__init__(tunnel, source, sink)
        self._boundary = FrameBoundary()
        self._last = b""  # the close frame to end with, once there is one
        self._is_over = False  # the last frame has been sent, or is in the rest

    def say_last(self, frame: bytes) -> None:
        """End with ``frame``, at once or after the frame in progress; not if the source has closed already."""
        if self.has_ended or self._boundary.has_close:
            return
        self._last = frame
        if self._boundary.is_here:
            self._is_over = True
            if not self._write(memoryview(bytes(self._rest) + frame)):
                self._source.pause_receiving()

    def _passed(self, data: bytes) -> bytes:
        if self._is_over:
            return b""
        if not self._last:
            self._boundary.follow(data)
            return data
        end = self._boundary.follow_frame(data)
        if not self._boundary.is_here:
            return data
        self._is_over = True
        return data[:end] if self._boundary.has_close else data[:end] + self._last
