"""A non-blocking socket's reads and writes.

``raw.pyx`` beside this file does the same as bare system calls; Python prefers it where it is compiled. A call that
cannot block needs no timeout logic, no buffer of the largest size and, where no other thread waits for it, no release
of the GIL.
"""

from __future__ import annotations

import _socket
from typing import Any

__all__ = ["RawSocket"]

_CLOSED = _socket.socket()
_CLOSED.close()


class RawSocket:
    """Sends and receives on a socket that another object owns.

    Args:
        sock: Non-blocking; must stay open while this is used.
        has_threads: Whether other threads may run Python while this one sends.
    """

    __slots__ = ("_sock",)

    def __init__(self, sock: Any, has_threads: bool = False) -> None:
        self._sock = sock

    def close(self) -> None:
        """Forget the socket: OSError from now on."""
        self._sock = _CLOSED

    def recv(self, size: int) -> bytes | None:
        """Return what is there, up to ``size`` bytes; None when there is nothing, ``b""`` at the end of the stream.

        Raises:
            OSError: the connection is broken.
        """
        try:
            return self._sock.recv(size)  # type: ignore[no-any-return]  # the sockets of patched and unpatched modules
        except BlockingIOError:
            return None

    def send(self, data: Any) -> int:
        """Write bytes; return how many went, 0 when none can go now.

        Raises:
            OSError: the connection is broken.
        """
        try:
            return self._sock.send(data)  # type: ignore[no-any-return]  # as in recv
        except BlockingIOError:
            return 0

    def sendmsg(self, buffers: list[Any]) -> int:
        """Write several buffers, at most 64 of them, by one call; as ``send``."""
        try:
            return self._sock.sendmsg(buffers[:64])  # type: ignore[no-any-return]  # as in recv
        except BlockingIOError:
            return 0
