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
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from gevent import getcurrent
from gevent.event import Event as GeventEvent

from uwsgi_ws.channels.events import Encode, Event, Gap, MemberJoined, MemberLeft, Published
from uwsgi_ws.channels.overflow import Overflow, Slow
from uwsgi_ws.channels.positions import LATEST
from uwsgi_ws.errors import ClientGone
from uwsgi_ws.hub.hub_calls import in_hub
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.net.dead_peers import give_up_after
from uwsgi_ws.protocol.http.event_stream import (
    COMMENT,
    chunk,
    encode_binary,
    encode_event,
    encode_id,
    encode_retry,
    read_ids,
    write_ids,
)
from uwsgi_ws.protocol.websocket.frames import TEXT
from uwsgi_ws.protocol.websocket.messages import MESSAGE_OVERHEAD, Sendable, as_message
from uwsgi_ws.protocol.websocket.prepared import Prepared
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.live import ConnectionSettings
from uwsgi_ws.websocket.outbox import Outbox

if TYPE_CHECKING:
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
        "_channels",
        "_encode",
        "_has_hole",
        "_has_id",
        "_has_own_ids",
        "_is_chunked",
        "_is_ending",
        "_is_opening",
        "_is_over",
        "_is_whole",
        "_news",
        "_outbox",
        "_path",
        "_poller",
        "_positions",
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
        self._channels: Sequence[str] = ()
        self._encode: Encode | None = None
        self._positions: list[str | None] = []  # of the last messages on them
        self._has_id = False  # events get one
        self._has_own_ids = True  # they are not those of the channel
        self._is_opening = False  # what is kept of channels may come, and need not be sent yet
        self._has_hole = False  # an event could not be taken
        self._stream: Stream | None = None
        self._outbox: Outbox | None = None
        self._is_chunked = False
        self._waiting: list[bytes] = []  # events, until the client is fed
        self._size = 0  # what they take
        self._news: GeventEvent | None = None  # set while there is something to iterate over
        self._waiter: Any = None  # the greenlet that is parked while the hub feeds the client
        self._is_ending = False  # nothing is added any more
        self._is_over = False  # nothing more is sent
        self._is_whole = True  # what was added was sent
        self._spoke_at = monotonic()
        self.is_handed_over = False
        self.bytes_sent = 0
        self.wheel_slot = 0

    def open(
        self,
        channels: Sequence[str],
        slow: Slow = "close",
        *,
        retry: int,
        last_id: str = "",
        since: str = LATEST,
        encode: Encode | None = None,
        member: dict[str, Any] | None = None,
    ) -> None:
        """Send what is published on channels from now on, after what the client has missed. Waits as ``Bus.join`` does.

        Args:
            channels: Any names, each once.
            slow: See ``Bus.join``.
            retry: Milliseconds after which the client shall come back.
            last_id: The last that it has seen; empty if it has seen none.
            since: Where one begins that has seen none.
            encode: What it gets instead of the messages as they are.
            member: What others see of it on each channel; None for nothing.

        Raises: as ``Bus.join``.
        """
        self._put(encode_retry(retry), Overflow.CLOSE)
        self._channels, self._encode = channels, encode
        comes_back = self._has_id = bool(last_id)
        positions: list[str | None] = read_ids(last_id, len(channels)) if comes_back else [None] * len(channels)
        self._positions = positions
        has_others = len(channels) > 1
        self._is_opening = True
        has_all = True
        try:
            for place, channel in enumerate(channels):
                before = positions[place]
                begin = len(self._waiting)
                encoder = _encoder(encode, place if has_others else None)
                begin_at = since if before is None else before
                joined = self._bus.join(channel, self, slow, since=begin_at, encode=encoder, member=member)
                if comes_back and (before is None or not joined.recovered):
                    has_all = False
                    self._waiting.insert(begin, self._gap(channel))
                if positions[place] == before:  # else a message has come with a later one
                    positions[place] = joined.position
        except BaseException:
            self.dismiss()
            raise
        self._has_id = True
        self._has_own_ids = has_others
        if comes_back and has_all:
            self._put(encode_event(b"", "recovered") + b"\n", Overflow.CLOSE)
        if any(positions):
            self._put(encode_id(write_ids(positions)), Overflow.CLOSE)
        self._is_opening = False
        self._size = 0  # what is kept does not count, or the client could never get it

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
        """See ``bus.Joined``; what comes has been made by ``_encoder``."""
        return self._put(self._with_id(prepared.payload), overflow)

    def _with_id(self, event: bytes) -> bytes:
        """Return an event with the id that it has in this stream: the positions on all channels."""
        if not self._has_own_ids:
            return event
        body, mark, end = event.rpartition(_ID)
        if not mark:
            return event
        *place, position = end.decode().split()
        self._positions[int(place[0]) if place else 0] = position
        # Before all channels are joined, an id would not say where a client begins that has named none.
        return body + b"\n" + (encode_id(write_ids(self._positions)) if self._has_id else b"\n")

    def _gap(self, channel: str) -> bytes:
        return _encoder(self._encode, None)(Gap(channel)) or b""

    def _put(self, event: bytes, overflow: Overflow) -> bool:
        if self._is_ending:
            return False
        if self._has_hole:
            event = b"".join(map(self._gap, self._channels)) + event
        outbox = self._outbox
        if outbox is None:
            is_taken = self._keep(event, overflow)
        else:
            is_taken = outbox.offer(chunk(event) if self._is_chunked else event, overflow)
        self._has_hole = not is_taken
        if is_taken:
            self._spoke_at = monotonic()
            self.bytes_sent += len(event)
        return is_taken

    def _keep(self, event: bytes, overflow: Overflow) -> bool:
        """Keep an event until it is asked for."""
        size = len(event) + MESSAGE_OVERHEAD
        if self._size + size > self._settings.max_outbox and self._waiting and not self._is_opening:
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
            self._news = GeventEvent()
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


_ID = b"\nid: "


@lru_cache(maxsize=64)
def _encoder(encode: Encode | None, place: int | None) -> Callable[[Event], bytes | None]:
    """Return what makes events of a channel's: the same object for all streams, so that each is made once.

    Args:
        encode: The application's.
        place: Of the channel among a stream's; it stands before the position, for ``EventStream._with_id``. None where
            there is no other channel.
    """
    return partial(_encoded, encode, place)


def _encoded(encode: Encode | None, place: int | None, event: Event) -> bytes | None:
    position = event.position if isinstance(event, Published) else None
    message: str | bytes | None
    if encode is not None:
        message = encode(event)
    elif isinstance(event, Published):
        message = event.message
    else:
        message = event.channel if isinstance(event, Gap) else None
    if message is None:
        return None
    opcode, payload = as_message(message)
    data = encode_event(payload, _KINDS[type(event)]) if opcode == TEXT else encode_binary(payload)
    if position is None:
        return data + b"\n"
    return data + encode_id(position if place is None else f"{place} {position}")


#: The type of the event that a page gets.
_KINDS: dict[type, str] = {Published: "", Gap: "gap", MemberJoined: "joined", MemberLeft: "left"}
