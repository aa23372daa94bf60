"""What belongs to this process alone: a process that the application forks gets nothing of the server that acts.

``fork`` copies everything: listening sockets, clients' connections, an event loop in the middle of its turn, greenlets
that wait for other clients. In a *copy*, as such a child is called here, none of it may act, however it was
forked: ``os.fork``, ``multiprocessing``, ``pty.fork``, ``subprocess``. So what only the server's own processes may use
is declared here by the code that makes it, and in a copy, before any library's handler runs there:

* Descriptors become a socket whose peer is gone. Their numbers stay taken, so that code which still knows one does not
  write into something else. What they meant is closed: a client sees the end, and an address is free, as soon as the
  server closes them, however long the copy lives.
* Signals mean what they mean by default.
* The hub stays, as locks and sockets know it, but of what waited in it at the fork nothing goes on (see ``_cut_off``).
* A copy does not return into the server's code: whatever calls the application asks ``is_copy`` afterwards, and a
  greenlet that ends there ends the process.

Programs that are started have none of it either, as all of these descriptors are closed on ``exec``.

The server's own processes are forked by ``fork``. They keep all but the greenlets that were started while the
application was loaded: those go on where they were started, and nowhere else.

Nothing here needs gevent to be imported: the master has none.
"""

from __future__ import annotations

import _socket
import atexit
import contextlib
import errno
import faulthandler
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection
from typing import Any, NoReturn
from weakref import ref

__all__ = [
    "OwnSocket",
    "arm",
    "drop_descriptor",
    "end_copy",
    "fork",
    "in_copies",
    "is_copy",
    "keep_descriptor",
    "keep_signal",
    "keep_socket",
    "note_greenlets",
    "refuse_copies",
]

#: This process was forked by the application: it must not go on in the server's code.
is_copy = False

_sockets: set[ref[Any]] = set()  # which their ends leave: a WeakSet does the same by calls of Python's
_forget: Any = _sockets.discard  # one object, which every reference keeps
_descriptors: set[int] = set()
_signals: dict[int, Any] = {}  # and what the interpreter knew of each when we had set it
_callbacks: list[Callable[[], None]] = []
_is_armed = False
_is_forking = False  # by `fork`
_mask: Collection[int] = ()  # the signals that were held before a fork
_dead_end: Any = None  # a socket whose peer is gone
_loaded_watchers: list[Any] = []  # see `note_greenlets`
#: What was left behind. Were a greenlet freed it would be run once more, to end it.
_left: list[Any] = []


class OwnSocket(_socket.socket):
    """The interpreter's plain socket, for this process alone."""

    __slots__ = ("__weakref__",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _sockets.add(ref(self, _forget))


def keep_socket(sock: Any) -> None:
    """Keep a socket to this process and the server's others, until it is closed."""
    _sockets.add(ref(sock, _forget))


def keep_descriptor(fd: int) -> None:
    """Keep a descriptor to this process and the server's others, until ``drop_descriptor``."""
    _descriptors.add(fd)


def drop_descriptor(fd: int) -> None:
    """Undo ``keep_descriptor``; before it is closed."""
    _descriptors.discard(fd)


def keep_signal(number: int) -> None:
    """Keep a signal's meaning, which has just been set, to this process and the server's others."""
    _signals[number] = signal.getsignal(number)


def in_copies(callback: Callable[[], None]) -> None:
    """Have something called in each copy; it must not switch greenlets."""
    _callbacks.append(callback)


def arm() -> None:
    """Look after what is forked from here on; before anything of the application's is imported.

    Handlers run in a child in the order in which they were registered, so that of a library come after ours.
    """
    global _is_armed, _dead_end
    if not _is_armed:
        # Not at the top: this module comes before monkey-patching.
        from uwsgi_ws.log.output import fill_standard_descriptors

        _is_armed = True
        fill_standard_descriptors()  # before anything of ours gets such a number
        _dead_end, peer = _socket.socketpair()  # now, as a copy may have no descriptor left
        peer.close()
        os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_after_fork)


