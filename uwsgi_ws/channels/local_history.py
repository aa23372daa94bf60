"""What one worker has to do with the messages that its instance keeps: it writes them, and delivers what all write.

The log is the channel: a message that is kept goes into it, and from there to the subscribers of every worker, the
publisher's own included. So all of them have one order. A worker goes on where it has stopped, by its *cursor*: the
place below which it has delivered everything of a channel. What others write they tell by a bell, which may be lost or
come twice. When a worker dies, which may have written without having rung, the others look for themselves.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from gevent.hub import Hub

from uwsgi_ws.channels.backend import OnGap, OnHistory, OnKept
from uwsgi_ws.channels.history import History, Kept
from uwsgi_ws.channels.message_log import LogMemory
from uwsgi_ws.channels.positions import Keep
from uwsgi_ws.channels.records import encode_name
from uwsgi_ws.shared.locks import SharedLock

__all__ = ["LocalHistory"]

#: Seconds between two looks whether a worker has died.
_LOOK = 1.0


class LocalHistory:
    """Made in the worker, after the fork.

    Args:
        memory: Shared with the other workers, made before the fork.
        hub: The hub that schedules the worker.
        is_used: Whether something will be kept. Where it may be, the worker looks for deaths from the first message on.
    """

    def __init__(self, memory: LogMemory, hub: Hub, *, is_used: bool = False) -> None:
        self._is_used = is_used
        self._log = log = memory.log(SharedLock(memory.lock, 0))
        # Of the channels with subscribers here.
        self._subscribers: dict[str, int] = {}
        self._cursors: dict[str, int] = {}
        self._delivering: set[str] = set()
        self._deaths = log.deaths
        loop: Any = hub.loop
        self._timer: Any = loop.timer(_LOOK, _LOOK, ref=False)

    def start(self, on_kept: OnKept, on_gap: OnGap) -> None:
        """Deliver from now on."""
        self._on_kept = on_kept
        self._on_gap = on_gap
        if self._is_used:
            self._timer.start(self._look)

    def subscribe(self, channel: str) -> None:
        """Take note of one subscriber more; with the first, a channel's messages are delivered from now on."""
        self._subscribers[channel] = count = self._subscribers.get(channel, 0) + 1
        if count == 1:
            self._cursors[channel] = self._log.head

    def unsubscribe(self, channel: str) -> None:
        """Take note of one subscriber less."""
        self._subscribers[channel] -= 1
        if not self._subscribers[channel]:
            del self._subscribers[channel], self._cursors[channel]

    def append(self, channel: str, opcode: int, payload: bytes, excluded: int, keep: Keep) -> None:
        """Keep a message; who does so rings, and catches up."""
        self._log.append(encode_name(channel), opcode, payload, keep, monotonic(), excluded)

    def catch_up(self, channel: str) -> None:
        """Deliver what has come: somebody has written."""
        if channel in self._delivering:
            return  # what it is called by goes on with that
        self._delivering.add(channel)
        try:
            while (last := self._unread(channel)) is not None:
                if not self._timer.active:
                    self._timer.start(self._look)
                cursor, self._cursors[channel] = self._cursors[channel], last + 1
                entries, is_whole = self._log.back(last, cursor)
                if not is_whole:
                    self._on_gap(channel)
                for position, opcode, payload, excluded in entries:
                    self._on_kept(Kept(channel, position, opcode, payload), excluded)
        finally:
            self._delivering.discard(channel)

    def _unread(self, channel: str) -> int | None:
        """Return the place of a channel's last message, if that is to be delivered here."""
        cursor = self._cursors.get(channel)
        if cursor is None:
            return None
        last = self._log.last(encode_name(channel))
        return None if last is None or last[0] < cursor else last[0]

    def read(self, channel: str, on_history: OnHistory, keep: Keep | None) -> None:
        """Tell what is kept of a channel that has been subscribed to; at once.

        Args:
            channel: Any name.
            on_history: What is called with it.
            keep: What is to be kept of it, if that is known; then it has a position in any case.
        """
        name = encode_name(channel)
        if keep is not None:
            self._log.begin(name)
        # What is told is what has been delivered here, and not what others write meanwhile.
        while True:
            self.catch_up(channel)
            last = self._log.last(name)
            if self._unread(channel) is None or channel in self._delivering:
                break
        if last is None:
            on_history(channel, History(None))
            return
        entries, _ = self._log.back(last[0], 0, monotonic())
        on_history(channel, History(last[1], [Kept(channel, *entry[:3]) for entry in entries]))

    def _look(self) -> None:
        deaths = self._log.deaths
        if deaths != self._deaths:
            self._deaths = deaths
            for channel in list(self._cursors):
                self.catch_up(channel)

    def close(self) -> None:
        """Look no more."""
        self._timer.stop()
        self._timer.close()
