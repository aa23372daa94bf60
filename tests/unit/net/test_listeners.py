"""What a listener does when a client cannot be accepted."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from gevent.pool import Pool

from uwsgi_ws.net import listeners
from uwsgi_ws.net.listeners import Listener


class Waiting:
    """A listener that a client waits at, and what it has told of attempts that failed."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.client = socket.create_connection(self.sock.getsockname())
        self.failures: list[int | None] = []
        self.listener = Listener(
            self.sock, lambda *args: None, Pool(1), when_failed=lambda error: self.failures.append(error.errno)
        )


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    rig = Waiting()
    yield rig
    rig.client.close()
    rig.sock.close()


class Failing:
    """A socket of which one call fails."""

    def __init__(self, family: int, kind: int, proto: int, fileno: int) -> None:
        self.fd = fileno

    def setblocking(self, flag: bool) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    def close(self) -> None:
        os.close(self.fd)


class Impossible:
    """A socket that cannot be made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOBUFS, "No buffer space available")


@pytest.mark.parametrize(("kind", "failures"), [(Failing, []), (Impossible, [errno.ENOBUFS])])
def test_a_client_that_cannot_be_made_ready_is_closed_and_the_listener_goes_on(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch, kind: Any, failures: list[int]
) -> None:
    monkeypatch.setattr(listeners, "OwnSocket", kind)
    assert waiting.listener.do_read() is None
    waiting.client.settimeout(5)
    assert waiting.client.recv(1) == b""
    assert waiting.failures == failures
    monkeypatch.undo()
    with socket.create_connection(waiting.sock.getsockname()):
        sock, _ = waiting.listener.do_read()
        sock.close()


class Broken:
    """A listening socket that cannot accept."""

    def __init__(self, number: int) -> None:
        self.number = number

    def _accept(self) -> Any:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    ("number", "failures"),
    [(errno.ECONNABORTED, []), (errno.EPERM, []), (errno.EMFILE, [errno.EMFILE]), (errno.EINVAL, [errno.EINVAL])],
)
def test_an_error_of_one_client_is_nothing_and_any_other_is_told_and_ends_nothing(
    waiting: Waiting, number: int, failures: list[int]
) -> None:
    waiting.listener.socket = Broken(number)
    assert waiting.listener.do_read() is None
    assert waiting.failures == failures


def test_a_held_listener_accepts_again_when_it_is_let_go(waiting: Waiting) -> None:
    calls: list[str] = []
    listener: Any = waiting.listener
    listener.start_accepting, listener.stop_accepting = lambda: calls.append("start"), lambda: calls.append("stop")
    listener._start_accepting_if_started = listener.start_accepting
    for is_held in (True, True, False, False):
        listener.hold(is_held)
    assert calls == ["stop", "start"]
