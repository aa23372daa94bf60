"""A descriptor that is readable exactly while a connection has something for its application.

uWSGI's ``connection_fd`` is the socket, and its applications ``select`` on it and then receive one message: with
several messages in one read the rest is stuck until more bytes come (uWSGI issue 1241). This one tells of messages,
not bytes, so it also works over TLS and HTTP/2. It is a socket, because some applications wrap it in one.
"""

from __future__ import annotations

import socket

__all__ = ["Readiness"]


class Readiness:
    """Owns two descriptors; only connections that are asked for theirs have one."""

    __slots__ = ("_is_set", "_read_end", "_write_end")

    def __init__(self) -> None:
        self._read_end, self._write_end = socket.socketpair()
        self._read_end.setblocking(False)
        self._write_end.setblocking(False)
        self._is_set = False

    def fileno(self) -> int:
        """Return the descriptor to select on; -1 once closed."""
        return self._read_end.fileno()

    def set(self, ready: bool) -> None:
        """Make the descriptor readable, or not."""
        if ready and not self._is_set:
            self._write_end.send(b"\0")
        elif self._is_set and not ready:
            # An application that wraps the descriptor may have read the byte itself.
            try:
                self._read_end.recv(16)
            except BlockingIOError:
                pass
        self._is_set = ready

    def close(self) -> None:
        """Give both descriptors back."""
        self._read_end.close()
        self._write_end.close()
