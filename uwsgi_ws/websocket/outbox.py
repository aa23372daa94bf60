"""Frames that a connection could not write at once, or that should wait for others.

Frames wait here for one of two things. Those of a *batch* wait for the end of the loop's turn, a broadcast's for that
of one soon after, or for the next frame that may not wait: one write then takes all of them. What the kernel does not
take waits in the *queue* until the socket is writable. Senders park until their frame is out, so several greenlets may
send at once and frames never interleave. There is no batch while there is a queue: what comes then goes behind it.

A message without a waiting sender (a broadcast's) may find the peer too slow: then an ``Overflow`` says what is given
up.
"""

from __future__ import annotations

from time import monotonic
from typing import Any, Protocol

from gevent import getcurrent
from gevent.hub import Hub

from uwsgi_ws.channels.overflow import Overflow
from uwsgi_ws.hub.cork import Cork
from uwsgi_ws.hub.own import refuse_copies
from uwsgi_ws.net.base import Stream
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.send_queue import SendQueue

__all__ = ["COPY_LIMIT", "Outbox", "Owner"]

#: Payloads up to here are copied behind their header, frames up to here behind one another; longer ones go uncopied.
COPY_LIMIT = 16_384
#: A batch is written early once it holds so many bytes.
_BATCH_LIMIT = 65_536


class Owner(Protocol):
    """The connection, as its outbox sees it."""

    def outbox_waits(self) -> None:
        """Something waits for the kernel now."""

    def outbox_is_empty(self) -> None:
        """All that waited for the kernel has gone."""

    def outbox_lost(self) -> None:
        """A write failed: the peer is gone."""

    def outbox_overflows(self) -> None:
        """The peer is too slow and shall be closed."""


