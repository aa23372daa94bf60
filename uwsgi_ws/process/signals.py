"""What signals mean between the processes, and how one without an event loop takes them: a handler only enqueues."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

from uwsgi_ws.hub.own import keep_signal

__all__ = [
    "ANNOUNCE",
    "CEASE",
    "HURRY",
    "LEAVE",
    "PAUSE",
    "REOPEN",
    "REPORT",
    "REST",
    "RESUME",
    "STOP",
    "SignalQueue",
    "ignore_terminal",
]

# The master's orders to a worker. Each has its signal, as the kernel makes one of two that are alike and come together.
CEASE = signal.SIGRTMIN  #: successors have taken over: accept no client any more, and say when
LEAVE = signal.SIGHUP  #: close the connections of all clients, and exit
STOP = signal.SIGTERM  #: the instance stops
HURRY = signal.SIGUSR1  #: it stops, and waits for no client
REPORT = signal.SIGUSR2  #: log what it is doing
PAUSE = signal.SIGRTMIN + 1  #: accept no client for a while
RESUME = signal.SIGRTMIN + 2  #: accept again, also after a rest
REST = signal.SIGRTMIN + 4  #: accept no client, and close idle connections: there may be too many workers
ANNOUNCE = signal.SIGRTMIN + 5  #: the instance will stop: tell those who ask for its health, and serve on
REOPEN = signal.SIGRTMIN + 3  #: the log's file is another; also a fork server's


class SignalQueue:
    """Makes signals readable: the interpreter itself writes each one's number into a pipe.

    Args:
        numbers: Those to take.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = frozenset(numbers)
        self._receiving, self._sending = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # A full pipe holds 65,536 signals that wait; one more would change nothing.
        signal.set_wakeup_fd(self._sending, warn_on_full_buffer=False)
        for number in self._numbers:
            signal.signal(number, _do_nothing)

    def fileno(self) -> int:
        """Return a descriptor that is readable while signals wait."""
        return self._receiving

    def take(self) -> bytes:
        """Return the numbers of the signals that came, in order; without waiting."""
        try:
            # The interpreter writes down every signal that has a handler, also another's.
            return bytes(number for number in os.read(self._receiving, 65_536) if number in self._numbers)
        except BlockingIOError:
            return b""

    def fork(self) -> int:
        """Fork; the child has no queue any more, and its signals mean what they mean by default.

        No signal is lost or taken by the wrong process: they wait until both know which one they are.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
        try:
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for number in self._numbers:
                    signal.signal(number, signal.SIG_DFL)
                os.close(self._receiving)
                os.close(self._sending)
                ignore_terminal()
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._numbers)


def ignore_terminal() -> None:
    """Leave the Ctrl-C of a terminal to the master, which gets it too and tells all other processes what to do.

    They are handled by doing nothing, not ignored: programs that an application starts would inherit that. In a worker
    the event loop's handlers hide these; but what the interpreter believes of a signal counts for a thread that calls
    ``_thread.interrupt_main``.
    """
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, _do_nothing)
        keep_signal(number)


def _do_nothing(number: int, frame: object) -> None:
    pass
