"""Connections that this server opens itself, to other servers."""

from __future__ import annotations

import socket

from gevent import socket as gevent_socket

from uwsgi_ws.addresses import Address
from uwsgi_ws.hub.own import OwnSocket
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.net.stream import SocketStream

__all__ = ["dial"]


def dial(address: Address, timeout: float, poller: Poller, timers: Timers) -> SocketStream:
    """Connect to a server; a host's addresses are tried one after the other.

    Args:
        address: Where it listens.
        timeout: Seconds for each of them.
        poller: For the stream, and so the timers.
        timers: For its deadlines.

    Raises:
        TimeoutError: There is no answer within the time.
        OSError: It cannot be reached.
    """
    if address.family == "unix":
        sock = gevent_socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        try:
            sock.connect(address.path)
        except BaseException:
            sock.close()
            raise
    else:
        sock = gevent_socket.create_connection((address.host, address.port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Streams schedule themselves: a plain socket is all they need (see net.listeners).
    plain = OwnSocket(sock.family, sock.type, sock.proto, fileno=sock.detach())
    plain.setblocking(False)
    return SocketStream(plain, poller, timers)