class Outbox:
    """Made with the first frame that waits; stays until the connection ends, when ``close`` parts the two.

    Args:
        owner: The connection.
        limit: Bytes of what is offered that may wait for the kernel; a frame alone may be longer.

    Attributes:
        is_empty: Nothing waits, so that a frame may be written past the outbox.
        progress_at: When the kernel last took something of what waited for it (monotonic).
    """

    __slots__ = (
        "_batch",
        "_batch_size",
        "_cork",
        "_hub",
        "_is_one_of_many",
        "_limit",
        "_owner",
        "_queue",
        "_raw",
        "_senders",
        "_stats",
        "_stream",
        "is_empty",
        "progress_at",
    )

    def __init__(self, owner: Owner, stream: Stream, hub: Hub, cork: Cork, stats: Stats, limit: int) -> None:
        self._owner = owner
        self._stream = stream
        self._raw: Any = stream.raw  # a socket to write to without further ado
        self._hub: Any = hub
        self._cork = cork
        self._stats = stats
        self._limit = limit
        self._batch: list[bytes] | None = None
        self._batch_size = 0
        self._is_one_of_many = False  # the batch waits with those of a broadcast
        self._queue: SendQueue | None = None
        #: (the count of completed frames it waits for, greenlet) of each; None before the first.
        self._senders: list[tuple[int, Any]] | None = None
        self.is_empty = True
        self.progress_at = 0.0

    @property
    def waits_for_kernel(self) -> bool:
        """Whether something waits until the socket is writable."""
        return self._queue is not None

    @property
    def queued(self) -> int:
        """Bytes that wait for the kernel."""
        return 0 if self._queue is None else self._queue.memory

    # Frames come in

    def send(self, frame: bytes) -> bool:
        """Write a frame behind all that waits, and return once the kernel has it; False when it never will."""
        queue = self._queue
        if queue is not None:
            return self._wait(queue, queue.put_data(frame, is_awaited=True))
        self._append(frame)
        if not self.flush(True):
            return False
        queue = self._queue
        return queue is None or self._wait(queue, 1)

    def send_rest(self, rest: memoryview) -> bool:
        """As ``send``, for what a write has left of a frame; only when the outbox is empty."""
        queue = self._open_queue()
        return self._wait(queue, queue.put_partial(rest, is_awaited=True))

    def put_rest(self, rest: memoryview) -> None:
        """Queue what a write has left of a control frame; only when the outbox is empty."""
        self._open_queue().put_partial(rest, is_awaited=False)

    def cork(self, frame: bytes) -> None:
        """Write a data frame at the end of the turn at the latest; not while something waits for the kernel."""
        if not self._batch or self._is_one_of_many:
            self._cork.touch(self)
            self._is_one_of_many = False
        self._add_to_batch(frame)

    def _add_to_batch(self, frame: bytes) -> None:
        self.is_empty = False
        self._append(frame)
        if self._batch_size > _BATCH_LIMIT:
            self.flush()

    def _append(self, frame: bytes) -> None:
        if self._batch is None:
            self._batch = [frame]
        else:
            self._batch.append(frame)
        self._batch_size += len(frame)

    def send_corked(self, frame: bytes) -> bool:
        """As ``send``, but the frame may go out as late as at the end of the turn."""
        if self._queue is None:
            self.cork(frame)
            return True
        return self.send(frame)

    def offer(self, frame: bytes, overflow: Overflow) -> bool:
        """Write a data frame soon, without waiting; return whether it was taken.

        Args:
            frame: Encoded.
            overflow: What is given up when too much would wait for the kernel, this frame included.
        """
        queue = self._queue
        if queue is None:
            if not self._batch:
                self._cork.touch_one_of_many(self)
                self._is_one_of_many = True
            self._add_to_batch(frame)
            return True
        if queue.memory + len(frame) > self._limit:
            stats = self._stats
            if overflow is Overflow.CLOSE:
                stats.slow_closed += 1
                self._owner.outbox_overflows()
                return False
            if overflow is Overflow.DROP:
                stats.slow_dropped += 1
                return False
            stats.slow_dropped += queue.drop_unawaited()
        queue.put_data(frame, is_awaited=False)
        return True

    def put_control(self, frame: bytes) -> None:
        """Write a control frame before the data frames that wait for the kernel."""
        if not self.flush():
            return
        if self._queue is not None:
            self._queue.put_control(frame)
        else:
            self._write([frame], len(frame), False)

    def put_last(self, frame: bytes) -> None:
        """Write our close frame behind the messages already sent."""
        if not self.flush():
            return
        if self._queue is not None:
            self._queue.put_data(frame, is_awaited=False)
        else:
            self._write([frame], len(frame), False)

    # Frames go out

    def flush(self, is_awaited: bool = False) -> bool:
        """Write the batch, if there is one; False when the connection is lost.

        Args:
            is_awaited: A sender waits for its last frame: it gets the first ticket of a queue, should one be needed.
        """
        batch, self._batch = self._batch, None
        if batch is None:
            return True
        size, self._batch_size = self._batch_size, 0
        self.is_empty = True
        return self._write(batch, size, is_awaited)

    def _write(self, frames: list[bytes], size: int, is_awaited: bool) -> bool:
        """Write frames while nothing waits for the kernel; what it does not take waits from now on."""
        try:
            if len(frames) > 1 and size <= COPY_LIMIT:
                frames = [b"".join(frames)]
            if len(frames) > 1:
                sent = self._stream.sendmsg(frames)
            else:
                sent = self._stream.send(frames[0]) if self._raw is None else self._raw.send(frames[0])
        except OSError:
            self._owner.outbox_lost()
            return False
        if sent == size:
            return True
        queue = self._open_queue()
        last = len(frames) - 1
        for number, frame in enumerate(frames):
            if sent >= len(frame):
                sent -= len(frame)
            elif sent:
                queue.put_partial(memoryview(frame)[sent:], is_awaited=is_awaited and number == last)
                sent = 0
            else:
                queue.put_data(frame, is_awaited=is_awaited and number == last)
        return True

    def _open_queue(self) -> SendQueue:
        queue = self._add_queue()
        self._wait_for_kernel()
        return queue

    def _add_queue(self) -> SendQueue:
        self._queue = SendQueue()
        self._stats.measures.outboxes.add(self)
        self.is_empty = False
        self.progress_at = monotonic()
        return self._queue

    def _wait_for_kernel(self) -> None:
        self._stream.when_writable(self._advance)
        self._owner.outbox_waits()

    def _advance(self) -> None:
        """Write what the kernel takes of the queue; called by the hub."""
        queue = self._queue
        if queue is None:
            return
        try:
            sent = self._stream.sendmsg(queue.buffers())
        except OSError:
            self._owner.outbox_lost()
            return
        if not sent:
            return
        queue.advance(sent)
        self.progress_at = monotonic()
        if not queue.size:
            self._drop_queue()
            self.is_empty = True
            self._stream.stop_writing()
            self._owner.outbox_is_empty()
        self._wake(queue)

    # Senders that wait

    def _wait(self, queue: SendQueue, ticket: int) -> bool:
        while queue.completed < ticket:
            refuse_copies()
            if queue.is_dropped:
                return False
            entry = (ticket, getcurrent())
            if self._senders is None:
                self._senders = []
            self._senders.append(entry)
            try:
                self._hub.switch()
            finally:
                # A sender that is killed leaves its frame behind: half a frame cannot be taken back.
                if entry in self._senders:
                    self._senders.remove(entry)
        return True

    def _wake(self, queue: SendQueue) -> None:
        """Wake the senders whose frames are out, or never will be; only the hub may switch to them."""
        for ticket, sender in list(self._senders or ()):
            if queue.is_dropped or queue.completed >= ticket:
                sender.switch()

    # Ending

    def drop_queued(self) -> None:
        """Drop all but the frame that is half-way out: our last frame must not wait for a peer that does not read."""
        self._batch = None
        self._batch_size = 0
        queue = self._queue
        if queue is None:
            self.is_empty = True
            return
        queue.drop_queued()
        if self._senders:
            self._hub.loop.run_callback(self._wake, queue)

    def close(self) -> None:
        """Drop everything; the owner is not called any more."""
        self.drop_queued()
        self._drop_queue()
        self.is_empty = True

    def _drop_queue(self) -> None:
        self._queue = None
        self._stats.measures.outboxes.discard(self)
