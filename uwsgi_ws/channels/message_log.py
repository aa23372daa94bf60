"""The messages that the workers of one instance keep: a ring in memory that all of them share.

It outlives a worker that is killed, and a reload: it is made before the first fork. It holds a few words about the
whole, two tables of channels, of which one is in use, and the ring, into which the records of all channels go. Each
record knows where the one before it of the same channel is, and a table knows each channel's last one. So what came
after something is found by going back from there, and the ring belongs to the channels that are used most.

Places in the ring are counted on for ever, and nothing below the word *tail* is there any more. A writer holds the
lock; when it is killed, the kernel gives the lock back. Its steps are in an order that leaves the memory whole wherever
it ends: what is overwritten is given up first, then the record is written, and the one store of a word into the table
makes it known. A reader needs no lock: it looks at the tail after it has copied something.

It is given the memory and the lock, and told the time.
"""

from __future__ import annotations

import mmap
import os
from contextlib import AbstractContextManager
from struct import Struct
from typing import Any, NamedTuple

from uwsgi_ws.channels.positions import Keep, Position
from uwsgi_ws.shared.counts import digest_of

__all__ = ["ROOM", "LogEntry", "LogMemory", "MessageLog"]

#: Bytes that an instance keeps by default.
ROOM = 67_108_864
_WORD = 8
#: Channels in a table; a power of two. Three quarters are used at most, so that searches stay short.
SLOTS = 65_536
_MOST_USED = SLOTS * 3 // 4
# Words about the whole: what is below was overwritten; where the next record goes; which table is in use; how many of
# its slots; how many workers have died.
_TAIL, _HEAD, _TABLE, _USED, _DEATHS = range(5)
_HEAD_SIZE = 8
# Words of a slot. The epoch and the id of the last record are there for when that was overwritten.
_DIGEST, _PLACE, _EPOCH, _ID = range(4)
_SLOT = 4
_FIRST_SLOT = _HEAD_SIZE
_FIXED = (_HEAD_SIZE + 2 * SLOTS * _SLOT) * _WORD
#: Of a record: the channel's digest, its epoch, its id, where the one before is, when it came, how many are kept and
#: for how long, the process that wrote it, which of its connections does not get it, the opcode, bytes of the payload.
_RECORD = Struct("<QQQQdIIIQBI")


class LogEntry(NamedTuple):
    """A message, as it is kept.

    Attributes:
        position: Its place.
        opcode: Of the message.
        payload: The message.
        excluded: The ``id`` of a connection of this process that does not get it; 0 for none.
    """

    position: Position
    opcode: int
    payload: bytes
    excluded: int


