"""Has the hub read for threads that are elsewhere, a moment after they have left.

A thread that waits for its client's bytes reads them itself, which costs it no change of threads. But pings, the
closing handshake and the limits hold whatever the application does; so the hub looks now and then for threads that
have been away for a while, and reads for them until they come back.
"""

from __future__ import annotations

from typing import Any, Protocol

from uwsgi_ws.hub.hub_calls import HubCalls

__all__ = ["Lent", "StandbyReader"]

#: Seconds between two looks: within two of them a client gets its pong, and an application that answers sooner never
#: meets the hub. A look at a hundred connections takes some 10 us.
_LOOK_EVERY = 0.02


class Lent(Protocol):
    """A connection whose thread reads for itself."""

    messages_received: int
    #: Its thread is there and waits for bytes.
    is_attended: bool
    #: ``messages_received`` when it was looked at last.
    seen: int

    def take_back(self) -> None:
        """Have the hub read from now on; it calls ``discard``."""


class StandbyReader:
    """The connections of one worker whose threads read for themselves. Used in the hub's thread, but for ``note``."""

    __slots__ = ("_hub_calls", "_lent", "_timer", "is_awake")

    def __init__(self, hub_calls: HubCalls) -> None:
        self._hub_calls = hub_calls
        self._lent: set[Lent] = set()
        self._timer: Any = hub_calls.hub.loop.timer(_LOOK_EVERY, _LOOK_EVERY, ref=False)
        #: It looks from time to time: as long as it finds a thread away.
        self.is_awake = False

    def add(self, connection: Lent) -> None:
        """Look after a connection."""
        connection.seen = -1
        self._lent.add(connection)
        self._wake()

    def discard(self, connection: Lent) -> None:
        """Look after it no more."""
        self._lent.discard(connection)

    def note(self) -> None:
        """Take note that a thread leaves its connection, while the hub does not look (``is_awake``); for any thread."""
        self._hub_calls.post(self._wake)

    def _wake(self) -> None:
        if not self.is_awake:
            self.is_awake = True
            self._timer.start(self._look)

    def _look(self) -> None:
        away = [connection for connection in self._lent if not connection.is_attended]
        for connection in away:
            if connection.seen == connection.messages_received:
                connection.take_back()
            else:
                connection.seen = connection.messages_received
        if not away:
            self.is_awake = False
            # A thread that has left after we looked, and before we slept, has found us awake.
            if all(connection.is_attended for connection in self._lent):
                self._timer.stop()
            else:
                self.is_awake = True
