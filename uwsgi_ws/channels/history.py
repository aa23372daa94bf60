"""Messages on their way to clients, and what is kept of a channel: what came after a position.

It holds messages, and neither sends nor fetches them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

from uwsgi_ws.channels.events import Encode, Event, Published
from uwsgi_ws.channels.positions import LATEST, OLDEST, Position, parse_position
from uwsgi_ws.channels.records import GAP, UNCOMPRESSED
from uwsgi_ws.protocol.websocket.frames import TEXT
from uwsgi_ws.protocol.websocket.messages import as_message
from uwsgi_ws.protocol.websocket.prepared import Prepared

__all__ = ["Found", "History", "Kept", "Outgoing"]

#: Messages that a history takes behind what was read of it, before its oldest go.
_SPARE = 1_000

_log = logging.getLogger("uwsgi_ws.channels")


class Outgoing:
    """An event on its way to clients, encoded once for each way in which applications want it.

    Args:
        may_compress: Whether clients that take compressed messages get one.
    """

    __slots__ = ("_event", "_may_compress", "_prepared")

    def __init__(self, event: Event, may_compress: bool = True) -> None:
        self._event: Event | None = event
        self._may_compress = may_compress
        self._prepared: dict[Encode | None, Prepared | None] | None = None

    @property
    def event(self) -> Event:
        """What happened."""
        assert self._event is not None, "a message that is kept makes it when it is asked"
        return self._event

    def prepared(self, encode: Encode | None) -> Prepared | None:
        """Return what a client gets; None for nothing.

        Args:
            encode: Of the application; None for messages as they are, and nothing else.
        """
        if self._prepared is None:
            self._prepared = {}
        if encode not in self._prepared:
            self._prepared[encode] = self._as_it_is() if encode is None else self._encoded(encode)
        return self._prepared[encode]

    def _as_it_is(self) -> Prepared | None:
        event = self.event
        return self._prepare(event.message) if isinstance(event, Published) else None

    def _encoded(self, encode: Encode) -> Prepared | None:
        event = self.event
        try:
            message = encode(event)
            return None if message is None else self._prepare(message)
        except BaseException:  # of the application, in the middle of a delivery: others are to get theirs
            _log.exception("an event of channel %r could not be encoded", event.channel)
            return None

    def _prepare(self, message: str | bytes) -> Prepared:
        opcode, payload = as_message(message)
        return Prepared(opcode, payload, self._may_compress)


class Kept(Outgoing):
    """A message of a channel that keeps its messages, or a gap in what is kept.

    Args:
        opcode: As in ``records``.

    Attributes:
        channel: Any name.
        position: Its place.
        opcode: TEXT, BINARY or ``GAP``.
        payload: The message.
    """

    __slots__ = ("channel", "opcode", "payload", "position")

    def __init__(self, channel: str, position: Position, opcode: int, payload: bytes) -> None:
        self._event = None
        self._prepared = None
        self._may_compress = opcode < UNCOMPRESSED
        self.channel = channel
        self.position = position
        self.opcode = opcode if self._may_compress else opcode - UNCOMPRESSED
        self.payload = payload

    @property
    def event(self) -> Event:
        """The message, as applications see it."""
        if self._event is None:
            message = self.payload.decode() if self.opcode == TEXT else self.payload
            self._event = Published(self.channel, message, str(self.position))
        return self._event

    def _as_it_is(self) -> Prepared:
        return Prepared(self.opcode, self.payload, self._may_compress)


class Found(NamedTuple):
    """What came after a position.

    Attributes:
        messages: All that is known to have come after it, in order.
        is_all: Whether nothing is missing among them.
        is_final: Whether a later look could not say anything else of this position.
    """

    messages: list[Kept]
    is_all: bool
    is_final: bool


class History:
    """What was kept of a channel at a moment, and what came since then.

    Args:
        last: The position of the newest entry; None when nothing is, or was, kept.
        entries: What is kept, the oldest first.
    """

    __slots__ = ("_entries", "_limit", "_places", "last", "read_at")

    def __init__(self, last: Position | None, entries: Iterable[Kept] = ()) -> None:
        self.last = last
        self.read_at = 0.0
        self._entries = list(entries)
        self._limit = len(self._entries) + 2 * _SPARE
        self._number()

    def _number(self) -> None:
        self._places = {entry.position: place for place, entry in enumerate(self._entries)}

    def append(self, entry: Kept) -> None:
        """Take the next entry."""
        self._places[entry.position] = len(self._entries)
        self._entries.append(entry)
        self.last = entry.position
        if len(self._entries) > self._limit:
            del self._entries[:_SPARE]
            self._number()

    def after(self, since: str) -> Found:
        """Return what came after a position, ``OLDEST`` or ``LATEST``."""
        last = self.last
        if since == LATEST:
            return Found([], last is not None, is_final=True)
        if since == OLDEST:
            return self._from(0, last is not None)
        position = parse_position(since)
        if position is None:
            return Found([], False, is_final=True)
        if position == last:
            return Found([], True, is_final=True)
        place = self._places.get(position)
        if place is not None and last is not None:
            return self._from(place + 1, position.epoch == last.epoch)
        if last is None or position.epoch != last.epoch or position.id > last.id:
            return Found([], False, is_final=False)
        if not position.id and self._entries and self._entries[0].position == (position.epoch, 1):
            return self._from(0, True)  # no entry, but the epoch's beginning
        # It was there once. What is left of its epoch came after it, as ids go up.
        first = next((n for n, entry in enumerate(self._entries) if entry.position > position), len(self._entries))
        return self._from(first, False)

    def _from(self, place: int, is_all: bool) -> Found:
        entries = self._entries[place:]
        messages = [entry for entry in entries if entry.opcode != GAP]
        return Found(messages, is_all and len(messages) == len(entries), is_final=True)
