"""A worker's end of the control socket: what it is asked by the master, it answers in packets.

A request names the process that it is for: a worker may find in its seat what its predecessor was asked.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import gevent
from gevent.socket import wait_write

from uwsgi_ws.channels.bus import current_bus
from uwsgi_ws.errors import Error
from uwsgi_ws.protocol.websocket.frames import TEXT
from uwsgi_ws.server.census import describe, find, requests_with_websockets
from uwsgi_ws.server.server import Server

__all__ = ["MOST_ASKED", "ControlEnd"]

#: Bytes of a request.
MOST_ASKED = 65_536
_PIECE = 50  # connections of one packet: some 20 KiB
_PATIENCE = 2.0  # seconds for the master to take a packet


class ControlEnd:
    """Answers while the event loop runs.

    Args:
        sock: Its end; it stays open for the worker's successor.
        worker_id: 1 to N.
    """

    def __init__(self, sock: socket.socket, server: Server, worker_id: int) -> None:
        self._sock = sock
        self._server = server
        self._worker_id = worker_id
        self._watcher = server.hub.loop.io(sock.fileno(), 1, ref=False)

    def start(self) -> None:
        """Answer from now on."""
        self._watcher.start(self._read)

    def _read(self) -> None:
        while True:
            try:
                request = json.loads(self._sock.recv(MOST_ASKED))
            except OSError:
                return
            if request["pid"] == os.getpid():
                gevent.spawn(self._answer, request)

    def _answer(self, request: dict[str, Any]) -> None:
        try:
            for piece in getattr(self, f"_{request['do']}")(request):
                self._send({"id": request["id"], **piece})
            self._send({"id": request["id"], "is_last": True})
        except (Error, ValueError) as exc:
            self._send({"id": request["id"], "is_last": True, "error": str(exc)})

    def _send(self, answer: dict[str, Any]) -> None:
        data = json.dumps(answer, separators=(",", ":")).encode()
        while True:
            try:
                self._sock.send(data)
                return
            except BlockingIOError:
                wait_write(self._sock.fileno(), _PATIENCE)

    def _list(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        left = int(request["limit"])
        for number, (inner, websocket) in enumerate(requests_with_websockets(self._server), 1):
            if number % _PIECE == 0:
                gevent.sleep(0)  # many connections: others go on in between
            if inner.is_over:
                continue
            entry = describe(inner, websocket, self._worker_id)
            if not entry["path"].startswith(request["path"]) or not entry["peer"].startswith(request["peer"]):
                continue
            if not left:
                break
            left -= 1
            found.append(entry)
            if len(found) == _PIECE:
                yield {"connections": found}
                found = []
        yield {"connections": found}

    def _close(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        websocket = find(self._server, request["connection"])
        if websocket is not None:
            websocket.close(request["code"], request["reason"])
        yield {"closed": int(websocket is not None)}

    def _publish(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        current_bus().publish(request["channel"], TEXT, request["message"].encode())
        yield {"published": 1}
