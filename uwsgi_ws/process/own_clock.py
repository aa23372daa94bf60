"""The clock of a worker that has no master: its event loop drives it."""

from __future__ import annotations

from time import monotonic
from typing import Any

from gevent.hub import Hub

from uwsgi_ws.api.signals import Signals
from uwsgi_ws.hub.hub_calls import post
from uwsgi_ws.options import Options
from uwsgi_ws.process.clock import Clock

__all__ = ["OwnClock"]

_INTERVAL = 1.0  # seconds between two looks at what it is not told


class OwnClock:
    """Raises signals in this process, and has their handlers called.

    Args:
        options: They name some timers.
        signals: The application's.
        hub: This thread's.
    """

    def __init__(self, options: Options, signals: Signals, hub: Hub) -> None:
        self._signals = signals
        self._clock = Clock(options)
        self._clock.follow(signals.table)
        for number in signals.take_early():
            self._clock.raise_signal(number)
        self._hub = hub
        signals.tell = self._tell
        loop: Any = hub.loop
        self._timer = loop.timer(0, ref=False)
        self._timer.start(self._tick)

    def _tell(self, number: int) -> bool:
        post(self._hub, self._raise, number)
        return True

    def _raise(self, number: int) -> None:
        self._clock.raise_signal(number)
        self._signals.look()

    def _tick(self) -> None:
        try:
            if self._clock.tick():
                self._signals.look()
        finally:
            self._timer.stop()
            self._timer.close()
            loop: Any = self._hub.loop
            self._timer = loop.timer(min(_INTERVAL, max(0.0, self._clock.due - monotonic())), ref=False)
            self._timer.start(self._tick)
