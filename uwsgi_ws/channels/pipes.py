"""One worker's ends of the bus: it reads its own inbox and writes into all others (see ``inboxes``).

No write or read waits. What is published in one turn of the hub's loop goes out at its end, in as few packets as it
fits in. What a full inbox does not take stays in an ``Outlet``, bounded in bytes; past the bound a record is dropped,
counted and logged.

Source: the semantics of overload from uWSGI 1.5-dev, core/channels.c.
"""

from __future__ import annotations

import logging
import os
from time import monotonic
from typing import Any

from gevent.hub import Hub

from uwsgi_ws.channels.backend import Backend, OnGap, OnHistory, OnKept, OnMessage
from uwsgi_ws.channels.inboxes import Inboxes
from uwsgi_ws.channels.interest import Interest
from uwsgi_ws.channels.local_history import LocalHistory
from uwsgi_ws.channels.positions import Keep
from uwsgi_ws.channels.records import (
    BELL,
    BODY_SIZE,
    GAP,
    OVERHEAD,
    PACKET_SIZE,
    PRESENCE,
    Assembler,
    decode_name,
    encode_name,
    encode_packet,
    encode_record,
)
from uwsgi_ws.channels.roster import LARGEST_RECORD
from uwsgi_ws.hub.cork import Cork
from uwsgi_ws.stats import Stats

__all__ = ["PipeBackend"]

#: Packets written to, or read from, one pipe before the others.
_BATCH = 64
_READ, _WRITE = 1, 2

_log = logging.getLogger("uwsgi_ws.channels")


