"""Listening sockets: bound, and accepted from.

Accepted sockets are the interpreter's plain ones, non-blocking: a ``gevent.socket`` would bring two watchers and a
kilobyte that nobody uses, as streams schedule themselves.
"""

from __future__ import annotations

import _socket
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gevent import socket as gevent_socket
from gevent.pool import Pool
from gevent.server import StreamServer

from uwsgi_ws.addresses import Address

__all__ = ["Door", "Listener", "bind"]


@dataclass(frozen=True, slots=True)
class Door:
    """A listening address, and what is spoken there.

    Args:
        option: The option that asked for it, for messages.
        address: Where.
        dialect: Which front serves its clients.
    """

    option: str
    address: Address
    dialect: str = "http"


def bind(address: Address, backlog: int) -> gevent_socket.socket:
    """Return a listening socket.

    Raises:
        OSError: the address cannot be bound; ``strerror`` says why.
    """
    if address.family == "unix":
        if not address.is_abstract:
            _remove_stale(address.path)
        sock = gevent_socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target: Any = address.path
    else:
        info = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        sock = gevent_socket.socket(info[0], socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it. A frame must not wait for the acknowledgement of the one before.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if info[0] == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        target = info[4]
    try:
        sock.bind(target)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more; never a file of another kind."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    probe = _socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        os.unlink(path)
    except OSError:
        pass
    finally:
        probe.close()


class Listener(StreamServer):
    """Accepts while the pool has places; further clients wait in the kernel.

    Args:
        sock: From ``bind``.
        handle: Called in a greenlet of the pool with the accepted socket and the peer's address.
        pool: The worker's places, shared by its listeners.
    """

    def __init__(self, sock: gevent_socket.socket, handle: Callable[[Any, Any], None], pool: Pool) -> None:
        super().__init__(sock, handle, spawn=pool)

    def do_read(self) -> Any:
        """Accept one connection (see gevent.baseserver); None when there is none."""
        listening: Any = self.socket
        try:
            fd, address = listening._accept()
        except BlockingIOError:
            return None
        sock = _socket.socket(listening.family, listening.type, listening.proto, fileno=fd)
        sock.setblocking(False)
        return sock, address

    def stop(self, timeout: float | None = None) -> None:
        """Accept nobody any more. Unlike gevent's this leaves the pool's clients alone: draining is the server's."""
        self.close()

    def do_close(self, *args: Any) -> None:
        """Leave the socket alone: the stream that took it closes it."""
