"""Having the kernel give up a peer."""

from __future__ import annotations

import socket

import pytest

from uwsgi_ws.net.dead_peers import give_up_after


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
def test_a_connection_breaks_when_nothing_was_acknowledged_for_so_long() -> None:
    with socket.socket() as sock:
        give_up_after(sock.fileno(), 1.5)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1_500
        assert sock.fileno() >= 0


def test_other_sockets_stay_as_they_are() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        give_up_after(sock.fileno(), 1.5)
    give_up_after(-1, 1.5)
