"""What the master tells those that connect to an address of their own; it never waits for one of them."""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from time import monotonic

from uwsgi_ws.addresses import Address
from uwsgi_ws.log import say
from uwsgi_ws.net.binding import bind, bound_name
from uwsgi_ws.options import Options

__all__ = ["Client", "Responder", "http_response", "path_of"]

_BACKLOG = 64
_MOST_CLIENTS = 64
_MOST_ASKED = 60_000  # bytes of a request
_CLIENT_TIMEOUT = 4.0  # seconds that a client has for its request and for taking the answer


class Client:
    """A client.

    Attributes:
        asked: What it has sent.
        rest: What it has still to get; None while it owes us a request.
        is_waiting: Its answer is not whole yet.
        is_gone: It has left, or been given up.
        until: When it is given up.
    """

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self.sock = sock
        self.asked = b""
        self.rest: bytes | None = None
        self.is_waiting = False
        self.is_gone = False
        self.until = monotonic() + timeout

    def say(self, data: bytes) -> None:
        """Add to its answer."""
        self.rest = (self.rest or b"") + data

    @property
    def events(self) -> int:
        """What of its socket is waited for."""
        return select.POLLOUT if self.rest else select.POLLIN


class Responder:
    """Addresses, and their clients: each gets one answer.

    Args:
        options: For errors.
        option: The one that names the addresses.
        addresses: Where.
        is_asked: Whether clients send a request first: the head of an HTTP request, unless a subclass says otherwise.
        is_private: Whether the files of unix sockets are for their owner alone.
        timeout: Seconds that a client has for its request and for taking the answer.

    Raises:
        OptionError: An address cannot be bound.
    """

    def __init__(
        self,
        options: Options,
        option: str,
        addresses: Sequence[Address],
        *,
        is_asked: bool,
        is_private: bool = False,
        timeout: float = _CLIENT_TIMEOUT,
    ) -> None:
        self._is_asked = is_asked
        self._timeout = timeout
        self._listeners: list[socket.socket] = []
        self._files: list[Path] = []
        self._clients: list[Client] = []
        try:
            for address in addresses:
                self._listen(options, option, address, is_private=is_private)
        except BaseException:
            self.close()
            raise

    def _listen(self, options: Options, option: str, address: Address, *, is_private: bool) -> None:
        try:
            sock = bind(address, _BACKLOG, is_private=is_private)
        except OSError as exc:
            raise options.error(option, f"cannot listen on {address}: {exc.strerror}") from exc
        self._listeners.append(sock)
        if address.family == "unix" and not address.is_abstract:
            self._files.append(Path(address.path).absolute())
        say(f"{option} bound on {bound_name(address, sock)} fd {sock.fileno()}")

    def _answer(self, head: bytes) -> bytes:
        """Return the answer to a request; to nothing where clients do not ask."""
        raise NotImplementedError

    def _is_asked_for_all(self, client: Client) -> bool:
        """Return whether a client's request is whole."""
        return b"\r\n\r\n" in client.asked or b"\n\n" in client.asked

    def _respond(self, client: Client) -> None:
        """Give a client its answer, or say that it has to wait for that."""
        client.rest = self._answer(client.asked)

    def register(self, poll: select.poll) -> None:
        """Have the master woken when there is something to do."""
        for sock in self._listeners if len(self._clients) < _MOST_CLIENTS else ():
            poll.register(sock, select.POLLIN)
        for client in self._clients:
            poll.register(client.sock, client.events)

    def serve(self) -> None:
        """Accept and answer clients, as far as that can be done without waiting."""
        for listener in self._listeners:
            while len(self._clients) < _MOST_CLIENTS:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    break
                sock.setblocking(False)
                self._clients.append(client := Client(sock, self._timeout))
                if not self._is_asked:
                    self._respond(client)
        for client in list(self._clients):
            try:
                is_there = self._go_on(client)
            except BlockingIOError:
                is_there = monotonic() < client.until
            except OSError:
                is_there = False
            if not is_there:
                client.is_gone = True
                client.sock.close()
                self._clients.remove(client)

    def _go_on(self, client: Client) -> bool:
        """Return whether the client is still there."""
        while client.rest is None and not client.is_waiting:
            data = client.sock.recv(65_536)
            client.asked += data
            if not data or len(client.asked) > _MOST_ASKED:
                return False
            if self._is_asked_for_all(client):
                self._respond(client)
        return self._send(client)

    def _send(self, client: Client) -> bool:
        """Send what waits for a client whose request is whole; return whether it is still there."""
        while client.rest:
            client.rest = client.rest[client.sock.send(client.rest) :]
            if not client.rest and not client.is_waiting:
                client.sock.shutdown(socket.SHUT_WR)
        # Closed with something unread, the connection would be reset, and the answer lost.
        while client.sock.recv(65_536):
            pass
        return False

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


def path_of(head: bytes) -> str | None:
    """Return the path that a request's head asks for, without its query; None where it is no GET or HEAD."""
    words = head.split(b"\n", 1)[0].split()
    if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
        return None
    return words[1].partition(b"?")[0].decode("latin-1")


def http_response(head: bytes, status: int, kind: str, body: bytes, *headers: str) -> bytes:
    """Return a whole response.

    Args:
        head: The request's; that of a HEAD gets no body.
        status: Such as 200.
        kind: The body's Content-Type.
        body: The content.
        headers: Further lines.
    """
    lines = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    )
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if head.startswith(b"HEAD ") else body)
