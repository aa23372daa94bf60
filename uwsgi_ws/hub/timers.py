"""All due times of a worker: one timer of the event loop drives the wheel."""

from __future__ import annotations

from time import monotonic
from typing import Any

from gevent.hub import Hub

from uwsgi_ws.hub.wheel import Scheduled, Wheel
from uwsgi_ws.stats import Histogram

__all__ = ["Timers"]

#: A loop that is late by so many seconds was kept from reading. It gets so many to read what has come meanwhile, before
#: anybody is judged to have been silent.
_LATE, _CATCH_UP = 0.2, 0.1


class Timers:
    """Calls ``tick`` of scheduled items in the hub.

    Attributes:
        lags: Is told by how many seconds a call was late, which is the time that something else kept the loop busy.
    """

    def __init__(self, hub: Hub) -> None:
        self._wheel = Wheel()
        self._loop: Any = hub.loop
        self._timer: Any = None
        self._armed_for = 0.0
        self._is_catching_up = False
        self.lags: Histogram | None = None

    def schedule(self, item: Scheduled, due: float) -> None:
        """Have ``item.tick`` called at ``due`` (monotonic) or soon after."""
        if self._wheel.schedule(item, due):
            self._arm()

    def cancel(self, item: Scheduled) -> None:
        """Undo ``schedule``: whatever ends is known no more. Without effect when nothing is to be undone."""
        if item.wheel_slot:
            self._wheel.remove(item)

    def _arm(self) -> None:
        due = self._wheel.next_due()
        if due is None or (self._timer is not None and self._armed_for <= due):
            return
        if self._timer is not None:
            self._timer.close()
        self._arm_for(due, max(0.0, due - monotonic()))

    def _arm_for(self, due: float, seconds: float) -> None:
        self._armed_for = due
        # ref=False: a pending due time alone does not keep the loop alive.
        self._timer = self._loop.timer(seconds, ref=False)
        self._timer.start(self._fire)

    def _fire(self) -> None:
        self._timer.close()
        self._timer = None
        now = monotonic()
        lag = max(0.0, now - self._armed_for)
        if self.lags is not None:
            self.lags.observe(lag)
        if lag > _LATE and not self._is_catching_up:
            self._is_catching_up = True  # once: a loop that is always late must go on as well
            self._arm_for(now + _CATCH_UP, _CATCH_UP)
            return
        self._is_catching_up = False
        try:
            self._wheel.advance(now)
        finally:
            self._arm()
