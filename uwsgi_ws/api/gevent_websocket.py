"""``environ["wsgi.websocket"]``: what applications written for gevent-websocket hold.

It is in the environ of each request that asks for a WebSocket. The opening handshake is answered when the application
uses it for the first time, not before: an application that makes its WebSocket by other means never touches it.

What the package of that name has besides is in ``geventwebsocket``.

Source: gevent-websocket 0.10.1, geventwebsocket/websocket.py, handler.py, server.py and exceptions.py.
"""

from __future__ import annotations

import logging
import sys
from typing import Any
from weakref import WeakValueDictionary, ref

from uwsgi_ws.errors import ClientGone, ConnectionClosed
from uwsgi_ws.protocol.plain import plain_str
from uwsgi_ws.protocol.websocket import handshake
from uwsgi_ws.protocol.websocket.frames import BINARY, CLOSE, MAX_CONTROL, PING, PONG, TEXT, is_valid_close_code
from uwsgi_ws.request.base import Request, client_address
from uwsgi_ws.websocket.connection import Connection

__all__ = [
    "MSG_ALREADY_CLOSED",
    "MSG_CLOSED",
    "MSG_SOCKET_DEAD",
    "Client",
    "FrameTooLargeException",
    "ProtocolError",
    "WebSocket",
    "WebSocketError",
]

MSG_SOCKET_DEAD = "Socket is dead"
MSG_ALREADY_CLOSED = "Connection is already closed"
MSG_CLOSED = "Connection closed"

#: Bytes of a close frame's reason.
_MAX_REASON = 123

_log = logging.getLogger("uwsgi_ws.websocket")


class WebSocketError(OSError):
    """The WebSocket is closed."""


class ProtocolError(WebSocketError):
    """Never raised here; applications name it in ``except``."""


class FrameTooLargeException(ProtocolError):
    """Never raised here; applications name it in ``except``."""


def _error(text: str) -> OSError:
    """Return the error that the application knows: the installed package's, where it has imported that."""
    known = sys.modules.get("geventwebsocket.exceptions")
    error: OSError = getattr(known, "WebSocketError", WebSocketError)(text)
    return error


class WebSocket:
    """A request's WebSocket with the names and the errors of gevent-websocket's.

    Any greenlet or thread may use it. It stays usable, and closed, once its request is over.

    Args:
        request: One that asks for a WebSocket.
        application: What answers the request.
    """

    __slots__ = ("__weakref__", "_application", "_client", "_is_told_closed", "_request")

    OPCODE_CONTINUATION, OPCODE_TEXT, OPCODE_BINARY = 0, TEXT, BINARY
    OPCODE_CLOSE, OPCODE_PING, OPCODE_PONG = CLOSE, PING, PONG

    def __init__(self, request: Request, application: Any) -> None:
        self._request = request
        self._application = application
        self._client: Client | None = None
        self._is_told_closed = False

    def _open(self) -> Connection:
        """Return the connection; the first call answers the opening handshake.

        Raises:
            ClientGone: before that.
            InvalidState: the request has been answered otherwise.
            WebSocketError: the request is over.
        """
        request = self._request
        connection: Connection | None = request.websocket
        if self._client is not None and connection is not None:
            return connection
        if request.is_over:
            raise _error(MSG_ALREADY_CLOSED)
        if connection is None:
            subprotocol = self._choose_subprotocol()
            headers = [] if subprotocol is None else [("Sec-WebSocket-Protocol", subprotocol)]
            try:
                connection = request.accept(headers, subprotocol)
            except OSError as exc:
                raise ClientGone("the client left before its WebSocket was accepted") from exc
        self._client = _enter(self, client_address(request.environ))
        return connection

    def _choose_subprotocol(self) -> str | None:
        """Return what the application chooses, as ``Resource`` does; of one that does not choose, the first offered.

        A browser refuses an answer without one when it has offered some.
        """
        environ = self._request.environ
        offered = handshake.offered_subprotocols(environ)
        choose = getattr(self._application, "app_protocol", None)
        if choose is None:
            return offered[0] if offered else None
        chosen = choose(environ["PATH_INFO"])
        return plain_str(chosen, "a subprotocol is str") if chosen and chosen in offered else None

    # What the opening handshake said

    @property
    def environ(self) -> dict[str, Any] | None:
        """The request's, while it has one."""
        return self._request.environ or None

    @property
    def origin(self) -> str | None:
        """The Origin header."""
        return self._request.environ.get("HTTP_ORIGIN")

    @property
    def protocol(self) -> str | None:
        """The Sec-WebSocket-Protocol header."""
        return self._request.environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL")

    @property
    def version(self) -> str | None:
        """The Sec-WebSocket-Version header."""
        return self._request.environ.get("HTTP_SEC_WEBSOCKET_VERSION")

    @property
    def path(self) -> str | None:
        """PATH_INFO."""
        return self._request.environ.get("PATH_INFO")

    # Messages

    @property
    def closed(self) -> bool:
        """Whether no message can be sent any more.

        It answers the opening handshake too: an application may look at nothing else, and have others send.
        """
        if self._client is None and self._request.is_over:
            return True
        return not self._open().is_open

    def receive(self) -> str | bytearray | None:
        """Wait for a message: text as ``str``, binary as ``bytearray``; None when the WebSocket has ended meanwhile.

        Raises:
            WebSocketError: it had ended before, and the application knew.
        """
        connection = self._open()
        try:
            message = connection.recv()
        except ConnectionClosed as exc:
            if self._is_told_closed:
                raise _error(MSG_ALREADY_CLOSED) from exc
            self._is_told_closed = True
            return None
        return bytearray(message) if isinstance(message, bytes) else message

    read_message = receive

    def send(self, message: Any, binary: bool | None = None) -> None:
        """Send a message.

        Args:
            message: ``str``, or anything that ``bytes`` takes.
            binary: Whether it goes as binary; by default all but ``str`` does.

        Raises:
            WebSocketError: the WebSocket has ended.
        """
        if binary is None:
            binary = not isinstance(message, str)
        self._send(message, BINARY if binary else TEXT, MSG_SOCKET_DEAD)

    def send_frame(self, message: Any, opcode: int) -> None:
        """Send a message, a ping, or a close frame with its payload. Errors as in ``send``."""
        self._send(message, opcode, MSG_ALREADY_CLOSED)

    def _send(self, message: Any, opcode: int, error_text: str) -> None:
        connection = self._open()
        try:
            if not connection.is_open:
                raise connection.closed_error()
            if opcode == TEXT:
                connection.send_message(TEXT, _encoded(message))
            elif opcode == BINARY:
                connection.send_message(BINARY, bytes(message))
            elif opcode == PING:
                connection.ping(_encoded(message))
            elif opcode == PONG and len(payload := _encoded(message)) <= MAX_CONTROL:
                connection.send_message(PONG, payload)
            elif opcode == CLOSE:
                payload = _encoded(message)
                self.close(int.from_bytes(payload[:2], "big") if len(payload) > 1 else 0, payload[2:])
            else:
                raise ValueError(f"no such frame can be sent: {len(_encoded(message))} bytes with opcode {opcode}")
        except ConnectionClosed as exc:
            raise _error(error_text) from exc

    def close(self, code: int = 1000, message: str | bytes | None = b"") -> None:
        """Begin the closing handshake; without effect when the WebSocket has ended.

        A code that must not be sent, such as 1006, is left out, and the message with it; a message that is too long is
        cut.
        """
        if self.closed:
            self._is_told_closed = True
            return
        connection = self._open()
        self._is_told_closed = True
        if is_valid_close_code(code):
            connection.close(code, _encoded(message)[:_MAX_REASON].decode("utf-8", "ignore"))
        else:
            connection.close(None)

    # What surrounds it

    @property
    def handler(self) -> Handler:
        """What applications reach other clients by."""
        return Handler(self)

    @property
    def logger(self) -> logging.Logger:
        """The server's."""
        return _log

    @property
    def current_app(self) -> Any:
        """The application's attribute of that name; else an object whose ``on_close`` does nothing."""
        return getattr(self._application, "current_app", _NO_APP)

    def __repr__(self) -> str:
        return f"<WebSocket {self._request.websocket or 'not in use'}>"