def fork() -> int:
    """Fork a process of the server's own."""
    global _is_forking
    _is_forking = True
    try:
        return _os_fork()()
    finally:
        _is_forking = False


def _os_fork() -> Callable[[], int]:
    # gevent's version watches the child, which is not ours to be told of.
    if "gevent.monkey" in sys.modules:
        from gevent.monkey import get_original

        return get_original("os", "fork")  # type: ignore[no-any-return]  # whatever it is asked for
    return os.fork


def refuse_copies() -> None:
    """Raise an error in a copy; for a caller that is about to wait for a client.

    Raises:
        OSError: this is one.
    """
    if is_copy:
        raise OSError(errno.EBADF, "the application has forked this process, which has no clients")


def note_greenlets() -> None:
    """Take note of what waits in the hub, before ``gc.freeze``, which is the caller's to call, hides it.

    A process forked later looks only at what has come since: to look at all objects would have it copy their pages.
    """
    hub = _current_hub()
    if hub is not None:
        _loaded_watchers[:] = _watchers(hub.loop, _all_objects())


def end_copy(error: BaseException | None = None) -> NoReturn:
    """End this process, which is a copy, as a program would end that left its last function like this."""
    status = 0
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if error.code is not None and not isinstance(error.code, int):
            _complain(f"{error.code}\n")
    elif isinstance(error, KeyboardInterrupt):
        status = 130
    elif error is not None:
        status = 1
        _complain("".join(traceback.format_exception(error)))
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()  # what it has registered itself: those before were the server's
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status & 0xFF)


def _complain(text: str) -> None:
    with contextlib.suppress(Exception):
        sys.stderr.write(text)


def _hold_signals() -> None:
    """Have signals wait until both processes know which one they are: one for the child is not the server's."""
    global _mask
    _mask = signal.pthread_sigmask(signal.SIG_BLOCK, _signals)


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask)


def _after_fork() -> None:
    try:
        _sort_out()
    finally:
        _release_signals()


def _sort_out() -> None:
    """Take what is the server's from this process, unless it is one of the server's own."""
    global is_copy
    if is_copy:
        return  # forked by a copy, which has nothing of the server's any more
    hub = _current_hub()
    if hub is not None:
        _reinit(hub)
    if _is_forking:
        if hub is not None:
            _cut_off(hub, [*_loaded_watchers, *_watchers(hub.loop, gc.get_objects())])
        return
    is_copy = True
    try:
        _let_go_of_descriptors()
        _reset_signals()
        atexit._clear()
        for callback in _callbacks:
            callback()
        if hub is not None:
            _leave_hub(hub)
    except BaseException as exc:
        # The interpreter would say so, and go on: rather no child than a second server.
        end_copy(exc)


def _let_go_of_descriptors() -> None:
    dead_end = _dead_end.fileno()
    sockets = [sock for known in _sockets.copy() if (sock := known()) is not None]
    for fd in [*_descriptors, *[sock.fileno() for sock in sockets]]:
        if fd >= 0:
            os.dup2(dead_end, fd, inheritable=False)


def _reset_signals() -> None:
    for number, known in _signals.items():
        # The event loop's handlers are unknown to the interpreter. One that it knows since then is the application's.
        if signal.getsignal(number) is known:
            with contextlib.suppress(ValueError, OSError, RuntimeError):  # the last: not one for it, as SIGABRT
                faulthandler.unregister(number)
            # SIGINT too: where Python raises its exception nobody can tell, and it might be in here.
            signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)


# gevent


def _current_hub() -> Any:
    """Return this thread's hub; None when there is none."""
    if "gevent.hub" not in sys.modules:
        return None
    from gevent._hub_local import get_hub_if_exists

    return get_hub_if_exists()


def _reinit(hub: Any) -> None:
    from gevent.hub import reinit

    reinit(hub)


