"""One connection for each request and server, and what the server has understood.

Behind the request goes another one, the sentinel: a server that answers it has found the end of what came before.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from dataclasses import dataclass, field

__all__ = ["SENTINEL", "Understood", "ask"]

SENTINEL = b"GET /sentinel HTTP/1.1\r\nHost: sentinel\r\n\r\n"
_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)\r\n", re.IGNORECASE)
_SAW = re.compile(rb"\r\nX-Saw: *([A-Za-z0-9+/=]+)\r\n", re.IGNORECASE)


@dataclass
class Understood:
    """What a server has made of a request.

    Attributes:
        requests: Method, target and body of each that it has answered, the sentinel left out.
        end: How it went on: ``whole`` when the sentinel was answered, ``refused`` with a status, ``closed`` by the
            server without a word, or ``waits`` for more.
        status: Of the refusal.
    """

    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    end: str = "waits"
    status: int = 0

    def __str__(self) -> str:
        words = [f"{method} {target!r} with {body!r}" for method, target, body in self.requests]
        return ", ".join([*words, f"{self.end}{f' {self.status}' if self.status else ''}"])


class _Connection(asyncio.Protocol):
    def __init__(self, data: bytes, done: asyncio.Future[None]) -> None:
        self._send = data
        self._done = done
        self._data = b""
        self.understood = Understood()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._send)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while not self._done.done():
            head, separator, rest = self._data.partition(b"\r\n\r\n")
            if not separator:
                return
            head += b"\r\n"
            match = re.match(rb"HTTP/1\.[01] (\d\d\d)", head)
            status = int(match[1]) if match else 0
            if 100 <= status < 200 and status != 101:
                self._data = rest
                continue
            saw = _SAW.search(head)
            if saw is None:
                self._finish("refused", status)
                return
            length = _LENGTH.search(head)
            self._data = rest[int(length[1]) if length else 0 :]
            method, target, body, _ = json.loads(base64.b64decode(saw[1]))
            if target.endswith("/sentinel"):
                self._finish("whole")
                return
            self.understood.requests.append((method, target, base64.b64decode(body)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish("closed")

    def _finish(self, end: str, status: int = 0) -> None:
        if not self._done.done():
            self.understood.end, self.understood.status = end, status
            self._done.set_result(None)


async def ask(address: tuple[str, int], data: bytes, patience: float) -> Understood:
    """Send a request and the sentinel; give what the server has understood within ``patience`` seconds."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    connection = _Connection(data + SENTINEL, done)
    try:
        transport, _ = await loop.create_connection(lambda: connection, *address)
    except OSError:
        return Understood(end="unreachable")
    await asyncio.wait([done], timeout=patience)
    done.cancel()  # that we hang up now is no end of the server's
    transport.abort()
    return connection.understood
