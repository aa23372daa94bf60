"""Listening sockets: what is wanted where, and binding it.

Nothing here imports gevent: the master binds, and hands on what it has bound.
"""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import dataclass
from struct import Struct
from typing import Any

from uwsgi_ws.addresses import Address
from uwsgi_ws.certificates import SecureAddress
from uwsgi_ws.net.peers import PeerFilter

__all__ = ["Endpoint", "bind", "bound_name", "queue_at", "waiting_at"]

#: The beginning of struct tcp_info (linux/tcp.h), up to tcpi_unacked and tcpi_sacked: of a listening socket, how many
#: wait to be accepted, and how many may.
_QUEUE = Struct("=24xII")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A listening address, and what is spoken there.

    Args:
        option: The option that asked for it, for messages.
        address: Where.
        dialect: Which front serves its clients: ``http``, ``redirect`` or ``uwsgi``; ``channels`` is no front's.
        admits: The peers that may connect; None for all.
        has_proxy_header: Whether each connection begins with a PROXY header.
        proxies: The peers whose connections may begin with one; None for nobody's.
        secure: Set where TLS is spoken below that dialect: how.
        https_port: Of the ``redirect`` dialect: where it sends requests to; empty for https's own port.
    """

    option: str
    address: Address
    dialect: str = "http"
    admits: PeerFilter | None = None
    has_proxy_header: bool = False
    proxies: PeerFilter | None = None
    secure: SecureAddress | None = None
    https_port: str = ""


def bind(
    address: Address, backlog: int, *, is_private: bool = False, may_be_one_of_many: bool = False
) -> socket.socket:
    """Return a listening socket.

    Args:
        address: Where.
        backlog: Connections that the kernel keeps waiting.
        is_private: Make a unix socket's file such that nobody but its owner may open it (mode 0600) from the start.
            This changes the umask for a moment, so there must be no other thread.
        may_be_one_of_many: Let other TCP sockets of the same user be bound there too (``SO_REUSEPORT``); the kernel
            gives each connection to one of them for good.

    Raises:
        OSError: the address cannot be bound; ``strerror`` says why.
    """
    if address.family == "unix":
        if not address.is_abstract:
            _remove_stale(address.path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target: Any = address.path
    else:
        info = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        sock = socket.socket(info[0], socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if may_be_one_of_many:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Accepted sockets inherit it. A frame must not wait for the acknowledgement of the one before.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if info[0] == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        target = info[4]
    umask = os.umask(0o177) if is_private else None
    is_bound = False
    try:
        sock.bind(target)
        is_bound = True
        sock.listen(backlog)
        # Several processes may wait for the same client; those that come too late must not block.
        sock.setblocking(False)
    except OSError:
        sock.close()
        if is_bound and address.family == "unix" and not address.is_abstract:
            os.unlink(address.path)
        raise
    finally:
        if umask is not None:
            os.umask(umask)
    return sock


def bound_name(address: Address, sock: socket.socket) -> str:
    """Return the address as bound: a port of 0 has become a number."""
    if address.family == "unix":
        return str(address)
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more; never a file of another kind."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        os.unlink(path)
    except OSError:
        pass
    finally:
        probe.close()


def queue_at(sock: socket.socket) -> tuple[int, int]:
    """Return how many clients wait to be accepted at a listening socket, and how many may.

    Nobody, of a unix socket, which does not tell.
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUE.size)
    except OSError:
        return 0, 0
    waiting, limit = _QUEUE.unpack(info)
    return waiting, limit


def waiting_at(sock: socket.socket) -> int:
    """Return how many clients wait to be accepted at a listening socket."""
    return queue_at(sock)[0]
