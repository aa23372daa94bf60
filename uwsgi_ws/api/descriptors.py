"""``uwsgi.connect``, ``send``, ``recv`` and ``close``: raw descriptors, which belong to the application.

In the hub's thread a call that would block lets the other greenlets run; in other threads it just blocks. On a
descriptor that the application has made non-blocking nothing waits, as in uWSGI. What fails returns None or -1.

Source: uWSGI 2.0.31, plugins/python/uwsgi_pymodule.c and core/socket.c.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable
from typing import Any

from gevent import get_hub, monkey
from gevent import socket as gevent_socket

from uwsgi_ws.addresses import Address, parse_address
from uwsgi_ws.api.arguments import c_int, c_str
from uwsgi_ws.hub.hub_calls import in_hub, is_hub_here
from uwsgi_ws.log import say
from uwsgi_ws.protocol.plain import plain_bytes

__all__ = ["FUNCTIONS"]

#: Seconds for a connection where none are told.
_TIMEOUT = 3
#: Bytes that ``recv`` returns at most.
_MOST = 4096
#: Bytes of a write that does not block where poll says so: a pipe then has room for these, a socket for more.
_PIECE = 4096
_READ, _WRITE = 1, 2  # libev's
# The patched one would let other greenlets run between a look and what it was for.
_poll: Callable[[], Any] = monkey.get_original("select", "poll")

#: The watchers of the greenlets that wait, by descriptor. In the hub's thread only.
_waiting: dict[int, set[Any]] = {}


def connect(address: str, timeout: int = 0, /) -> int:
    """Connect to ``host:port`` or a unix socket, and return the descriptor; -1 when that fails.

    Args:
        address: A unix socket's begins with ``@`` when it is abstract.
        timeout: Seconds; 0 for 3.
    """
    address, seconds = c_str(address, "connect", 1), c_int(timeout)
    try:
        fd = _connected(_address(address), seconds if seconds > 0 else _TIMEOUT)
    except (OSError, ValueError):
        return -1
    os.set_blocking(fd, True)
    return fd


def async_connect(address: str, /) -> int:
    """Begin to connect and return a descriptor, not blocking and writable once connected; -1 when that cannot begin."""
    address = c_str(address, "async_connect", 1)
    try:
        where = _address(address)
        family, name = _family_and_name(where)
        sock = socket.socket(family)
    except (OSError, ValueError):
        return -1
    sock.setblocking(False)
    if sock.connect_ex(name) not in (0, errno.EINPROGRESS):
        sock.close()
        return -1
    return sock.detach()


def is_connected(fd: int, /) -> bool:
    """Say whether a socket has no pending error; it does not notice a peer that hung up."""
    fd = c_int(fd)
    try:
        is_blocking = os.get_blocking(fd)
        with socket.socket(fileno=os.dup(fd)) as probe:
            os.set_blocking(fd, is_blocking)  # gevent's sockets change what they are made of
            return probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    except OSError:
        return False


def send(fd: int, data: bytes, /) -> bool | None:
    """Write all of the data; return True, or None when that fails.

    Unlike uWSGI's it needs the descriptor: what is written past the server would break TLS and HTTP/2.

    Raises:
        TypeError: the data is no bytes.
    """
    fd = c_int(fd)
    if not isinstance(data, bytes):
        raise TypeError(f"expected bytes, {type(data).__name__} found")
    data = plain_bytes(data)
    try:
        if not _waits_here(fd):
            os.write(fd, data)
            return True
        left = memoryview(data)
        while left:
            _wait_until_ready(fd, select.POLLOUT, _WRITE)
            left = left[os.write(fd, left[:_PIECE]) :]
    except OSError as exc:
        say(f"uwsgi.send(): write(): {exc.strerror}")
        return None
    return True


def recv(fd: int, size: int = _MOST, /) -> bytes | None:
    """Wait for bytes and return them; None at the end, or when that fails.

    Args:
        fd: Where from.
        size: Bytes at most; more than 4,096 are as 4,096.
    """
    fd, size = c_int(fd), min(c_int(size), _MOST)
    if size < 1:
        return None
    try:
        if _waits_here(fd):
            _wait_until_ready(fd, select.POLLIN, _READ)
        return os.read(fd, size) or None
    except OSError:
        return None


def close(fd: int, /) -> None:
    """Close a descriptor; greenlets that wait at it get what they get when it fails."""
    fd = c_int(fd)
    if fd in _waiting:
        in_hub(_end_waits, fd)
    else:
        _close(fd)


def _address(text: str) -> Address:
    """Read an address as uWSGI does here: what has no colon is a unix socket."""
    if ":" in text:
        return parse_address(text)
    return Address("unix", path=text.replace("@", "\0", 1) if text.startswith("@") else text)


def _connected(address: Address, timeout: float) -> int:
    sockets: Any = gevent_socket if is_hub_here() else socket
    if address.family == "tcp":
        return int(sockets.create_connection((address.host, address.port), timeout).detach())
    sock = sockets.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(address.path)
    except BaseException:
        sock.close()
        raise
    return int(sock.detach())


def _family_and_name(address: Address) -> tuple[int, Any]:
    if address.family == "unix":
        return socket.AF_UNIX, address.path
    sockets: Any = gevent_socket if is_hub_here() else socket
    family, _, _, _, name = sockets.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    return family, name


def _waits_here(fd: int) -> bool:
    """Return whether what would block has to let other greenlets run.

    Raises:
        OSError: there is no such descriptor.
    """
    return is_hub_here() and os.get_blocking(fd)


def _wait_until_ready(fd: int, events: int, watched: int) -> None:
    """Return once a read or a write does not block; another greenlet may have been there first after each wait."""
    look = _poll()
    look.register(fd, events)
    while not look.poll(0):
        hub = get_hub()
        watcher = hub.loop.io(fd, watched)
        waiting = _waiting.setdefault(fd, set())
        waiting.add(watcher)
        try:
            hub.wait(watcher)
        finally:
            waiting.discard(watcher)
            if not waiting and _waiting.get(fd) is waiting:
                del _waiting[fd]
            watcher.close()


def _end_waits(fd: int) -> None:
    hub = get_hub()
    for watcher in _waiting.pop(fd, ()):
        hub.cancel_wait(watcher, OSError(errno.EBADF, os.strerror(errno.EBADF)))
    hub.loop.run_callback(_close, fd)  # behind those


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except (OSError, ValueError):  # gevent's raises that for a negative number
        pass


FUNCTIONS: tuple[Callable[..., Any], ...] = (connect, async_connect, is_connected, send, recv, close)
