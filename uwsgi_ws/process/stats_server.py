"""``--stats``: how the instance stands, as JSON, for whoever connects; in the master, which never waits for them.

Source: uWSGI's core/master_utils.c (``uwsgi_master_generate_stats``); uwsgitop reads it.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Any

from uwsgi_ws.log import say
from uwsgi_ws.net.binding import bind, bound_name
from uwsgi_ws.options import Options
from uwsgi_ws.shared.status import WorkerStatus

__all__ = ["StatsServer"]

_VERSION = "2.0.31"  # the one whose form this is
_BACKLOG = 64
_MOST_CLIENTS = 64
_PATIENCE = 4.0  # seconds that a client has for its request and for taking the answer
_HTTP_HEAD = (
    b"HTTP/1.0 200 OK\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: application/json\r\n\r\n"
)


class _Client:
    """Whoever asks; ``rest`` is what they still get, None while they owe us a request."""

    def __init__(self, sock: socket.socket, rest: bytes | None) -> None:
        self.sock = sock
        self.rest = rest
        self.until = monotonic() + _PATIENCE


class StatsServer:
    """The addresses of ``--stats``, and who has come to them.

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

    def serve(self, standings: Iterable[WorkerStatus]) -> None:
        """Go on with everybody, as far as that can be done without waiting.

        Args:
            standings: How the workers stand; asked only for somebody who wants to know.
        """
        for listener in self._listeners:
            while len(self._clients) < _MOST_CLIENTS:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    break
                sock.setblocking(False)
                self._clients.append(_Client(sock, None if self._is_http else self._answer(standings)))
        for client in list(self._clients):
            try:
                is_there = self._go_on(client, standings)
            except BlockingIOError:
                is_there = monotonic() < client.until
            except OSError:
                is_there = False
            if not is_there:
                client.sock.close()
                self._clients.remove(client)

    def _go_on(self, client: _Client, standings: Iterable[WorkerStatus]) -> bool:
        """Return whether the client is still there."""
        if client.rest is None:
            if not client.sock.recv(65_536):
                return False
            client.rest = _HTTP_HEAD + self._answer(standings)
        while client.rest:
            client.rest = client.rest[client.sock.send(client.rest) :]
            if not client.rest:
                client.sock.shutdown(socket.SHUT_WR)
        # Closed with something unread, the connection would be reset, and the answer lost.
        while client.sock.recv(65_536):
            pass
        return False

    def _answer(self, standings: Iterable[WorkerStatus]) -> bytes:
        return json.dumps(_instance(standings), separators=(",", ":")).encode()

    def close(self) -> None:
        """Answer nobody any more."""
        for sock in (*self._listeners, *(client.sock for client in self._clients)):
            sock.close()
        self._listeners.clear()
        self._clients.clear()
        for file in self._files:
            try:
                file.unlink(missing_ok=True)
            except OSError:
                pass  # we have become somebody who may not


def _instance(standings: Iterable[WorkerStatus]) -> dict[str, Any]:
    latest: dict[int, WorkerStatus] = {}  # of a worker that is being replaced, the successor
    for standing in standings:
        before = latest.get(standing.worker_id)
        if before is None or standing.births > before.births:
            latest[standing.worker_id] = standing
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
        "workers": [_worker(latest[worker_id]) for worker_id in sorted(latest)],
    }


def _worker(standing: WorkerStatus) -> dict[str, Any]:
    return {
        "id": standing.worker_id,
        "pid": standing.pid,
        "accepting": 1,
        "requests": standing.requests,
        "delta_requests": standing.requests,
        "exceptions": standing.exceptions,
        "harakiri_count": 0,
        "signals": 0,
        "signal_queue": 0,
        "status": "busy" if standing.clients else "idle",
        "rss": standing.rss,
        "vsz": standing.vsz,
        "running_time": standing.busy_us,
        "last_spawn": standing.started_at,
        "respawn_count": standing.births,
        "tx": standing.bytes_sent,
        "avg_rt": standing.busy_us // standing.requests if standing.requests else 0,
        "websockets": standing.websockets,
        "apps": [],
        "cores": [],
    }
