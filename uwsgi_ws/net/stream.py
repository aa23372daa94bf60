"""Duplex bytes over a connected socket, scheduled by the hub.

The worker's poller watches the socket, from the first wish to read on (no watcher, waiter or timer object per read).
There are two ways of reading: a front *pulls* with ``recv``, parking its greenlet; a WebSocket connection has bytes
*pushed* into a receiver, so that control frames are answered while the application is elsewhere. When there is
something and nobody wants it the watching ends; the next wish begins it again.

Writing never waits: ``send`` and ``sendmsg`` say how much went, and a caller with something left asks for
``when_writable``.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from time import monotonic
from typing import Any

from uwsgi_ws.hub import greenlets
from uwsgi_ws.hub.poller import Poller, Receiver, Watched
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.net.raw import RawSocket

__all__ = ["SocketStream"]

greenlets.prepare()

_WRITE = 2
#: Bytes of the longest answer that is corked.
_CORK_LIMIT = 16_384
#: Bytes per read. A buffer of 64 KiB or more costs malloc as much as the read itself, so a connection begins with less;
#: one that fills its buffer gets a large one, until it reads little again: a message of 1 MiB takes some six reads.
_READ_SIZE, _BULK_READ_SIZE = 16_384, 262_144
_TIMED_OUT = object()
#: tcpi_bytes_acked and tcpi_bytes_received of Linux's struct tcp_info.
_TCP_INFO = struct.Struct("@120xQQ")


class SocketStream(Watched):
    """Owns one non-blocking connected socket.

    Args:
        sock: The socket; from now on it belongs to the stream.
        poller: The worker's.
        timers: For deadlines.
        has_threads: Whether others than the hub's run Python.
    """

    __slots__ = (
        "_asked_for",
        "_corked",
        "_deadline",
        "_early",
        "_io",
        "_is_reading",
        "_parked",
        "_poller",
        "_read_size",
        "_reader",
        "_receiver",
        "_sock",
        "_timers",
        "_write_io",
        "raw",
        "wheel_slot",
    )

    def __init__(self, sock: Any, poller: Poller, timers: Timers, *, has_threads: bool = False) -> None:
        self._sock = sock
        self._poller = poller
        self._timers = timers
        self._io: Any = poller.watcher(sock.fileno())
        self._early: bytes | None = None  # what next_greenlet has read and left to the hub
        self._corked: bytes | None = None  # the end of an answer that goes out at the end of the turn
        self._write_io: Any = None
        self._is_reading = False
        self._read_size = _READ_SIZE
        self._reader: Any = None  # the greenlet parked in recv
        self._receiver: Receiver | None = None
        self._parked: Any = None  # the greenlet whose wait has a deadline
        self._deadline = 0.0  # of that wait
        self._asked_for = 0.0  # when `tick` will be called, while there is one
        self.wheel_slot = 0
        #: What reads and writes the socket; a writer of many messages spares a call with it.
        self.raw = RawSocket(sock, has_threads)

    @property
    def is_plain(self) -> bool:
        """See Stream."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return self._sock.fileno()  # type: ignore[no-any-return]  # the sockets of patched and unpatched modules

    def send(self, data: Any) -> int:
        """See Stream."""
        return self.raw.send(data)

    def sendmsg(self, buffers: list[Any]) -> int:
        """See Stream."""
        return self.raw.sendmsg(buffers)

    # Pulling, with a deadline

    def recv(self, timeout: float | None) -> bytes:
        """Wait for bytes and return them; ``b""`` is the end of the stream.

        Raises:
            TimeoutError: nothing came for ``timeout`` seconds.
            OSError: the connection is broken.
        """
        while True:
            self._wait_readable(timeout)
            data = self.raw.recv(_READ_SIZE)
            if data is not None:
                return data

    def recv_now(self) -> bytes | None:
        """Return the bytes that are there; None when there are none, ``b""`` at the end of the stream."""
        data, self._early = self._early, None
        if data is not None:
            return data
        size = self._read_size
        data = self.raw.recv(size)
        if data is None:
            return None
        if len(data) == size:
            self._read_size = _BULK_READ_SIZE
        elif len(data) < _READ_SIZE:
            self._read_size = _READ_SIZE
        return data

    def peek(self, timeout: float | None) -> bytes:
        """Wait for bytes and return them, but leave them there: see ``skip``. Otherwise like ``recv``."""
        while True:
            self._wait_readable(timeout)
            try:
                return self._sock.recv(_READ_SIZE, socket.MSG_PEEK)  # type: ignore[no-any-return]  # as in fileno
            except BlockingIOError:
                continue

    def skip(self, count: int) -> None:
        """Take bytes that ``peek`` has shown. Who leaves them there would be woken for them again and again."""
        self.raw.recv(count)

    def _wait_readable(self, timeout: float | None) -> None:
        if not self._is_reading:
            self._watch()
        self._reader = greenlets.getcurrent()
        try:
            self._park(timeout)
        finally:
            self._reader = None

    def _park(self, timeout: float | None) -> None:
        if timeout is None:
            self._poller.wait()
            return
        self._parked = greenlets.getcurrent()
        self._deadline = deadline = monotonic() + timeout
        # A call at an earlier time will do, and is there already in all but the first of many waits.
        if not self.wheel_slot or deadline < self._asked_for:
            self._asked_for = deadline
            self._timers.schedule(self, deadline)
        try:
            if self._poller.wait() is _TIMED_OUT:
                raise TimeoutError("no progress in time")
        finally:
            self._parked = None

    def tick(self, now: float) -> float | None:
        """End the wait in progress when its deadline has passed."""
        if self._parked is None:
            return None
        if now < self._deadline:
            self._asked_for = self._deadline
            return self._deadline
        self._parked.switch(_TIMED_OUT)
        return None

    def progress(self) -> int:
        """See ClientStream. A kernel or a socket that does not tell has a wait that was ended count as much."""
        try:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
            return sum(_TCP_INFO.unpack(info))
        except (AttributeError, OSError, struct.error):
            return int(self._deadline * 1_000_000)

    @property
    def waits_until(self) -> float:
        """See ClientStream."""
        return self._deadline

    @property
    def is_waiting(self) -> bool:
        """See ClientStream."""
        return self._parked is not None

    def expire(self) -> None:
        """See ClientStream."""
        if self._parked is not None:
            self._parked.switch(_TIMED_OUT)

    def send_all(self, data: Any, timeout: float | None) -> None:
        """Write all of ``data``, waiting up to ``timeout`` seconds each time that the peer takes nothing.

        Raises:
            TimeoutError: no progress in time.
            OSError: the connection is broken.
        """
        if self._corked is not None:
            data = self._take_corked() + data
        sent = self.raw.send(data)
        if sent == len(data):
            return
        rest = memoryview(data)[sent:]
        while rest:
            self._wait_writable(timeout)
            rest = rest[self.raw.send(rest) :]

    def answer(self, data: bytes, timeout: float | None) -> None:
        """See ClientStream. It is corked only while others wait to be answered in this turn."""
        poller = self._poller
        if self._corked is None and len(data) <= _CORK_LIMIT and poller.ready and poller.cork.may_cork(poller.now):
            self._corked = data
            poller.cork.touch(self)
        else:
            self.send_all(data, timeout)

    @property
    def has_unsent(self) -> bool:
        """See ClientStream."""
        return self._corked is not None

    def flush(self) -> None:
        """Write what is corked, if anything is, and what the kernel does not take when it does."""
        corked = self._corked
        if corked is None:
            return
        try:
            sent = self.raw.send(corked)
        except OSError:
            self._take_corked()  # the next read reports it
            return
        if sent == len(corked):
            self._take_corked()
        else:
            self._corked = corked[sent:]
            self.when_writable(self.flush)

    def _take_corked(self) -> bytes:
        corked, self._corked = self._corked, None
        self.stop_writing()
        return corked or b""

    def sendfile(self, fd: int, offset: int, count: int, timeout: float | None) -> int:
        """Write up to ``count`` bytes of a file without copying them; return the bytes written, 0 at its end."""
        if self._corked is not None:
            self.send_all(b"", timeout)
        while True:
            try:
                return os.sendfile(self._sock.fileno(), fd, offset, count)
            except BlockingIOError:
                self._wait_writable(timeout)

    def _wait_writable(self, timeout: float | None) -> None:
        self.when_writable(greenlets.getcurrent().switch)
        try:
            self._park(timeout)
        finally:
            self.stop_writing()

    # Pushing

    def start_receiving(self, receiver: Receiver) -> None:
        """Have ``receiver`` take the bytes as they come, and once ``b""`` at the end of the stream.

        Errors of the connection count as its end.
        """
        self._receiver = receiver
        if not self._is_reading:
            self._watch()
        if self._early is not None:
            self._poller.hub.loop.run_callback(self.readable)

    def pause_receiving(self) -> None:
        """Leave further bytes to the kernel until ``start_receiving`` is called again."""
        self._receiver = None
        if self._is_reading:
            self._unwatch()

    def _watch(self) -> None:
        self._poller.watch(self._io, self)
        self._is_reading = True

    def _unwatch(self) -> None:
        self._io.stop()
        self._is_reading = False

    def next_greenlet(self) -> Any:
        """See Watched."""
        receiver = self._receiver
        if receiver is None:
            return self._reader
        try:
            data = self.recv_now()
        except OSError:
            data = b""  # errors count as the end
        waiter = receiver.take_if_simple(data) if data else None
        if waiter is None:
            self._early = data
        return waiter

    def readable(self) -> None:
        """See Watched."""
        receiver = self._receiver
        if receiver is None:
            if self._reader is not None:
                self._reader.switch()  # it has parked since `next_greenlet` has looked
            elif self._is_reading:
                self._unwatch()
            return
        data, self._early = self._early, None
        if data is None:
            return
        if not data:
            self.pause_receiving()
        receiver.receive(data)

    def when_writable(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` in the hub each time the socket takes bytes, until ``stop_writing``."""
        if self._write_io is None:
            self._write_io = self._poller.hub.loop.io(self._sock.fileno(), _WRITE)
            self._write_io.start(callback)

    def stop_writing(self) -> None:
        """End the calls of ``when_writable``."""
        if self._write_io is not None:
            self._write_io.stop()
            self._write_io.close()
            self._write_io = None

    # Ending

    def shutdown(self) -> None:
        """Send the end of the stream; reading goes on."""
        self.flush()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer was faster

    def reset(self) -> None:
        """Close so that the peer cannot take what it has for the whole: by a reset, not an end of the stream."""
        if self._io is not None:
            self._corked = None
            try:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
            self.close()

    def close(self) -> None:
        """Give up the socket and the watchers; without effect the second time."""
        if self._io is not None:
            self.flush()
            self._corked = None
            self._early = None
            self._receiver = None
            self._is_reading = False
            self._timers.cancel(self)
            self._io.stop()
            self._io.close()
            self._io = None
            self.stop_writing()
            if self._parked is not None or self._reader is not None:
                self._poller.hub.loop.run_callback(self._wake)  # nothing else would wake them any more
            self.raw.close()  # the compiled one knows only the descriptor's number, which may soon be another's
            self._sock.close()

    def _wake(self) -> None:
        """Have the greenlets that wait find that the socket is closed."""
        waiter = self._parked if self._reader is None else self._reader
        if waiter is not None:
            waiter.switch()
