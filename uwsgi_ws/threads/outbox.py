"""An outbox that threads write by, each inside the connection's lock; what needs the event loop is left to the hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gevent import monkey
from gevent.hub import Hub

from uwsgi_ws.hub.cork import Cork
from uwsgi_ws.hub.hub_calls import in_hub, is_hub_here
from uwsgi_ws.net.base import Stream
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.outbox import Outbox, Owner
from uwsgi_ws.websocket.send_queue import SendQueue

__all__ = ["ThreadOutbox", "make_lock", "outside"]

#: What admits one thread at a time, and it as often as it likes: the hub's comes by way of several greenlets. A patched
#: one would tell these apart.
make_lock: Any = monkey.get_original("_thread", "RLock")


@contextmanager
def outside(lock: Any) -> Iterator[None]:
    """Give the lock back for a while."""
    lock.release()
    try:
        yield
    finally:
        lock.acquire()


class ThreadOutbox(Outbox):
    """An outbox whose callers are inside the connection's lock.

    Args:
        stream: May be written to in any thread if it is a plain socket.
        lock: The connection's.
    """

    __slots__ = ("_lock",)

    def __init__(self, owner: Owner, stream: Stream, hub: Hub, cork: Cork, stats: Stats, limit: int, lock: Any) -> None:
        super().__init__(owner, stream, hub, cork, stats, limit)
        self._lock = lock

    def flush(self, is_awaited: bool = False) -> bool:
        """Write the batch; the hub takes the lock for that at the end of its turn."""
        if not is_hub_here():
            return super().flush(is_awaited)  # inside already: twice, and `outside` would not lead out
        with self._lock:  # at the end of the turn
            return super().flush(is_awaited)

    def _open_queue(self) -> SendQueue:
        if is_hub_here():
            return super()._open_queue()
        queue = self._add_queue()
        # Not `HubCalls.post`, which may wait; inside the lock no thread may wait for the hub.
        self._hub.loop.run_callback_threadsafe(self._watch, queue)
        return queue

    def _watch(self, queue: SendQueue) -> None:
        with self._lock:
            if self._queue is queue:  # else the connection has ended meanwhile
                self._wait_for_kernel()

    def _advance(self) -> None:
        with self._lock:
            super()._advance()

    def _wait(self, queue: SendQueue, ticket: int) -> bool:
        with outside(self._lock):
            return in_hub(super()._wait, queue, ticket)