class Outlet:
    """Where one worker writes what another one is to get: a stream of records into that worker's inbox.

    Bounded to ``limit`` bytes. Records are dropped before their first byte is written, so the stream stays whole; a gap
    follows in their place. When the reader dies its queue is cleared: its subscribers are gone, so nothing counts as
    lost.

    Args:
        writer: This worker's seat and generation.
        seat: The reader's.
        hub: The one that schedules this worker.
        limit: Bytes that may wait.

    Attributes:
        dropped: Records dropped because of ``limit``.
    """

    __slots__ = (
        "_fd",
        "_generations",
        "_limit",
        "_log_at",
        "_loop",
        "_lossy",
        "_reader_generation",
        "_seat",
        "_stream",
        "_unlogged",
        "_watcher",
        "_writer",
        "dropped",
    )

    def __init__(self, inboxes: Inboxes, writer: tuple[int, int], seat: int, hub: Hub, limit: int) -> None:
        self._fd = inboxes.writer(seat)
        self._generations = inboxes.interest.generations
        self._writer = writer
        self._seat = seat
        self._loop: Any = hub.loop
        self._limit = limit
        self._stream = bytearray()
        self._lossy: dict[bytes, None] = {}  # the channels of dropped records, until there is room to say so
        self._reader_generation = 0  # the one that what is in the stream is for
        self._watcher: Any = None  # while the inbox is full
        self._unlogged = 0
        self._log_at = 0.0
        self.dropped = 0

    @property
    def is_waiting(self) -> bool:
        """Whether there is something to write already, and ``flush`` will be called."""
        return bool(self._stream)

    def put(self, name: bytes, record: bytes) -> bool:
        """Take a record of a channel; False when it had to be dropped."""
        self._forget_for_predecessor()
        if len(self._stream) + len(record) > self._limit:
            self._lossy[name] = None
            self.dropped += 1
            self._unlogged += 1
            self._report()
            return False
        if name in self._lossy:
            del self._lossy[name]
            self._stream += encode_record(name, GAP, b"")
        self._stream += record
        return True

    def flush(self) -> None:
        """Write what the inbox takes; the rest follows when it takes more."""
        self._forget_for_predecessor()
        self._write()
        if self._lossy and not self._stream:
            for name in self._lossy:
                self._stream += encode_record(name, GAP, b"")
            self._lossy.clear()
            self._write()
        if self._stream:
            self._wait()
        else:
            self._stop_waiting()

    def _write(self) -> None:
        stream = self._stream
        sent = 0
        try:
            for _ in range(_BATCH):
                if sent >= len(stream):
                    break
                body = stream[sent : sent + BODY_SIZE]
                os.write(self._fd, encode_packet(*self._writer, self._reader_generation, body))
                sent += len(body)
        except BlockingIOError:
            pass
        del stream[:sent]

    def _forget_for_predecessor(self) -> None:
        generation = self._generations[self._seat]
        if generation != self._reader_generation:
            self._reader_generation = generation
            self._stream.clear()
            self._lossy.clear()

    def _wait(self) -> None:
        if self._watcher is None:
            self._watcher = self._loop.io(self._fd, _WRITE)
            self._watcher.start(self.flush)

    def _stop_waiting(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
            if self._unlogged:
                self._log_at = 0.0
                self._report()

    def _report(self) -> None:
        """Log what was dropped, once a second."""
        now = monotonic()
        if now >= self._log_at:
            self._log_at = now + 1.0
            _log.warning(
                "%d channel messages dropped: the worker in seat %d does not read, %d bytes wait for it already",
                self._unlogged,
                self._seat,
                len(self._stream),
            )
            self._unlogged = 0

    def close(self) -> None:
        """Write what can be written at once, and forget the rest."""
        if self._stream:
            self.flush()
        self._stream.clear()
        self._stop_waiting()


class PipeBackend(Backend):
    """One worker's ends of the bus.

    Made in the worker, after the fork. It reads its inbox in the hub, whatever the application does.

    Args:
        inboxes: Made before the fork.
        seat: This worker's, from 0; no other living worker has it.
        hub: The hub that schedules the worker.
        queue_size: Bytes that may wait for each other worker; never less than one message of the largest size.
        max_message_size: Bytes allowed in a message.
        history: What the instance keeps.
    """

    def __init__(
        self,
        inboxes: Inboxes,
        seat: int,
        hub: Hub,
        cork: Cork,
        stats: Stats,
        *,
        queue_size: int,
        max_message_size: int,
        history: LocalHistory,
    ) -> None:
        self._history = history
        self._inboxes = inboxes
        self._seat = seat
        self._stats = stats
        self._interest = Interest(inboxes.interest, seat)
        largest = max(max_message_size, LARGEST_RECORD)
        self._assembler = Assembler(self._interest.generation, largest)
        limit = max(queue_size, largest + OVERHEAD)
        writer = (seat, self._interest.generation)
        self._outlets = [Outlet(inboxes, writer, other, hub, limit) for other in range(inboxes.seats)]
        self._cork = cork
        self._inbox = inboxes.reader(seat)
        loop: Any = hub.loop
        self._watcher: Any = loop.io(self._inbox, _READ)

    def start(self, on_message: OnMessage, on_gap: OnGap, on_kept: OnKept) -> None:
        """Read the inbox from now on."""
        self._on_message = on_message
        self._on_gap = on_gap
        self._history.start(on_kept, on_gap)
        self._watcher.start(self._read)

    def subscribe(self, channel: str) -> None:
        """Write into the map that this worker has one subscriber more."""
        self._interest.add(encode_name(channel))
        self._history.subscribe(channel)  # afterwards: what is kept from now on, this worker is told of

    def unsubscribe(self, channel: str) -> None:
        """Write into the map that this worker has one subscriber less."""
        self._interest.remove(encode_name(channel))
        self._history.unsubscribe(channel)

    def listen(self, channel: str) -> None:
        """Write into the map that this worker wants a channel's records."""
        self._interest.listen(encode_name(channel))

    def unlisten(self, channel: str) -> None:
        """Write into the map that this worker does not, unless it has subscribers."""
        self._interest.unlisten(encode_name(channel))

    def count_elsewhere(self, channel: str) -> int:
        """Return what the map says of the other seats."""
        return self._inboxes.interest.count(encode_name(channel), except_for=self._seat)

    def drops(self) -> list[int]:
        """Return for each seat how many messages did not reach it because its worker was too slow."""
        return [outlet.dropped for outlet in self._outlets]

    def publish(self, channel: str, opcode: int, payload: bytes, excluded: int = 0) -> None:
        """Send a message to the subscribers in other processes; one whose queue is full is passed over and counted."""
        name = encode_name(channel)
        wanted = self._inboxes.interest.wanted(name)
        if not any(wanted):
            return
        record = b""
        for seat, is_wanted in enumerate(wanted):
            if not is_wanted or seat == self._seat:
                continue
            record = record or encode_record(name, opcode, payload)
            outlet = self._outlets[seat]
            was_waiting = outlet.is_waiting
            if not outlet.put(name, record):
                self._stats.channel_drops += 1
            elif not was_waiting:
                self._cork.touch(outlet)

    def publish_kept(self, channel: str, opcode: int, payload: bytes, excluded: int, keep: Keep) -> None:
        """Write a message into the log, and ring where it has subscribers."""
        self._history.append(channel, opcode, payload, excluded, keep)
        self.publish(channel, BELL, b"")
        self._history.catch_up(channel)

    def read(self, channel: str, on_history: OnHistory, keep: Keep | None) -> None:
        """Tell what is kept, at once."""
        self._history.read(channel, on_history, keep)

    def _read(self) -> None:
        """Take packets from the inbox and hand on what they complete."""
        budget = _BATCH
        while budget > 0:
            try:
                packet = os.read(self._inbox, PACKET_SIZE)
            except BlockingIOError:
                return
            budget -= 1
            try:
                for record in self._assembler.feed(packet):
                    budget -= 1
                    if record.opcode == BELL:
                        self._history.catch_up(record.channel)
                    elif record.opcode == PRESENCE:
                        self._history.catch_up(record.channel)  # what its worker has kept before comes before it
                        self._on_message(*record)
                    elif record.opcode == GAP:
                        self._history.catch_up(record.channel)  # it may have been a bell
                        self._on_gap(record.channel)
                    else:
                        self._on_message(*record)
            except Exception:
                # Ours: a worker writes nothing but records, and a delivery raises nothing. The worker goes on.
                _log.exception("a message from another worker could not be delivered")
                self._stats.channel_drops += 1
            if self._assembler.error is not None:
                _log.error("what another worker sends is no stream of records any more: %s", self._assembler.error)
                self._stats.channel_drops += 1
                self._assembler.error = None
                self._tell_gaps()
            if self._assembler.torn:
                self._stats.channel_drops += self._assembler.torn
                self._assembler.torn = 0
                self._tell_gaps()

    def _tell_gaps(self) -> None:
        """Tell all subscribers here: what was lost may have been on any channel."""
        for name in self._interest.names():
            self._on_gap(decode_name(name))

    def close(self) -> None:
        """Leave the bus: no other worker sends here any more."""
        self._watcher.stop()
        self._watcher.close()
        for outlet in self._outlets:
            outlet.close()
        self._history.close()
        self._inboxes.vacate(self._seat)
