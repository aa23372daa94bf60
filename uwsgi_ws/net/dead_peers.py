"""Has the kernel find out that a peer is gone without a word."""

from __future__ import annotations

import socket

__all__ = ["give_up_after"]

_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux's


def give_up_after(fd: int, seconds: float) -> None:
    """Have a TCP connection break when its peer has acknowledged nothing for so long of what was sent to it.

    Otherwise a peer whose network is gone is written to for a quarter of an hour (tcp_retries2). Without effect on
    another socket, and where the kernel has no such option.

    Args:
        fd: A descriptor of the socket.
        seconds: At least 0.001.

    Source: RFC 5482, tcp(7).
    """
    if _USER_TIMEOUT is None:
        return
    try:
        with socket.fromfd(fd, socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, max(1, int(seconds * 1000)))
    except OSError:
        pass  # a unix socket's, or closed meanwhile: writing to it tells
