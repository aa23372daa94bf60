"""Which of a worker's sockets have something to read, and who gets the thread then.

A socket that is readable only joins the *batch* of the loop's turn; the last watcher of the turn goes through it. And
within a batch the thread goes from greenlet to greenlet past the hub: one that has to wait reads the batch's next
socket itself, and if what came is just the message that another greenlet waits for, it switches straight to that one.
So a message takes one switch in the place of two. Whatever is not as simple is left to the hub, which goes on with the
batch where the greenlets stopped.

(An epoll instance of our own, watched by the loop as one, spares the loop a call for each socket; but a turn takes two
system calls more, and that is not less.)
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import Any

from gevent.hub import Hub

from uwsgi_ws.hub import greenlets
from uwsgi_ws.hub.cork import Cork
from uwsgi_ws.hub.own import in_copies, refuse_copies

__all__ = ["Poller", "Receiver", "Watched"]

greenlets.prepare()

_READ = 1


class Receiver:
    """Who takes a stream's bytes as they come."""

    __slots__ = ()

    #: Whether ``take_if_simple`` ever takes anything.
    takes_simple = False

    def take_if_simple(self, data: bytes) -> Any:
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

    def next_greenlet(self) -> Any:
        """The descriptor is readable: return the greenlet to switch to at once, if that is all that is to be done.

        Any greenlet may call it. None leaves the rest to ``readable``, which the hub calls next.
        """
        raise NotImplementedError

    def readable(self) -> None:
        """The descriptor is readable, and ``next_greenlet`` did not know for whom; called in the hub."""
        raise NotImplementedError


class Poller:
    """One per worker.

    Args:
        hub: The hub that schedules it.

    Attributes:
        hub: The same.
        now: When the present batch came (monotonic).
        ready: What is left of it; watchers add to it.
        cork: What is written at the end of the turn.
    """

    __slots__ = ("_add", "_check", "_is_left", "_left_over", "cork", "hub", "now", "ready")

    def __init__(self, hub: Hub) -> None:
        self.hub: Any = hub
        self.now = monotonic()
        self.ready: list[Any] = []
        self.cork = Cork(self.hub.loop)
        self._add: Any = self.ready.append  # one object, which every watcher keeps
        self._left_over: Any = None  # the one of it that a greenlet has left to the hub: what it has read is not lost
        self._is_left = False
        in_copies(self._leave)
        # The last of a turn: all that it found readable has been put into the batch by then.
        self._check: Any = self.hub.loop.check(ref=False, priority=-2)
        self._check.start(self._dispatch)

    def watcher(self, fd: int) -> Any:
        """Return a watcher of the loop's for a descriptor, to be given to ``watch``; it must be closed in the end."""
        return self.hub.loop.io(fd, _READ)

    def watch(self, watcher: Any, watched: Watched) -> None:
        """Tell ``watched`` whenever its descriptor is readable, until the watcher is stopped.

        Raises:
            OSError: as in ``wait``.
        """
        if self._is_left:
            refuse_copies()
        watcher.start(self._add, watched)

    def wait(self) -> Any:
        """Park the calling greenlet; return what it is switched to with.

        Raises:
            OSError: the application has forked this process: it has no clients.
        """
        if self._is_left:
            refuse_copies()
        target = None
        if self.ready and self._left_over is None:
            watched = self.ready.pop()
            target = watched.next_greenlet()
            if target is None:
                self._left_over = watched
        return greenlets.switch(self.hub if target is None else target)

    def _leave(self) -> None:
        """This process is a copy: the greenlets parked here stay parked."""
        self._is_left = True
        self.ready.clear()

    def _dispatch(self) -> None:
        """Go through a batch; a greenlet that is switched to may go on with it in the meantime."""
        if not self.ready:
            return
        self.now = monotonic()
        while True:
            watched, self._left_over = self._left_over, None
            try:
                if watched is None:
                    if not self.ready:
                        return
                    watched = self.ready.pop()
                    target = watched.next_greenlet()
                    if target is not None:
                        greenlets.switch(target)
                        continue
                watched.readable()
            except Exception:
                # One connection's trouble; the others of the batch are still to be served.
                self.hub.handle_error(watched, *sys.exc_info())

    def close(self) -> None:
        """Watch nothing any more."""
        self._check.stop()
        self._check.close()
        self.cork.close()
