"""Bytes both ways between two streams: what a routed WebSocket is, once its backend has accepted it.

No greenlet reads or writes here: the hub pushes what comes in at one side into the other. A side that takes nothing
stops the reading of the other, so a tunnel holds at most one read for each way. One greenlet waits for the end.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from uwsgi_ws.net.clock import Clock
from uwsgi_ws.net.poller import Receiver

if TYPE_CHECKING:
    from uwsgi_ws.net.base import Stream

__all__ = ["Tunnel"]


class Tunnel:
    """Joins two streams; both are closed when it ends.

    It ends when both sides have ended, when either breaks, or after ``idle_timeout`` seconds without a byte from
    either side. The end of one side alone is passed on, and the other may go on.

    Args:
        client: The client's stream.
        backend: The backend's.
        clock: For the idle time.
        idle_timeout: In seconds.

    Attributes:
        was_idle: It has ended because nobody spoke.
    """

    def __init__(self, client: Stream, backend: Stream, clock: Clock, idle_timeout: float) -> None:
        self._streams = (client, backend)
        self._clock = clock
        self._idle_timeout = idle_timeout
        self._heard_at = monotonic()
        self._end = Event()
        self._up = _Way(self, client, backend)
        self._down = _Way(self, backend, client)
        self.wheel_slot = 0  # the wheel's
        self.was_idle = False

    @property
    def bytes_to_client(self) -> int:
        """Bytes that the client has been sent."""
        return self._down.count

    def run(self, from_client: bytes, from_backend: bytes) -> None:
        """Carry bytes until the tunnel ends; those that came with the handshake first."""
        try:
            self._clock.schedule(self, self._heard_at + self._idle_timeout)
            self._down.start(from_backend)
            self._up.start(from_client)
            self._end.wait()
        finally:
            self._end.set()
            for stream in self._streams:
                stream.close()

    def heard(self) -> None:
        """Somebody has spoken."""
        self._heard_at = monotonic()

    def one_has_ended(self) -> None:
        """One side will say no more."""
        if self._up.has_ended and self._down.has_ended:
            self.end()

    def end(self) -> None:
        """Let ``run`` return."""
        self._end.set()

    def tick(self, now: float) -> float | None:
        """End the tunnel when nobody has spoken for too long (see Wheel)."""
        if self._end.is_set():
            return None
        due = self._heard_at + self._idle_timeout
        if now < due:
            return due
        self.was_idle = True
        self.end()
        return None


class _Way(Receiver):
    """One direction. While ``_rest`` holds bytes, the source is not read."""

    def __init__(self, tunnel: Tunnel, source: Stream, sink: Stream) -> None:
        self._tunnel: Any = tunnel
        self._source = source
        self._sink = sink
        self._rest = memoryview(b"")
        self.count = 0
        self.has_ended = False

    def start(self, data: bytes) -> None:
        """Begin with bytes that were read already."""
        if self._write(memoryview(data)):
            self._source.start_receiving(self)

    def receive(self, data: bytes) -> None:
        """See Receiver."""
        self._tunnel.heard()
        if data:
            if not self._write(memoryview(data)):
                self._source.pause_receiving()
        else:
            self.has_ended = True
            self._sink.shutdown()
            self._tunnel.one_has_ended()

    def _write(self, data: memoryview) -> bool:
        """Send what the sink takes; False when some is left, which then goes by itself."""
        try:
            sent = self._sink.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._tunnel.end()
            return False
        self.count += sent
        self._rest = data[sent:]
        if not self._rest:
            return True
        self._sink.when_writable(self._flush)
        return False

    def _flush(self) -> None:
        self._tunnel.heard()
        if self._write(self._rest):
            self._sink.stop_writing()
            self._source.start_receiving(self)
