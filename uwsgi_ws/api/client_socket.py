"""``environ["werkzeug.socket"]``: what libraries look for that speak WebSocket by themselves.

simple-websocket, and so Flask-Sock, takes the client's socket out of the environ, writes its own 101 response into it,
and then frames. The names are Werkzeug's development server's and gunicorn's. What it finds here becomes a socket when
the 101 response is written into it, and not before: an application that makes its WebSocket by other means never
touches it.
"""

from __future__ import annotations

import socket
from typing import Any

from uwsgi_ws.errors import ClientGone, InvalidState, RequestError
from uwsgi_ws.protocol.http.grammar import check_head
from uwsgi_ws.protocol.http.response import ResponseParser
from uwsgi_ws.request.base import Request, client_address

__all__ = ["ClientSocket"]

#: What the front writes by itself, from the same key.
_OF_THE_FRONT = ("upgrade", "connection", "sec-websocket-accept")


class _Gone(ClientGone, BrokenPipeError):
    """The client is gone, which is no fault of the application."""


class ClientSocket:
    """A request's socket: see ``socket.socket`` for what its methods do.

    Args:
        request: One that asks for a WebSocket.
    """

    __slots__ = ("_parser", "_request", "_sock")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._parser: ResponseParser | None = None  # of the 101 response
        self._sock: socket.socket | None = None

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send; at first the 101 response.

        Raises:
            ClientGone: also a BrokenPipeError.
            InvalidState: another response, or the request has been answered already.
        """
        if self._sock is None:
            self._answer(bytes(data))
            return
        try:
            self._sock.sendall(data, flags)
        except (BrokenPipeError, ConnectionResetError) as exc:
            raise _Gone("the client has left") from exc

    def send(self, data: Any, flags: int = 0) -> int:
        """Send all, as a blocking socket does; gevent's would send what goes at once. Raises as ``sendall``."""
        self.sendall(data, flags)
        return len(data)

    def _answer(self, data: bytes) -> None:
        """Take a piece of the response; once its head is in, answer the opening handshake."""
        parser = self._parser
        if parser is None:
            parser = self._parser = ResponseParser()
        try:
            parser.receive(data)
        except RequestError as exc:
            raise InvalidState(f"what was written into the client's socket is no response: {exc.reason}") from exc
        head = parser.head
        if head is None:
            return
        if head.code != 101:
            raise InvalidState(f"a response with status {head.code} goes by start_response, not by the client's socket")
        headers = [header for header in head.headers if header[0].lower() not in _OF_THE_FRONT]
        acceptor = self._request.acceptor
        assert acceptor is not None, "the server's frame has set it"
        sock = acceptor.hand_over(self._request, check_head("101", headers)[1], head.reason or "Switching Protocols")
        self._sock = sock
        self._parser = None
        if parser.rest:
            self.sendall(parser.rest)

    def close(self) -> None:
        """Close it, if it is open."""
        if self._sock is not None:
            self._sock.close()

    def getpeername(self) -> tuple[str, int]:
        """Return the client's address."""
        return client_address(self._request.environ)

    def setsockopt(self, level: int, *option: Any) -> None:
        """Set an option of sockets in general; those of TCP are the server's business, which sends without delay."""
        if level == socket.SOL_SOCKET:
            self._taken().setsockopt(level, *option)

    def _taken(self) -> socket.socket:
        if self._sock is None:
            raise InvalidState("the client's socket is the application's once it has sent a 101 response by it")
        return self._sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._taken(), name)

    def __repr__(self) -> str:
        return f"<ClientSocket {self._sock or 'not in use'}>"
