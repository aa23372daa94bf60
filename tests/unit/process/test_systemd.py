"""What systemd is told, by a socket like its own."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from uwsgi_ws.process import systemd


@pytest.fixture(params=["path", "abstract"])
def listener(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        if request.param == "path":
            sock.bind(str(tmp_path / "notify"))
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        else:
            sock.bind("")  # the kernel chooses a name
            monkeypatch.setenv("NOTIFY_SOCKET", "@" + sock.getsockname()[1:].decode())
        sock.setblocking(False)
        yield sock


@pytest.mark.parametrize(
    ("tell", "message"),
    [
        (lambda: systemd.ready("3 workers serve"), rf"READY=1\nMAINPID={os.getpid()}\nSTATUS=3 workers serve"),
        (systemd.reloading, r"RELOADING=1\nMONOTONIC_USEC=\d+\nSTATUS=reloading"),
        (systemd.stopping, r"STOPPING=1\nSTATUS=stopping"),
    ],
    ids=["ready", "reloading", "stopping"],
)
def test_it_is_told_in_its_own_words(listener: socket.socket, tell: Callable[[], None], message: str) -> None:
    tell()
    assert re.fullmatch(message, listener.recv(4_096).decode())
    with pytest.raises(BlockingIOError):
        listener.recv(4_096)


def test_the_watchdog_is_told_only_if_it_was_asked_for(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    systemd.watchdog()
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    systemd.watchdog()
    assert listener.recv(4_096) == b"WATCHDOG=1"
    with pytest.raises(BlockingIOError):
        listener.recv(4_096)


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/nobody/is/there", "@nobody-is-there"])
def test_nothing_happens_where_it_does_not_listen(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.ready("serving")
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemd.ready("serving")