def _leave_hub(hub: Any) -> None:
    """Have nothing of what waits in the hub go on there, once it is switched to.

    Most copies never do: they run another program, or compute. To look for what waits takes a look at every object, so
    it is put off until then. What the copy has begun to wait for by then must go on; ``gc.freeze`` tells the objects
    before the fork from those after it, and takes no time.
    """
    from greenlet import getcurrent, gettrace, settrace

    hub.__dict__.pop("handle_error", None)  # the server's, which outlives any error
    current: Any = getcurrent()
    if current is not hub.parent:
        # The main greenlet is in the server's code: whatever would end there ends the process.
        last = _last_greenlet(current, hub)
        last.switch()
        hub.parent = last
    if current is hub:
        _cut_off(hub, _watchers(hub.loop, _all_objects()))
        return
    gc.freeze()
    before: Any = gettrace()

    def trace(event: str, greenlets: tuple[Any, Any]) -> None:
        if greenlets[1] is hub:
            settrace(before)
            fresh = {id(item) for item in gc.get_objects()}
            _cut_off(hub, _watchers(hub.loop, _all_objects()), fresh)
        if before is not None:
            before(event, greenlets)

    settrace(trace)


def _all_objects() -> list[Any]:
    gc.unfreeze()
    return gc.get_objects()


def _watchers(loop: Any, objects: list[Any]) -> list[Any]:
    """Return the loop's watchers among objects; but not those that watch for forks, which are meant for children."""
    kind = loop.WatcherType if hasattr(loop, "WatcherType") else loop._watchers.watcher  # libev's; libuv's
    for_forks = type(loop.fork(ref=False))
    found = []
    for item in objects:
        is_kind = type(item)  # not isinstance: it may ask the object, which may be anything
        if issubclass(is_kind, kind) and is_kind is not for_forks and item.loop is loop:
            found.append(item)
    return found


def _cut_off(hub: Any, watchers: list[Any], fresh: set[int] | frozenset[int] = frozenset()) -> None:
    """Let nothing go on that waits in the hub.

    Args:
        hub: This thread's.
        watchers: Its loop's.
        fresh: The ids of what may: objects of this process, not of the one before. It may have started a watcher that
            is older, such as that of a socket; but then with a callback of its own.
    """

    def is_ours(item: Any) -> bool:
        return not fresh.isdisjoint((id(item), id(item.callback), id(item.args)))

    for_signals = type(hub.loop.signal(signal.SIGCHLD, ref=False))
    for watcher in watchers:
        if (watcher.active or watcher.pending) and not is_ours(watcher):
            _left.append((watcher, watcher.callback, watcher.args))
            if type(watcher) is for_signals:
                _stop_signal_watcher(watcher)
            else:
                watcher.stop()
    for callback in list(hub.loop._callbacks):
        if not is_ours(callback):
            _left.append((callback, callback.callback, callback.args))
            callback.stop()


def _stop_signal_watcher(watcher: Any) -> None:
    """Stop one without a change to what its signal means by now: the loop would set it to the default."""
    meanings = {number: signal.getsignal(number) for number in signal.valid_signals()}
    watcher.stop()
    for number, meaning in meanings.items():
        if meaning not in (None, signal.SIG_DFL) and number != signal.SIGCHLD:
            signal.signal(number, meaning)


def _last_greenlet(current: Any, hub: Any) -> Any:
    """Return a greenlet that ends the process with whatever it is switched to or thrown into with.

    Args:
        current: The greenlet that the copy goes on in.
        hub: This thread's; its parent is still the main greenlet.
    """
    from greenlet import greenlet

    main = hub.parent

    def run() -> NoReturn:
        error: BaseException | None = None
        try:
            current.switch()
        except BaseException as exc:
            error = exc
        if type(error).__name__ == "LoopExit" and (current.dead or current is hub):
            error = None  # all is done, and nothing waits any more
        end_copy(error)

    return greenlet(run, main)
