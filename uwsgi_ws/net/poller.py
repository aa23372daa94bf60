"""Which of a worker's sockets have something to read, and who gets the thread then.

One epoll instance holds the sockets of all streams, and gevent's loop watches that instance alone. A turn of the loop
so brings a *batch*, and within a batch the thread goes from greenlet to greenlet past the hub: one that has to wait
reads the batch's next socket itself, and if what came is just the message that another greenlet waits for, it switches
straight to that one. So a message takes one switch in the place of two, and no call out of the loop. Whatever is not
as simple is left to the hub, which goes on with the batch where the greenlets stopped.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import Any

import greenlet
from gevent.hub import Hub

from uwsgi_ws.net.epoll import Epoll

__all__ = ["Poller", "Receiver", "Watched"]

_READ = 1
#: The bare switch: that of gevent's hub asks the greenlet it leaves for a hook first, which costs as much again.
_switch: Any = greenlet.greenlet.switch


class Receiver:
    """Who takes a stream's bytes as they come."""

    __slots__ = ()

    def hand_over(self, data: bytes) -> Any:
        """Take bytes if they are just what a parked greenlet waits for; any greenlet may call it.

        Returns:
            The greenlet, to be switched to at once; None when it is not as simple, and nothing was taken.
        """
        return None

    def receive(self, data: bytes) -> None:
        """Take bytes, ``b""`` at their end; called in the hub, and may switch to other greenlets."""
        raise NotImplementedError


class Watched:
    """Whose descriptor a poller watches."""

    __slots__ = ()

    def hand_over(self) -> Any:
        """The descriptor is readable: return the greenlet to switch to at once, if that is all that is to be done.

        Any greenlet may call it. None leaves the rest to ``readable``, which the hub calls next.
        """
        raise NotImplementedError

    def readable(self) -> None:
        """The descriptor is readable, and ``hand_over`` did not know for whom; called in the hub."""
        raise NotImplementedError


class Poller:
    """One per worker.

    Args:
        hub: The hub that schedules it.

    Attributes:
        hub: The same.
        now: When the present batch came (monotonic).
    """

    __slots__ = ("_epoll", "_held", "_io", "_ready", "hub", "now")

    def __init__(self, hub: Hub) -> None:
        self.hub: Any = hub
        self.now = monotonic()
        self._epoll = Epoll()
        self._ready: list[Any] = []  # what is left of the batch
        self._held: Any = None  # the one of it that a greenlet has left to the hub: what it has read is not lost
        self._io: Any = self.hub.loop.io(self._epoll.fileno(), _READ)
        self._io.start(self._dispatch)

    def watch(self, fd: int, watched: Watched) -> None:
        """Tell ``watched`` whenever its descriptor is readable."""
        self._epoll.add(fd, watched)

    def unwatch(self, fd: int) -> None:
        """Undo ``watch``; the descriptor must still be open. What is left of the present batch may still tell."""
        self._epoll.remove(fd)

    def wait(self) -> Any:
        """Park the calling greenlet; return what it is switched to with."""
        target = None
        if self._ready and self._held is None:
            watched = self._ready.pop()
            target = watched.hand_over()
            if target is None:
                self._held = watched
        return _switch(self.hub if target is None else target)

    def _dispatch(self) -> None:
        """Go through a batch; whoever is switched to may have gone on with it in the meantime."""
        self._ready = self._epoll.poll()
        self.now = monotonic()
        while True:
            watched, self._held = self._held, None
            try:
                if watched is None:
                    if not self._ready:
                        return
                    watched = self._ready.pop()
                    target = watched.hand_over()
                    if target is not None:
                        _switch(target)
                        continue
                watched.readable()
            except Exception:
                # One connection's trouble; the others of the batch are still to be served.
                self.hub.handle_error(watched, *sys.exc_info())

    def close(self) -> None:
        """Watch nothing any more."""
        self._io.stop()
        self._io.close()
        self._epoll.close()
