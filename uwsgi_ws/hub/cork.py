"""The present turn of the hub's loop: who has something to write before the loop waits again."""

from __future__ import annotations

import sys
from time import monotonic
from typing import Any, Protocol

__all__ = ["Cork"]

#: An answer is quick when it comes so many seconds after the one before. Once so many in a row were, further ones may
#: be corked. One that was not quick costs a longer trial: where applications compute now and then, at most one answer
#: in a hundred waits for a computation.
_QUICK = 0.0003
_TRUSTED_AFTER, _SUSPECT = 8, -100
#: What has been corked for so many seconds goes out before anything else is corked.
_LONGEST = 0.002
#: Seconds for which broadcasts are written at a stretch, and how many items between two looks at the clock.
_SLICE, _LOOK = 0.004, 16


class Flushable(Protocol):
    """Something that collects what it has to write."""

    def flush(self) -> object:
        """Write it; without effect when there is nothing."""


class Cork:
    """One per worker, shared by its connections.

    gevent runs callbacks after the events of a turn and before it polls for the next: whatever is flushed then has
    been corked for no longer than the turn took, and one write takes all that a connection has.

    To write all answers of a turn one after the other pays even where each needs a write of its own: a peer on this
    machine, such as a proxy, is woken once and finds the next when it has read the first.

    A broadcast to thousands takes longer than somebody who waits for an answer should. So it is written in slices, with
    a turn of the loop between two of them.

    Args:
        loop: The hub's.
    """

    __slots__ = (
        "_answered_at",
        "_began_at",
        "_loop",
        "_many",
        "_many_done",
        "_next_slice",
        "_quick_answers",
        "_touched",
    )

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._touched: list[Flushable] = []
        self._began_at = 0.0  # when the first of them came (monotonic)
        self._answered_at = 0.0
        self._quick_answers = 0
        self._many: list[Flushable] = []
        self._many_done = 0  # those at its beginning that are flushed
        self._next_slice: Any = None  # a timer, once a broadcast has been longer than a slice

    def may_cork(self, heard_at: float) -> bool:
        """Return whether an answer that is ready may be corked: only while they come without delay.

        Args:
            heard_at: When what it answers came (monotonic).
        """
        now = monotonic()
        since = max(self._answered_at, heard_at)
        self._answered_at = now
        if now - since > _QUICK:
            self._quick_answers = _SUSPECT
        elif self._quick_answers < _TRUSTED_AFTER:
            self._quick_answers += 1
        if self._touched and now - self._began_at > _LONGEST:
            self._flush()
        return self._quick_answers == _TRUSTED_AFTER

    def touch(self, item: Flushable) -> None:
        """Have ``item.flush`` called at the end of this turn."""
        if not self._touched:
            self._loop.run_callback(self._flush)
            self._began_at = monotonic()
        self._touched.append(item)

    def touch_one_of_many(self, item: Flushable) -> None:
        """Have ``item.flush`` called at the end of this turn, or of one that follows soon."""
        if not self._many:
            self._loop.run_callback(self._flush_slice)
        self._many.append(item)

    def _flush_slice(self) -> None:
        many = self._many
        until = monotonic() + _SLICE
        done = self._many_done
        try:
            while done < len(many):
                item = many[done]
                done += 1
                try:
                    item.flush()
                except Exception:
                    self._loop.handle_error(item, *sys.exc_info())
                if not done % _LOOK and monotonic() > until:
                    break
        finally:
            if done < len(many):
                self._many_done = done
                if self._next_slice is None:
                    self._next_slice = self._loop.timer(0.0)
                self._next_slice.start(self._flush_slice)
            else:
                self._many_done = 0
                self._many = []

    def close(self) -> None:
        """Flush nothing more of what is touched."""
        if self._next_slice is not None:
            self._next_slice.stop()
            self._next_slice.close()

    def _flush(self) -> None:
        touched, self._touched = self._touched, []
        for item in touched:
            try:
                item.flush()
            except Exception:
                # One connection's trouble; the others' answers are still to be written.
                self._loop.handle_error(item, *sys.exc_info())
