"""A worker's event loop: gevent's hub, with the poller and the timers that go with it."""

from __future__ import annotations

from dataclasses import dataclass

from gevent import get_hub
from gevent.hub import Hub

from uwsgi_ws.hub.chunks import keep_chunks
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers

__all__ = ["EventLoop"]


@dataclass(frozen=True, slots=True)
class EventLoop:
    """Made once in each worker, after the fork."""

    hub: Hub
    poller: Poller
    timers: Timers

    @classmethod
    def here(cls) -> EventLoop:
        """Return the event loop of this process."""
        keep_chunks()
        hub = get_hub()
        return cls(hub, Poller(hub), Timers(hub))
