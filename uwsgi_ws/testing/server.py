"""What all servers of tests are: an address, clients, a log, and an end."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from typing import TypeVar

from uwsgi_ws.client.connection import ClientConnection, Headers, connect
from uwsgi_ws.errors import Error

__all__ = ["RUNNING", "START", "Server", "ServerFailed"]

AnyServer = TypeVar("AnyServer", bound="Server")

#: Seconds until a server serves, for a machine that runs many things at once.
START = 30.0

#: The servers that run now, in the order of their starts.
RUNNING: list[Server] = []


class ServerFailed(Error):
    """A server has ended, or does not serve in time; with its log."""


class Server:
    """A running server, and the clients that it was asked for; it ends all of them with ``stop``.

    Attributes:
        name: What is served.
        host: Where.
        port: Where; 0 for a unix socket.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.host = ""
        self.port = 0
        self._is_secure = False
        self._clients: list[ClientConnection] = []
        self._shown_from = 0

    @property
    def url(self) -> str:
        """``ws://127.0.0.1:PORT``, without a path."""
        if not self.port:
            return f"ws://unix:{self.host}:"
        return f"ws{'s' * self._is_secure}://{self.host}:{self.port}"

    @property
    def http_url(self) -> str:
        """``http://127.0.0.1:PORT``, for a client of HTTP."""
        return self.url.replace("ws", "http", 1)

    @property
    def pid(self) -> int:
        """The process that serves: of a program the one that was started, the master where there is one."""
        return os.getpid()

    @property
    def log(self) -> str:
        """What the server and its application have written; of one in this process, which writes pytest's, nothing."""
        return ""

    def connect(
        self,
        path: str = "/",
        *,
        subprotocols: Sequence[str] = (),
        headers: Headers = (),
        origin: str | None = None,
        timeout: float | None = 5.0,
        tls: ssl.SSLContext | None = None,
    ) -> ClientConnection:
        """Open a WebSocket; see ``uwsgi_ws.testing.connect``. It ends with the server at the latest.

        Raises:
            HandshakeRefused: The answer is no WebSocket; it has status, headers and body.
        """
        client = connect(
            self.url + path, subprotocols=subprotocols, headers=headers, origin=origin, timeout=timeout, tls=tls
        )
        self._clients.append(client)
        return client

    def stop(self) -> None:
        """End it, and the clients; without effect the second time."""
        if self in RUNNING:
            RUNNING.remove(self)
            for client in self._clients:
                client.drop()
            self._end()

    def _end(self) -> None:
        raise NotImplementedError

    def _begin(self) -> None:
        RUNNING.append(self)

    def begin_part(self) -> None:
        """Have ``part`` begin here."""
        self._shown_from = len(self.log)

    @property
    def part(self) -> str:
        """The log since the present test has begun."""
        return self.log[self._shown_from :]

    def __enter__(self: AnyServer) -> AnyServer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Server {self.name} at {self.url}>"
