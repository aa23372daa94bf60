"""Duplex bytes over a connected socket, scheduled by the hub.

One read watcher per connection, started once and kept (no watcher, waiter or timer object per read). It serves two
ways of reading: a front *pulls* with ``recv``, parking its greenlet; a WebSocket connection has bytes *pushed* into
a receiver by the hub, so that control frames are answered while the application is elsewhere. A watcher that fires
when nobody wants bytes stops itself; the next wish starts it again.

Writing is the socket's own non-blocking ``send`` and ``sendmsg``; whoever gets BlockingIOError asks for
``when_writable``.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent import getcurrent
from gevent.hub import Hub

from uwsgi_ws.net.clock import Clock

try:
    from uwsgi_ws.net._raw import RawSocket as raw_socket
except ImportError:

    def raw_socket(sock: Any) -> Any:  # type: ignore[no-redef]  # its equal
        """Return what has the socket's reading and writing methods: itself, where the compiled twin is missing."""
        return sock


__all__ = ["SocketStream"]

_READ, _WRITE = 1, 2
#: Bytes per read. A buffer of 64 KiB or more costs malloc as much as the read itself, so a connection begins with less;
#: one that fills its buffer gets a large one, so that a message of 1 MiB takes some six reads.
_READ_SIZE, _BULK_READ_SIZE = 16_384, 262_144
_TIMED_OUT = object()


def _closed(*args: object) -> Any:
    raise OSError(errno.EBADF, "the stream is closed")


class SocketStream:
    """Owns one non-blocking connected socket.

    Args:
        sock: The socket; from now on it belongs to the stream.
        hub: The hub of the thread that will use it.
        clock: For deadlines.
    """

    __slots__ = (
        "_clock",
        "_deadline",
        "_hub",
        "_io",
        "_is_reading",
        "_parked",
        "_read_size",
        "_reader",
        "_receiver",
        "_recv",
        "_sock",
        "_write_io",
        "send",
        "sendmsg",
        "wheel_slot",
    )

    def __init__(self, sock: Any, hub: Hub, clock: Clock) -> None:
        self._sock = sock
        raw = raw_socket(sock)
        self._recv: Callable[[int], bytes] = raw.recv
        self._hub: Any = hub
        self._clock = clock
        self._io: Any = self._hub.loop.io(sock.fileno(), _READ)
        self._write_io: Any = None
        self._is_reading = False
        self._read_size = _READ_SIZE
        self._reader: Any = None  # the greenlet parked in recv
        self._receiver: Callable[[bytes], None] | None = None
        self._parked: Any = None  # the greenlet whose wait has a deadline
        self._deadline = 0.0  # of that wait
        self.wheel_slot = 0
        #: As a socket's methods: they return the bytes taken, or raise BlockingIOError or another OSError.
        self.send: Callable[[Any], int] = raw.send
        self.sendmsg: Callable[[list[Any]], int] = raw.sendmsg

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return self._sock.fileno()  # type: ignore[no-any-return]  # the sockets of patched and unpatched modules

    # Pulling, with a deadline

    def recv(self, timeout: float | None) -> bytes:
        """Wait for bytes and return them; ``b""`` is the end of the stream.

        Raises:
            TimeoutError: nothing came for ``timeout`` seconds.
            OSError: the connection is broken.
        """
        while True:
            self._wait_readable(timeout)
            try:
                return self._recv(_READ_SIZE)
            except BlockingIOError:
                continue

    def recv_now(self) -> bytes | None:
        """Return the bytes that are there; None when there are none, ``b""`` at the end of the stream."""
        try:
            return self._recv(_READ_SIZE)
        except BlockingIOError:
            return None

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
        self._recv(count)

    def _wait_readable(self, timeout: float | None) -> None:
        if not self._is_reading:
            self._io.start(self._on_readable)
            self._is_reading = True
        self._reader = getcurrent()
        try:
            self._park(timeout)
        finally:
            self._reader = None

    def _park(self, timeout: float | None) -> None:
        if timeout is None:
            self._hub.switch()
            return
        self._parked = getcurrent()
        self._deadline = monotonic() + timeout
        self._clock.schedule(self, self._deadline)
        try:
            if self._hub.switch() is _TIMED_OUT:
                raise TimeoutError("no progress in time")
        finally:
            self._parked = None

    def tick(self, now: float) -> float | None:
        """End the wait in progress when its deadline has passed."""
        if self._parked is None:
            return None
        if now < self._deadline:
            return self._deadline
        self._parked.switch(_TIMED_OUT)
        return None

    def send_all(self, data: Any, timeout: float | None) -> None:
        """Write all of ``data``, waiting up to ``timeout`` seconds each time that the peer takes nothing.

        Raises:
            TimeoutError: no progress in time.
            OSError: the connection is broken.
        """
        try:
            sent = self.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return
        rest = memoryview(data)[sent:]
        while rest:
            self._wait_writable(timeout)
            try:
                rest = rest[self.send(rest) :]
            except BlockingIOError:
                continue

    def sendfile(self, fd: int, offset: int, count: int, timeout: float | None) -> int:
        """Write up to ``count`` bytes of a file without copying them; return the bytes written, 0 at its end."""
        while True:
            try:
                return os.sendfile(self._sock.fileno(), fd, offset, count)
            except BlockingIOError:
                self._wait_writable(timeout)

    def _wait_writable(self, timeout: float | None) -> None:
        self.when_writable(getcurrent().switch)
        try:
            self._park(timeout)
        finally:
            self.stop_writing()

    # Pushing, from the hub

    def start_receiving(self, receiver: Callable[[bytes], None]) -> None:
        """Call ``receiver`` in the hub with bytes as they come, once with ``b""`` at the end of the stream.

        The receiver may switch to other greenlets. Errors of the connection count as its end.
        """
        self._receiver = receiver
        self._io.stop()
        self._io.start(self._push)
        self._is_reading = True

    def pause_receiving(self) -> None:
        """Leave further bytes to the kernel until ``start_receiving`` is called again."""
        self._receiver = None
        if self._is_reading:
            self._io.stop()
            self._is_reading = False

    def _push(self) -> None:
        size = self._read_size
        try:
            data = self._recv(size)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if len(data) == size:
            self._read_size = _BULK_READ_SIZE
        receiver: Any = self._receiver
        if not data:
            self.pause_receiving()
        receiver(data)

    def _on_readable(self) -> None:
        """Wake whoever is parked in recv."""
        if self._reader is not None:
            self._reader.switch()
        else:
            self._io.stop()
            self._is_reading = False

    def when_writable(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` in the hub each time the socket takes bytes, until ``stop_writing``."""
        if self._write_io is None:
            self._write_io = self._hub.loop.io(self._sock.fileno(), _WRITE)
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
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer was faster

    def reset(self) -> None:
        """Close so that the peer cannot take what it has for the whole: by a reset, not an end of the stream."""
        if self._io is not None:
            try:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
            self.close()

    def close(self) -> None:
        """Give up the socket and the watchers; without effect the second time."""
        if self._io is not None:
            self._receiver = None
            self._is_reading = False
            self._io.stop()
            self._io.close()
            self._io = None
            self.stop_writing()
            # The compiled ones know only the descriptor's number, and that is somebody else's from now on.
            self._recv = self.send = self.sendmsg = _closed
            self._sock.close()
