"""Calls from native threads to the hub's thread, for all that belongs to the hub: streams, connections, channels.

A thread's call waits in a queue; the hub is woken, makes the call in a greenlet of its own, so that it may park there,
and hands what it returns or raises back to the thread, which waits on a lock meanwhile. So a thread has one call under
way at most, and what it has called and posted is done in that order.

Inside the hub's thread, and in a process without ``HubCalls``, ``in_hub`` is a plain call.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from gevent import getcurrent, monkey
from gevent.hub import Hub
from greenlet import greenlet

from uwsgi_ws.errors import InvalidState
from uwsgi_ws.hub import own
from uwsgi_ws.hub.wakeup import Wakeup

__all__ = ["HubCalls", "in_hub", "is_hub_here", "post", "use_hub_calls"]

P = ParamSpec("P")
R = TypeVar("R")

# Patched ones would tell greenlets apart, and stop them, where threads are meant.
_thread_id: Callable[[], int] = monkey.get_original("_thread", "get_ident")
_allocate_lock: Callable[[], Any] = monkey.get_original("_thread", "allocate_lock")

#: Posted calls that may wait for a hub that is slower than the threads; further ones are waited for.
_MOST_POSTED = 1_000

_log = logging.getLogger("uwsgi_ws.threads")


class HubCalls:
    """Made in the hub's thread, for good; ``call`` and ``post`` are for the others, ``interrupt`` for that one.

    Args:
        hub: The one of this thread.
    """

    __slots__ = ("_calls", "_running", "_wake", "_wakeups", "hub", "thread")

    def __init__(self, hub: Hub) -> None:
        self.hub: Any = hub
        self._calls: deque[_Call] = deque()
        self._running: dict[int, Any] = {}  # the greenlets that make calls now, by the thread that waits
        self._wakeups: dict[int, Wakeup] = {}  # what threads wait at by themselves
        #: The hub's.
        self.thread = _thread_id()
        # Its `send` alone, of all that gevent has, may be used from another thread. It keeps the loop alive: when all
        # places are taken, the threads' calls are all that is to come.
        self._wake: Any = self.hub.loop.async_()
        self._wake.start(self._make_calls)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in the hub's thread and wait for what it returns or raises.

        Raises:
            InvalidState: this is a copy of the process, without that thread.
        """
        if own.is_copy:
            raise InvalidState("the application has forked this process, which has no part in serving clients")
        call = _Call(function, args, kwargs, _thread_id())
        self._calls.append(call)
        self._wake.send()
        call.returned.acquire()
        error = call.error
        if error is None:
            return call.result  # type: ignore[no-any-return]  # a call does not know whose it is
        call.error = None  # the traceback knows this frame and that of `_make`: cycles, if these knew the error
        try:
            raise error
        finally:
            del error

    def post(self, function: Callable[..., object], *args: object) -> None:
        """Have a function called in the hub's thread soon; it must neither wait nor raise.

        It is called after the thread's earlier calls and before its later ones. The thread does not wait for it, unless
        very many calls are there already.
        """
        if len(self._calls) >= _MOST_POSTED:
            self.call(function, *args)
            return
        self._calls.append(_Call(function, args, {}, 0))
        self._wake.send()

    def wait(self, wakeup: Wakeup, deadline: float | None) -> None:
        """Wait in a thread of its own as ``wakeup.wait`` does, where ``interrupt`` finds it."""
        thread = _thread_id()
        self._wakeups[thread] = wakeup
        try:
            wakeup.wait(deadline)
        finally:
            del self._wakeups[thread]
        wakeup.raise_error()

    def is_here(self) -> bool:
        """Say whether this is the hub's thread."""
        return _thread_id() == self.thread

    def interrupt(self, thread: int, error: BaseException) -> bool:
        """Raise ``error`` in a thread that waits for a call or at a ``Wakeup``; False when it waits for neither."""
        wakeup = self._wakeups.get(thread)
        if wakeup is not None:
            wakeup.error = error
            wakeup.wake()
            return True
        waiting: Any = self._running.get(thread)
        if waiting is None:
            return False
        self.hub.loop.run_callback(self._throw, thread, waiting, error)
        return True

    def _throw(self, thread: int, waiting: Any, error: BaseException) -> None:
        if thread in self._running and self._running[thread] is waiting:  # else its call has returned
            waiting.throw(error)

    def close(self) -> None:
        """Make no more calls."""
        self._wake.stop()
        self._wake.close()

    def _make_calls(self) -> None:
        # Threads that call again at once have their turn after the others' events.
        for _ in range(len(self._calls)):
            greenlet(self._make, self.hub).switch(self._calls.popleft())

    def _make(self, call: _Call) -> None:
        self._running[call.thread] = getcurrent()
        try:
            call.result = call.function(*call.args, **call.kwargs)
        except BaseException as exc:  # GreenletExit too: it is the thread's to end
            call.error = exc
            if not call.thread:
                _log.exception("a call that nobody waits for")
        finally:
            del self._running[call.thread]
        call.returned.release()


class _Call:
    """What a thread wants done, and then what came of it."""

    __slots__ = ("args", "error", "function", "kwargs", "result", "returned", "thread")

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any, thread: int) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.thread = thread
        self.result: Any = None
        self.error: BaseException | None = None
        self.returned = _allocate_lock()
        self.returned.acquire()


_current: HubCalls | None = None


def use_hub_calls(hub_calls: HubCalls | None) -> None:
    """Make this the way into the hub of this process."""
    global _current
    _current = hub_calls


def in_hub(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in the hub's thread; here, if this is that thread, or the process has no ``HubCalls``."""
    hub_calls = _current
    if hub_calls is None or hub_calls.is_here():
        return function(*args, **kwargs)
    return hub_calls.call(function, *args, **kwargs)


def is_hub_here() -> bool:
    """Say whether what belongs to the hub may be called right here: whether ``in_hub`` is a plain call."""
    return _current is None or _current.is_here()


def post(hub: Hub, function: Callable[..., object], *args: object) -> None:
    """Have a function called soon in a hub's thread, from another one: after what this one has called ``in_hub``."""
    hub_calls = _current
    if hub_calls is not None and hub_calls.hub is hub:
        hub_calls.post(function, *args)
    else:
        loop: Any = hub.loop
        loop.run_callback_threadsafe(function, *args)
