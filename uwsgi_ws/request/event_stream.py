"""A response that sends what is published on channels, as Server-Sent Events, for as long as the client stays.

An application returns an ``EventStream`` as it returns any iterable. The server does not iterate over it where it gets
the object itself: it is done with the application then, and the hub *feeds* the client straight from the bus, as it
does a joined WebSocket. No application's frame, and no thread, stays with the stream. The greenlet that serves the
client is parked, which keeps the client its place among the worker's.

Where a middleware stands in between, or another server, it is iterated over. Then events wait here until they are
taken, no more bytes of them than may wait for a slow client.

Used in the hub's thread, but for what applications and middlewares call.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from gevent import getcurrent
from gevent.event import Event

from uwsgi_ws.channels.overflow import Overflow, Slow
from uwsgi_ws.errors import ClientGone
from uwsgi_ws.hub.hub_calls import in_hub
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.net.dead_peers import give_up_after
from uwsgi_ws.protocol.http.event_stream import COMMENT, chunk, encode_binary, encode_event
from uwsgi_ws.protocol.websocket.frames import TEXT
from uwsgi_ws.protocol.websocket.messages import MESSAGE_OVERHEAD, Sendable, as_message
from uwsgi_ws.protocol.websocket.prepared import Prepared
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.live import ConnectionSettings
from uwsgi_ws.websocket.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from uwsgi_ws.channels.bus import Bus
    from uwsgi_ws.net.base import Stream

__all__ = ["EventStream"]

_log = logging.getLogger("uwsgi_ws.event_stream")


class Answer(Protocol):
    """A request, as the stream that is its response sees it."""

    body_bytes: int

    def hand_body_over(self, when_lost: Callable[[], object]) -> tuple[Stream, bool]:
        """See Request."""

    def finish(self) -> None:
        """See Request."""

    def abandon(self) -> None:
        """See Request."""


class EventStream:
    """Made by ``uwsgi_ws.event_stream``, to be returned by the application.

    Args:
        path: The request's, for the log.
        when_over: Called once, when the request is over.

    Attributes:
        is_handed_over: The server is going to feed the client; it is not iterated over.
        bytes_sent: Bytes of events so far.
    """

    __slots__ = (
        "_bus",
        "_is_chunked",
        "_is_ending",
        "_is_over",
        "_is_whole",
        "_news",
        "_outbox",
        "_path",
        "_poller",
        "_settings",
        "_size",
        "_spoke_at",
        "_stats",
        "_stream",
        "_timers",
        "_waiter",
        "_waiting",
        "_when_over",
        "bytes_sent",
        "is_handed_over",
        "wheel_slot",
    )

    def __init__(
        self,
        bus: Bus,
        settings: ConnectionSettings,
        poller: Poller,
        timers: Timers,
        stats: Stats,
        path: str,
        when_over: Callable[[], object] | None = None,
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._poller = poller
        self._timers = timers
        self._stats = stats
        self._path = path
        self._when_over = when_over
        self._stream: Stream | None = None
        self._outbox: Outbox | None = None
        self._is_chunked = False
        self._waiting: list[bytes] = []  # events, until the client is fed
        self._size = 0  # what they take
        self._news: Event | None = None  # set while there is something to iterate over
        self._waiter: Any = None  # the greenlet that is parked while the hub feeds the client
        self._is_ending = False  # nothing is added any more
        self._is_over = False  # nothing more is sent
        self._is_whole = True  # what was added was sent
        self._spoke_at = monotonic()
        self.is_handed_over = False
        self.bytes_sent = 0
        self.wheel_slot = 0

    def open(self, channels: Iterable[str], slow: Slow, first: bytes) -> None:
        """Send ``first``, and from now on what is published on channels. Raises as ``Bus.join``."""
        self._put(first, Overflow.CLOSE)
        try:
            for channel in channels:
                self._bus.join(channel, self, slow)
        except BaseException:
            self.dismiss()
            raise

    # What applications call

    def send(self, message: Sendable, *, event: str = "") -> None:
        """Send an event to this client alone; it goes behind those that wait, without waiting itself.

        Args:
            message: ``str`` as it is, anything bytes-like in base64 as an event of the type ``binary``.
            event: Another type than ``message``, for text.

        Raises:
            TypeError: the message is neither.
            ValueError: bytes with a type, or a type of more than one line.
        """
        opcode, payload = as_message(message)
        if "\n" in event or "\r" in event or "\0" in event or (event and opcode != TEXT):
            raise ValueError(f"{event!r} cannot be the type of this event")
        data = encode_event(payload, event) if opcode == TEXT else encode_binary(payload)
        in_hub(self._put, data + b"\n", Overflow.CLOSE)

    # What the bus calls

    def offer(self, prepared: Prepared, overflow: Overflow) -> bool:
        """See ``bus.Joined``."""
        return self._put(_event_of(prepared) + b"\n", overflow)

    def _put(self, event: bytes, overflow: Overflow) -> bool:
        if self._is_ending:
            return False
        if self._outbox is None:
            if not self._keep(event, overflow):
                return False
        elif not self._outbox.offer(chunk(event) if self._is_chunked else event, overflow):
            return False
        self._spoke_at = monotonic()
        self.bytes_sent += len(event)
        return True

    def _keep(self, event: bytes, overflow: Overflow) -> bool:
        """Keep an event until it is asked for."""
        size = len(event) + MESSAGE_OVERHEAD
        if self._waiting and self._size + size > self._settings.max_outbox:
            if overflow is Overflow.CLOSE:
                self._stats.slow_closed += 1
                self.outbox_overflows()
                return False
            if overflow is Overflow.DROP:
                self._stats.slow_dropped += 1
                return False
            self._stats.slow_dropped += len(self._waiting)
            self._waiting.clear()
            self._size = 0
        self._waiting.append(event)
        self._size += size
        if self._news is not None:
            self._news.set()
        return True

    # Feeding the client

    def hand_over(self) -> None:
        """Take note that the server feeds the client, rather than iterate."""
        self.is_handed_over = True

    def feed(self, request: Answer) -> None:
        """Send events to the client of a request until either side ends; in the greenlet that serves it.

        The response's head has been made, and no byte of its body.
        """
        try:
            self._begin(request)
            self._waiter = getcurrent()
            while not self._is_over:
                self._poller.hub.switch()
            self._let_go()
            if self._is_whole:
                request.finish()
            else:
                request.abandon()
        except ClientGone as gone:
            _log.info("%s: %s", self._path, gone)
            request.abandon()
        finally:
            self._let_go()
            request.body_bytes += self.bytes_sent

    def _begin(self, request: Answer) -> None:
        settings = self._settings
        self._stream, self._is_chunked = stream, _ = request.hand_body_over(self.outbox_lost)
        give_up_after(stream.fileno(), settings.send_timeout)
        hub, cork = self._poller.hub, self._poller.cork
        self._outbox = Outbox(self, stream, hub, cork, self._stats, limit=settings.max_outbox)
        events = b"".join(self._waiting)
        self._waiting.clear()
        if events:
            self._outbox.offer(chunk(events) if self._is_chunked else events, Overflow.CLOSE)
        if self._is_ending:
            self._end_soon()
        elif settings.keepalive.ping_freq:
            self._timers.schedule(self, self._spoke_at + settings.keepalive.ping_freq)

    def _let_go(self) -> None:
        """Leave the client to the front."""
        self.dismiss()
        self._waiter = None
        self._timers.cancel(self)
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.close()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.stop_writing()
            stream.pause_receiving()

    def tick(self, now: float) -> float | None:
        """Send a comment when nothing was sent for long; give up a client that takes nothing (see Wheel)."""
        outbox = self._outbox
        if outbox is None or self._is_over:
            return None
        if outbox.waits_for_kernel:
            stalled_by = outbox.progress_at + self._settings.send_timeout
            if now < stalled_by:
                return stalled_by
            _log.warning("%s: the client took no bytes for %g s", self._path, self._settings.send_timeout)
            self._end(is_whole=False)
            return None
        keepalive = self._settings.keepalive.ping_freq
        if not keepalive or self._is_ending:
            return None
        if now >= self._spoke_at + keepalive:
            outbox.cork(chunk(COMMENT) if self._is_chunked else COMMENT)
            self._spoke_at = now
        return self._spoke_at + keepalive

    # What the outbox tells

    def outbox_waits(self) -> None:
        """Look whether the client takes bytes in time."""
        self._timers.schedule(self, monotonic() + self._settings.send_timeout)

    def outbox_is_empty(self) -> None:
        """Go on with the end, if that had to wait for what has gone; else with the comments."""
        if self._is_ending:
            self._end(is_whole=True)
        elif self._settings.keepalive.ping_freq:
            self._timers.schedule(self, self._spoke_at + self._settings.keepalive.ping_freq)

    def outbox_lost(self) -> None:
        """End the stream: the client is gone."""
        self._end(is_whole=False)

    def outbox_overflows(self) -> None:
        """End the stream: the client is too slow."""
        _log.warning("%s: the client is too slow for what is published to it", self._path)
        self._end(is_whole=False)

    # Being iterated over

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> bytes:
        piece = in_hub(self._take)
        if piece is None:
            raise StopIteration
        return piece

    def _take(self) -> bytes | None:
        """Wait for events, and return those that are there; a comment when none came for long, None at the end."""
        if self._news is None:
            self._news = Event()
        while not self._waiting:
            if self._is_ending:
                return None
            self._news.clear()
            if not self._news.wait(self._settings.keepalive.ping_freq or None):
                return COMMENT
        piece = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        return piece

    # Ending

    @property
    def is_open(self) -> bool:
        """Whether events may be sent."""
        return not self._is_ending

    @property
    def is_ended(self) -> bool:
        """Whether nothing more is sent to the client."""
        return self._is_over

    def close(self, code: int | None = None, reason: str = "") -> None:
        """End the stream after what waits; the client will connect again.

        Args:
            code: A WebSocket's; None if it is the end of an iteration (PEP 3333), which a stream that is handed over
                does not have.
            reason: Nothing tells it to the client.
        """
        if code is None and self.is_handed_over:
            return
        in_hub(self._close)

    def _close(self) -> None:
        if self._is_ending:
            return
        self._leave()
        if self._outbox is not None:
            self._end_soon()

    def dismiss(self) -> None:
        """The request is over: hold nothing any more."""
        self._leave()
        self._is_over = True
        self._waiting.clear()
        when_over, self._when_over = self._when_over, None
        if when_over is not None:
            when_over()

    def _leave(self) -> None:
        self._is_ending = True
        self._bus.leave_all(self)
        if self._news is not None:
            self._news.set()

    def _end_soon(self) -> None:
        """End once the kernel has all that was sent."""
        assert self._outbox is not None, "the client is fed"
        if self._outbox.flush() and not self._outbox.waits_for_kernel:
            self._end(is_whole=True)

    def _end(self, *, is_whole: bool) -> None:
        """Have the greenlet that serves the client go on; or what iterates find the end."""
        if self._is_over:
            return
        self._leave()
        self._is_whole = is_whole
        if self._outbox is not None:
            self._is_over = True
            self._poller.hub.loop.run_callback(self._wake)

    def _wake(self) -> None:
        if self._waiter is not None:
            self._waiter.switch()


_latest: tuple[Prepared | None, bytes] = (None, b"")


def _event_of(prepared: Prepared) -> bytes:
    """Return a message as an event; of all that are given it one after the other, once."""
    global _latest
    known, event = _latest
    if known is not prepared:
        encode = encode_event if prepared.opcode == TEXT else encode_binary
        event = encode(prepared.payload)
        _latest = prepared, event
    return event
