"""``uwsgi.set_user_harakiri``: an application's own limit on how long a request may take.

As with ``--harakiri``, an exception is raised where the request waits, and no other one is ended. A request that does
not wait, but keeps the event loop from running, cannot be reached so: then a thread ends the process, as uWSGI's master
does, if there is a master to replace it.

Source: uWSGI 2.0.31, core/utils.c. Unlike there the limit is the request's, not the worker's, and requests that wait
need no master for it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent import get_hub, monkey

from uwsgi_ws.api.arguments import c_int
from uwsgi_ws.api.instance import Instance
from uwsgi_ws.errors import RequestTimeout
from uwsgi_ws.hub.hub_calls import in_hub
from uwsgi_ws.log import say
from uwsgi_ws.wsgi.current import current_request

__all__ = ["UserHarakiri"]

#: Seconds that the event loop has to end a request by itself.
_PATIENCE = 1.0
_PAUSE = 0.25
# Patched ones would need the event loop that does not run.
_start_thread: Callable[..., int] = monkey.get_original("_thread", "start_new_thread")
_sleep: Callable[[float], None] = monkey.get_original("time", "sleep")


class UserHarakiri:
    """What requests of this process have asked for.

    Args:
        instance: Knows the server that serves them.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._timers: dict[int, Any] = {}  # by request id; in the hub's thread only
        self._ends: dict[int, float] = {}  # the same, with the time by which it must have been ended
        self._watcher = 0  # the process that has the thread

    def set_user_harakiri(self, seconds: int, /) -> None:
        """End the current request when it takes longer than so many seconds from now; 0 takes that back.

        Outside of a request it is without effect.
        """
        seconds = c_int(seconds)
        try:
            request = current_request()
        except SystemError:
            return
        in_hub(self._set, request.request_id, seconds)

    def _set(self, request_id: int, seconds: int) -> None:
        timer = self._timers.pop(request_id, None)
        self._ends.pop(request_id, None)
        if timer is not None:
            timer.stop()
            timer.close()
        if seconds <= 0:
            return
        self._timers[request_id] = timer = get_hub().loop.timer(seconds, ref=False)
        timer.start(self._end, request_id, seconds)
        self._ends[request_id] = monotonic() + seconds + _PATIENCE
        if self._instance.masterpid() and self._watcher != os.getpid():
            self._watcher = os.getpid()
            _start_thread(self._watch, ())

    def _end(self, request_id: int, seconds: int) -> None:
        """End a request, if it is there yet; called by its timer."""
        self._set(request_id, 0)
        server = self._instance.server
        for greenlet, front in server.clients() if server is not None else ():
            request = front.request
            if request is not None and request.request_id == request_id and not request.is_over:
                environ = request.environ
                what = f"{environ.get('REQUEST_METHOD', '-')} {environ.get('REQUEST_URI', '-')}"
                where = f"WORKER {self._instance.worker_id()} CORE {request.core}"
                say(f"*** HARAKIRI ON {where}: {what} has taken longer than the {seconds} seconds that it set ***")
                greenlet.kill(RequestTimeout(f"longer than {seconds} seconds (set_user_harakiri)"), block=False)

    def _watch(self) -> None:
        """End this process when the event loop has not ended a request in time; in a thread of its own."""
        while self._ends:
            _sleep(_PAUSE)
            if any(end < monotonic() for end in list(self._ends.values())):
                say(
                    "*** HARAKIRI: a request takes longer than it has set, and does not yield: its worker is killed ***"
                )
                os.kill(os.getpid(), signal.SIGKILL)
        self._watcher = 0
