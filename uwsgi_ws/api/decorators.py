"""What applications import as ``uwsgidecorators``, where they find none of their own.

The module is a file of uWSGI's distribution. Where that is installed, or the application brings one along, it wins: it
is what the application was written with, and it works by the ``uwsgi`` module alone. So this one is offered behind all
others. Unlike uWSGI's it needs no master.

Decorators for what is not here tell so: those for the spooler when they decorate, as uWSGI's do without one; those for
mules when what they have decorated is called, or would run.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial, wraps
from types import ModuleType
from typing import Any, TypeVar

from uwsgi_ws.api.offered import offer
from uwsgi_ws.log import say

__all__ = [
    "cron",
    "farm",
    "filemon",
    "get_free_signal",
    "harakiri",
    "lock",
    "mule",
    "mulefunc",
    "muleloop",
    "mulemsg",
    "postfork",
    "postfork_chain",
    "rbtimer",
    "rpc",
    "signal",
    "spool",
    "spoolforever",
    "spoolraw",
    "thread",
    "timer",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Decorator = Callable[[_Function], _Function]

_NO_SPOOLER = "use a task queue such as Celery, RQ or Huey, started on its own"
_NO_MULE = "start the program as a service of its own, or by --attach-daemon"

#: What each worker calls first.
postfork_chain: list[Callable[[], Any]] = []


def _uwsgi(name: str, decorator: str) -> Any:
    """Return a function of the ``uwsgi`` module's.

    Raises:
        NotImplementedError: it is not there.
    """
    function = getattr(sys.modules["uwsgi"], name, None)
    if function is None:
        raise NotImplementedError(f"@{decorator} needs uwsgi.{name}, which is not here")
    return function


def _run_postfork_chain() -> None:
    for function in postfork_chain:
        function()


def postfork(what: Any) -> Any:
    """Have each worker call a function when it begins: ``@postfork``, or ``@postfork(1)`` for the first one only."""
    if callable(what):
        postfork_chain.append(what)
        return what
    worker_id = what

    def decorate(function: _Function) -> _Function:
        def run() -> None:
            if not worker_id or sys.modules["uwsgi"].worker_id() == worker_id:
                function()

        postfork_chain.append(run)
        return function

    return decorate


def lock(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let one call of all workers run at a time: by ``uwsgi.lock``."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        uwsgi: Any = sys.modules["uwsgi"]
        uwsgi.lock()
        try:
            return function(*args, **kwargs)
        finally:
            uwsgi.unlock()

    return call


def thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have each call run in a thread of its own, which is a greenlet where threads are patched."""

    @wraps(function)
    def call(*args: Any) -> Any:
        threading.Thread(target=function, args=args, daemon=True).start()
        return function

    return call


def harakiri(seconds: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """End a request whose call of the function takes longer: by ``uwsgi.set_user_harakiri``."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            uwsgi: Any = sys.modules["uwsgi"]
            uwsgi.set_user_harakiri(seconds)
            try:
                return function(*args, **kwargs)
            finally:
                uwsgi.set_user_harakiri(0)

        return call

    return decorate


# By uWSGI's signals


def get_free_signal() -> int:
    """Return a signal that is not registered."""
    is_registered = _uwsgi("signal_registered", "get_free_signal")
    for number in range(256):
        if not is_registered(number):
            return number
    raise Exception("No free uwsgi signal available")


def signal(number: int, *, target: str = "") -> _Decorator[Any]:
    """Call the function for a signal."""

    def decorate(function: _Function) -> _Function:
        _uwsgi("register_signal", "signal")(number, target, function)
        return function

    return decorate


def _by_signal(decorator: str, adder: str, *args: Any, signum: int | None = None, target: str = "") -> _Decorator[Any]:
    def decorate(function: _Function) -> _Function:
        add, register = _uwsgi(adder, decorator), _uwsgi("register_signal", decorator)
        number = get_free_signal() if signum is None else signum
        register(number, target, function)
        add(number, *args)
        return function

    return decorate


def timer(seconds: int, **options: Any) -> _Decorator[Any]:
    """Call the function again and again."""
    return _by_signal("timer", "add_timer", seconds, **options)


def rbtimer(seconds: int, **options: Any) -> _Decorator[Any]:
    """Call the function again and again."""
    return _by_signal("rbtimer", "add_rb_timer", seconds, **options)


def cron(minute: int, hour: int, day: int, month: int, dayweek: int, **options: Any) -> _Decorator[Any]:
    """Call the function at these times; -1 is any."""
    return _by_signal("cron", "add_cron", minute, hour, day, month, dayweek, **options)


def filemon(path: str, **options: Any) -> _Decorator[Any]:
    """Call the function when a file or directory changes."""
    return _by_signal("filemon", "add_file_monitor", path, **options)


def rpc(name: str) -> _Decorator[Any]:
    """Let others call the function by ``uwsgi.rpc``."""

    def decorate(function: _Function) -> _Function:
        _uwsgi("register_rpc", "rpc")(name, function)
        return function

    return decorate


# What is not here


def _spool(decorator: str, function: Any = None, pass_arguments: bool = False) -> Any:
    raise NotImplementedError(
        f"you have to enable the uWSGI spooler to use @{decorator} decorator, and there is none here: {_NO_SPOOLER}"
    )


spool = partial(_spool, "spool")
spoolraw = partial(_spool, "spoolraw")
spoolforever = partial(_spool, "spoolforever")


def mulefunc(what: Any) -> Any:
    """Tell, when the function is called, that no mule can call it."""
    if not callable(what):
        return mulefunc

    @wraps(what)
    def call(*args: Any, **kwargs: Any) -> Any:
        raise ValueError(f"no mule configured, and there are none here: {_NO_MULE}")

    return call


def _never_run(decorator: str, number: Any = None, **options: Any) -> _Decorator[Any]:
    def decorate(function: _Function) -> _Function:
        name = getattr(function, "__name__", "the function")
        say(f"*** @{decorator}: there are no mules here, {name} never runs: {_NO_MULE} ***")
        return function

    return decorate


mule = partial(_never_run, "mule")
muleloop = partial(_never_run, "muleloop")
mulemsg = partial(_never_run, "mulemsg")
farm = partial(_never_run, "farm")


def _fill(module: ModuleType) -> None:
    """Fill the module, and have the workers call what it is told of."""
    module.__doc__ = __doc__
    module.__dict__.update({name: globals()[name] for name in __all__})
    sys.modules["uwsgi"].post_fork_hook = _run_postfork_chain  # type: ignore[attr-defined]


def offer_decorators() -> None:
    """Have ``import uwsgidecorators`` find these where it finds no others."""
    offer("uwsgidecorators", _fill)
