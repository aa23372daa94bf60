"""Connections to other servers: to each kind of address, and in bounded time."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from uwsgi_ws.addresses import Address
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.net.dial import dial
from uwsgi_ws.net.stream import SocketStream


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller(gevent.get_hub())
    yield poller
    poller.close()


def dialled(address: Address, poller: Poller, timeout: float = 5.0) -> SocketStream:
    return dial(address, timeout, poller, Timers(gevent.get_hub()))


def check(stream: SocketStream, listener: socket.socket) -> None:
    far, _ = listener.accept()
    with far:
        stream.send_all(b"out", 5.0)
        assert far.recv(10) == b"out"
        far.send(b"in")
        assert stream.recv(5.0) == b"in"
        stream.close()


def test_a_server_at_an_ip_address_is_reached(poller: Poller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = dialled(Address("tcp", "127.0.0.1", listener.getsockname()[1]), poller)
        check(stream, listener)


def test_a_server_at_a_unix_socket_is_reached(poller: Poller, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path := str(tmp_path / "socket"))
        listener.listen()
        check(dialled(Address("unix", path=path), poller), listener)


def test_a_server_that_is_not_there_is_an_error_and_no_descriptor_stays(poller: Poller, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ConnectionRefusedError):
        dialled(Address("tcp", "127.0.0.1", port), poller)
    with pytest.raises(FileNotFoundError):
        dialled(Address("unix", path=str(tmp_path / "none")), poller)
    assert os.listdir("/proc/self/fd") == before


def test_a_server_whose_queue_is_full_is_an_error_in_bounded_time(poller: Poller, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path := str(tmp_path / "socket"))
        listener.listen(0)
        first.connect(path)  # the queue is full
        with pytest.raises((TimeoutError, BlockingIOError)):
            dialled(Address("unix", path=path), poller, 0.1)