class MessageLog:
    """The shared memory, as every worker reads and writes it.

    Args:
        memory: ``size(room)`` bytes, zeros at first.
        lock: Held by the one that writes.

    Attributes:
        largest: Bytes of the largest message that it takes.
    """

    __slots__ = ("_lock", "_ring", "_size", "_words", "largest")

    def __init__(self, memory: memoryview, lock: AbstractContextManager[Any]) -> None:
        self._lock = lock
        self._words = memory[:_FIXED].cast("Q")
        self._ring = memory[_FIXED:]
        self._size = len(self._ring)
        self.largest = self._size // 2 - _RECORD.size
        if not self._words[_HEAD]:  # place 0 is none
            self._words[_TAIL] = self._words[_HEAD] = _WORD

    @staticmethod
    def size(room: int) -> int:
        """Return the bytes that a log takes, touched only where something is kept.

        Args:
            room: Bytes of messages and of 65 more for each.
        """
        return _FIXED + room

    @property
    def head(self) -> int:
        """Where the next record goes: those of now are below."""
        return int(self._words[_HEAD])

    @property
    def deaths(self) -> int:
        """How many workers have died: they may have written what they told nobody."""
        return int(self._words[_DEATHS])

    # Writing

    def append(self, name: bytes, opcode: int, payload: bytes, keep: Keep, now: float, excluded: int = 0) -> None:
        """Keep a message.

        Args:
            name: The channel's.
            opcode: Of the message.
            payload: At most ``largest`` bytes.
            keep: How much of this channel is kept from now on.
            now: Of a clock that all processes share and that only goes forward, in seconds.
            excluded: The ``id`` of a connection of this process that does not get it; 0 for none.
        """
        digest = digest_of(name)
        words = self._words
        with self._lock:
            slot = self._slot_to_write(digest)
            before = words[slot + _PLACE]
            # A writer that was killed may have left the id one ahead of its record: so far nobody has seen that id.
            number = words[slot + _ID] + 1
            if before >= words[_TAIL]:
                number = _RECORD.unpack_from(self._ring, before % self._size)[2] + 1
            place = self._reserve(_RECORD.size + len(payload))
            begin = place % self._size
            _RECORD.pack_into(
                self._ring,
                begin,
                digest,
                words[slot + _EPOCH],
                number,
                before,
                now,
                min(keep.messages, 0xFFFF_FFFF),
                min(keep.seconds, 0xFFFF_FFFF),
                os.getpid(),
                excluded,
                opcode,
                len(payload),
            )
            self._ring[begin + _RECORD.size : begin + _RECORD.size + len(payload)] = payload
            words[slot + _ID] = number
            words[slot + _PLACE] = place

    def _reserve(self, size: int) -> int:
        """Give up what is where a record goes; return its place."""
        words = self._words
        place = words[_HEAD]
        if place % self._size + size > self._size:  # none goes over the end
            place += self._size - place % self._size
        end = place + size
        if end > words[_TAIL] + self._size:
            words[_TAIL] = end - self._size
        words[_HEAD] = end
        return int(place)

    def begin(self, name: bytes) -> None:
        """Have a channel be known, so that it has a position before its first message."""
        digest = digest_of(name)
        if self._words[self._slot_of(digest)] != digest:
            with self._lock:
                self._slot_to_write(digest)

    # Tables

    def _slot_of(self, digest: int) -> int:
        """Return the first word of a channel's slot, or of the empty one where its search ends."""
        words = self._words
        first = _FIRST_SLOT + words[_TABLE] * SLOTS * _SLOT
        number = digest % SLOTS
        while words[first + number * _SLOT] not in (digest, 0):
            number = (number + 1) % SLOTS
        return int(first + number * _SLOT)

    def _slot_to_write(self, digest: int) -> int:
        words = self._words
        slot = self._slot_of(digest)
        if words[slot] == digest:
            return slot
        if words[_USED] >= _MOST_USED:
            self._tidy()
            slot = self._slot_of(digest)
        words[_USED] += 1
        words[slot + _PLACE] = words[slot + _ID] = 0
        words[slot + _EPOCH] = int.from_bytes(os.urandom(_WORD), "little")
        words[slot + _DIGEST] = digest
        return slot

    def _tidy(self) -> None:
        """Have the other table take over, without the channels of which nothing is left, or those used longest ago."""
        words = self._words
        first = _FIRST_SLOT + words[_TABLE] * SLOTS * _SLOT
        slots = [words[n : n + _SLOT].tolist() for n in range(first, first + SLOTS * _SLOT, _SLOT) if words[n]]
        slots.sort(key=lambda slot: slot[_PLACE], reverse=True)
        slots = [slot for slot in slots[: SLOTS // 2] if slot[_PLACE] >= words[_TAIL]]
        other = 1 - words[_TABLE]
        begin = _FIRST_SLOT + other * SLOTS * _SLOT
        words[begin : begin + SLOTS * _SLOT] = memoryview(bytes(SLOTS * _SLOT * _WORD)).cast("Q")
        for slot in slots:
            number = slot[_DIGEST] % SLOTS
            while words[begin + number * _SLOT]:
                number = (number + 1) % SLOTS
            for n, word in enumerate(slot):
                words[begin + number * _SLOT + n] = word
        # In this order: a writer that is killed between the two leaves a count that is too high.
        words[_TABLE] = other
        words[_USED] = len(slots)

    # Reading

    def last(self, name: bytes) -> tuple[int, Position] | None:
        """Return where the last record of a channel is and its position; None when nothing was kept yet."""
        digest = digest_of(name)
        words = self._words
        slot = self._slot_of(digest)
        if words[slot] != digest:
            return None
        place, epoch, number = words[slot + _PLACE], words[slot + _EPOCH], words[slot + _ID]
        if place >= words[_TAIL]:
            number = _RECORD.unpack_from(self._ring, place % self._size)[2]
        return place, Position(f"{epoch:016x}", number)

    def back(self, place: int, down_to: int, now: float | None = None) -> tuple[list[LogEntry], bool]:
        """Return records of one channel, the oldest first, and whether none of them was overwritten.

        Args:
            place: The last one's.
            down_to: The place below which no record is wanted.
            now: Leave out what is not to be kept any more at this time; None gives it, too.
        """
        entries: list[LogEntry] = []
        words = self._words
        ring = self._ring
        most = None
        pid_here = os.getpid()
        epoch, name = -1, ""
        while place and place >= down_to:
            if place < words[_TAIL]:
                return entries[::-1], False
            begin = place % self._size
            record = _RECORD.unpack_from(ring, begin)
            _, its_epoch, number, before, came, keep, seconds, pid, excluded, opcode, size = record
            payload = bytes(ring[begin + _RECORD.size : begin + _RECORD.size + size])
            if place < words[_TAIL]:  # it may have been overwritten while it was copied
                return entries[::-1], False
            if now is not None:
                most = keep if most is None else most
                if len(entries) >= most or came < now - seconds:
                    break
            if its_epoch != epoch:
                epoch, name = its_epoch, f"{its_epoch:016x}"
            entries.append(LogEntry(Position(name, number), opcode, payload, excluded if pid == pid_here else 0))
            place = before
        return entries[::-1], True


class LogMemory:
    """What the processes of an instance share for a log; made before the fork.

    Args:
        room: Bytes of messages and of 65 more for each.

    Attributes:
        lock: What the log's lock is on; see ``shared.locks``.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._memory = memoryview(mmap.mmap(-1, MessageLog.size(room)))
        self.lock = os.memfd_create("uwsgi_ws.channels", os.MFD_CLOEXEC)
        self._words = self._memory[: _HEAD_SIZE * _WORD].cast("Q")

    def log(self, lock: AbstractContextManager[Any]) -> MessageLog:
        """Return the log, for a process that has its own lock on ``lock``."""
        return MessageLog(self._memory, lock)

    def note_death(self) -> None:
        """Count a worker that has died; for the process that reaps them."""
        self._words[_DEATHS] += 1