class _NoApp:
    def on_close(self, *args: Any) -> None:
        pass


_NO_APP = _NoApp()


class Client:
    """A client, with whatever attributes an application gives it.

    It does not keep its WebSocket: each would keep the other until a collection.

    Attributes:
        address: Host and port; a third item where several WebSockets come from the same, as over HTTP/2.
    """

    def __init__(self, address: tuple[Any, ...], ws: WebSocket) -> None:
        self.address = address
        self._ws = ref(ws)

    @property
    def ws(self) -> Any:
        """Its WebSocket; once that is no more, one that is closed."""
        ws = self._ws()
        return _GONE if ws is None else ws


class Handler:
    """What applications reach through ``websocket.handler``.

    Args:
        websocket: Its client's is the active one.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        self.environ = websocket.environ
        self.application = websocket._application
        self.logger = _log
        self.server = Server(self.application)

    @property
    def active_client(self) -> Client:
        """The client of the WebSocket."""
        self.websocket._open()
        client = self.websocket._client
        assert client is not None, "made when it was opened"
        return client

    @property
    def client_address(self) -> tuple[Any, ...]:
        """Its address."""
        return self.active_client.address


class Server:
    """What applications reach through ``websocket.handler.server``."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.logger = _log

    @property
    def clients(self) -> dict[tuple[Any, ...], Client]:
        """The clients of this worker that have a WebSocket now, by their addresses."""
        found = [websocket for known in _in_use.valuerefs() if (websocket := known()) is not None]
        clients = [each._client for each in found if each._client is not None and not each.closed]
        return {client.address: client for client in clients}


#: The WebSockets of this worker that are in use, and not given up by their applications, by the clients' addresses.
_in_use: WeakValueDictionary[tuple[Any, ...], WebSocket] = WeakValueDictionary()


def _enter(websocket: WebSocket, address: tuple[Any, ...]) -> Client:
    """Make a WebSocket's client known, under an address of its own."""
    key, number = address, 1
    while (other := _in_use.get(key)) is not None and not other.closed:
        number += 1
        key = (*address, number)
    _in_use[key] = websocket
    return Client(key, websocket)


def _make_gone() -> WebSocket:
    request = Request({}, 0, 0)
    request.end()
    return WebSocket(request, None)


#: Stands for a WebSocket that is no more.
_GONE = _make_gone()


def _encoded(message: Any) -> bytes:
    """Return the bytes of a text; what is no text at all becomes one, as in gevent-websocket."""
    if isinstance(message, (bytes, bytearray, memoryview)):
        return bytes(message)
    return str(message or "").encode()
