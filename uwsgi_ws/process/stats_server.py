"""``--stats``: how the instance stands, as JSON, for each client that connects; the master never waits for one.

Source: uWSGI's core/master_utils.c (``uwsgi_master_generate_stats``); uwsgitop reads it.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import Any

from uwsgi_ws.log import say
from uwsgi_ws.net.binding import bind, bound_name
from uwsgi_ws.options import Options
from uwsgi_ws.shared.status import WorkerStatus, described, newest

__all__ = ["StatsServer"]

_VERSION = "2.0.31"  # the one whose form this is
_BACKLOG = 64
_MOST_CLIENTS = 64
_CLIENT_TIMEOUT = 4.0  # seconds that a client has for its request and for taking the answer
_HTTP_HEAD = (
    b"HTTP/1.0 200 OK\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: application/json\r\n\r\n"
)

#: What uWSGI tells of a worker besides.
_NOT_COUNTED: dict[str, Any] = {"accepting": 1, "harakiri_count": 0, "signal_queue": 0, "cores": []}


class _Client:
    """A client; ``rest`` is what it has still to get, None while it owes us a request."""

    def __init__(self, sock: socket.socket, rest: bytes | None) -> None:
        self.sock = sock
        self.rest = rest
        self.until = monotonic() + _CLIENT_TIMEOUT


class StatsServer:
    """The addresses of ``--stats``, and their clients.

    Args:
        options: They name the addresses.

    Raises:
        OptionError: An address cannot be bound.
    """

    def __init__(self, options: Options) -> None:
        self._is_http = options.stats_http
        self._listeners: list[socket.socket] = []
        self._files: list[Path] = []
        self._clients: list[_Client] = []
        for address in options.stats:
            try:
                sock = bind(address, _BACKLOG)
            except OSError as exc:
                raise options.error("stats", f"cannot listen on {address}: {exc.strerror}") from exc
            sock.setblocking(False)
            self._listeners.append(sock)
            if address.family == "unix" and not address.is_abstract:
                self._files.append(Path(address.path).absolute())
            say(f"stats bound on {bound_name(address, sock)} fd {sock.fileno()}")

    def register(self, poll: select.poll) -> None:
        """Have the master woken when there is something to do."""
        for sock in self._listeners if len(self._clients) < _MOST_CLIENTS else ():
            poll.register(sock, select.POLLIN)
        for client in self._clients:
            poll.register(client.sock, select.POLLOUT if client.rest else select.POLLIN)

    def serve(self, statuses: Iterable[WorkerStatus], companions: Callable[[], list[dict[str, Any]]] = list) -> None:
        """Accept and answer clients, as far as that can be done without waiting.

        Args:
            statuses: How the workers stand; asked only when a client wants to know.
            companions: Returns how the processes of other languages stand.
        """
        for listener in self._listeners:
            while len(self._clients) < _MOST_CLIENTS:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    break
                sock.setblocking(False)
                self._clients.append(_Client(sock, None if self._is_http else self._answer(statuses, companions)))
        for client in list(self._clients):
            try:
                is_there = self._go_on(client, statuses, companions)
            except BlockingIOError:
                is_there = monotonic() < client.until
            except OSError:
                is_there = False
            if not is_there:
                client.sock.close()
                self._clients.remove(client)

    def _go_on(
        self, client: _Client, statuses: Iterable[WorkerStatus], companions: Callable[[], list[dict[str, Any]]]
    ) -> bool:
        """Return whether the client is still there."""
        if client.rest is None:
            if not client.sock.recv(65_536):
                return False
            client.rest = _HTTP_HEAD + self._answer(statuses, companions)
        while client.rest:
            client.rest = client.rest[client.sock.send(client.rest) :]
            if not client.rest:
                client.sock.shutdown(socket.SHUT_WR)
        # Closed with something unread, the connection would be reset, and the answer lost.
        while client.sock.recv(65_536):
            pass
        return False

    def _answer(self, statuses: Iterable[WorkerStatus], companions: Callable[[], list[dict[str, Any]]]) -> bytes:
        instance = _instance(statuses)
        if described := companions():
            instance["companions"] = described
        return json.dumps(instance, separators=(",", ":")).encode()

    def close(self) -> None:
        """Answer no client any more."""
        for sock in (*self._listeners, *(client.sock for client in self._clients)):
            sock.close()
        self._listeners.clear()
        self._clients.clear()
        for file in self._files:
            try:
                file.unlink(missing_ok=True)
            except OSError:
                pass  # the process has become a user that may not


def _instance(statuses: Iterable[WorkerStatus]) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "listen_queue": 0,
        "listen_queue_errors": 0,
        "signal_queue": 0,
        "load": 0,
        "pid": os.getpid(),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "cwd": os.getcwd(),
        "locks": [],
        "sockets": [],
        "workers": [{**described(status), **_NOT_COUNTED} for status in newest(statuses)],
    }
