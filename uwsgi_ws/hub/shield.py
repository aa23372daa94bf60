"""What the hub does with errors that nobody has caught: it says so, and goes on.

gevent ends the loop for a SystemExit, a KeyboardInterrupt or a SystemError that leaves a greenlet or a callback, by
raising it in the main greenlet. In a worker these are the application's: a greenlet that calls ``sys.exit``, a timer
that calls ``uwsgi.*`` outside of a request, a signal handler. They must not cost every other client its connection.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from gevent import GreenletExit
from gevent.hub import Hub

__all__ = ["shield", "shield_signals"]

#: gevent's, while it destroys a hub; not public.
_DESTROYED = "HubDestroyed"
#: How libev's own failures begin; the loop cannot go on after one.
_LIBEV = "(libev)"


def shield(hub: Hub) -> None:
    """Have a hub survive whatever an application raises."""
    plain: Any = hub

    def handle_error(
        context: Any, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind.__name__ == _DESTROYED or (context is None and kind is SystemError and str(error).startswith(_LIBEV)):
            type(plain).handle_error(plain, context, kind, error, trace)
        elif not issubclass(kind, GreenletExit):
            try:
                # Without a context gevent leaves out what it says at the end.
                plain.print_exception("a signal handler" if context is None else context, kind, error, trace)
            except BaseException:
                pass  # the log is gone, or an object's own repr raises

    plain.handle_error = handle_error


class _Guarded:
    """A signal handler of the application's, whose errors stay out of the server's code."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self.handler(number, frame)
        except BaseException:
            if _is_the_applications(frame):
                raise  # as a time limit does that a view sets itself
            try:
                traceback.print_exc()
            except Exception:
                pass  # the log is gone


def shield_signals() -> None:
    """Have the handlers that applications give to ``signal.signal`` raise in applications' code only.

    The interpreter calls them in the main thread, wherever that is: half-way through another client's message, too.
    """
    set_handler, get_handler = signal.signal, signal.getsignal

    def bare(handler: Any) -> Any:
        return handler.handler if isinstance(handler, _Guarded) else handler

    def new_signal(signalnum: int, handler: Any) -> Any:
        is_ours = str(getattr(handler, "__module__", "")).startswith("uwsgi_ws.")
        return bare(set_handler(signalnum, _Guarded(handler) if callable(handler) and not is_ours else handler))

    def new_getsignal(signalnum: int) -> Any:
        return bare(get_handler(signalnum))

    new_signal.__doc__, new_getsignal.__doc__ = set_handler.__doc__, get_handler.__doc__
    signal.signal, signal.getsignal = new_signal, new_getsignal  # their equals


def _is_the_applications(frame: FrameType | None) -> bool:
    """Say whether the application's code is what a signal has interrupted, be it inside a library."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if module in ("uwsgi_ws", "__main__"):
            return False
        if module not in _OTHERS:
            return True
        frame = frame.f_back
    return False


#: Whose code runs for either.
_OTHERS = sys.stdlib_module_names | {"gevent", "greenlet"}
