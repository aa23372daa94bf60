"""The ways by which the master asks workers what operators want to know."""

from __future__ import annotations

import socket

from uwsgi_ws.hub.own import keep_socket

__all__ = ["ControlPairs"]


class ControlPairs:
    """A pair of sockets for each seat: the master's ends, and the workers'.

    Args:
        seats: How many.
    """

    def __init__(self, seats: int) -> None:
        self.masters: list[socket.socket] = []
        self.workers: list[socket.socket] = []
        for _ in range(seats):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            for sock in (ours, theirs):
                sock.setblocking(False)
                keep_socket(sock)
            self.masters.append(ours)
            self.workers.append(theirs)
