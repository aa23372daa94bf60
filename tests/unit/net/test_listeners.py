"""What a listener does when a client cannot be accepted."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import gevent
import pytest

from uwsgi_ws.hub.slots import Slots
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
            self.sock, lambda *args: None, Slots(1), when_failed=lambda error: self.failures.append(error.errno)
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
    assert waiting.listener._accept() is None
    waiting.client.settimeout(5)
    assert waiting.client.recv(1) == b""
    assert waiting.failures == failures
    monkeypatch.undo()
    with socket.create_connection(waiting.sock.getsockname()):
        sock, _ = waiting.listener._accept()
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
    waiting.listener._listening = Broken(number)
    assert waiting.listener._accept() is None
    assert waiting.failures == failures


def test_a_listener_accepts_while_it_is_neither_held_nor_paused_and_never_after_its_stop(waiting: Waiting) -> None:
    listener = waiting.listener
    seen = []
    for change in (
        listener.start, lambda: listener.hold(True), listener.pause, listener.resume, lambda: listener.hold(False),
        listener.pause, lambda: listener.hold(False), listener.resume, listener.stop, listener.resume,
        lambda: listener.hold(False), listener.look_again,
    ):  # fmt: skip
        change()
        seen.append(listener._watcher.active)
    assert seen == [True, False, False, False, True, False, False, True, False, False, False, False]


def batches(**terms: bool) -> list[int]:
    """Return how many clients are accepted in each turn, of forty that wait."""
    accepted: list[Any] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as sock, ExitStack() as stack:
        sock.setblocking(False)
        for _ in range(40):
            stack.enter_context(socket.create_connection(sock.getsockname()))
        listener = Listener(sock, lambda client, address: accepted.append(client), Slots(100), **terms)
        found = []
        while len(accepted) < 40:
            before = len(accepted)
            listener._read()  # as the loop calls it once a turn
            gevent.sleep(0)
            found.append(len(accepted) - before)
        listener._read()
        if terms:
            assert listener._count == 1  # nobody waits any more
        for client in accepted:
            client.close()
    return found


def test_a_shared_socket_is_taken_one_client_from_and_more_only_while_they_queue_up() -> None:
    assert batches(is_shared=True) == [1, 2, 8, 29]
    assert batches(is_shared=True, one_at_a_time=True) == [1] * 40
    assert batches() == [40]
