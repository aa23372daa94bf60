"""A request whose client has a byte stream to itself: its body, and its response with HTTP/1.1's framing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from time import monotonic, time
from typing import Protocol

from uwsgi_ws.errors import BodyError, ClientGone, RequestError
from uwsgi_ws.fronts.peer import Peer, StreamSettings
from uwsgi_ws.hub.poller import Receiver
from uwsgi_ws.net.base import ClientStream, Stream
from uwsgi_ws.protocol.http.dates import http_date
from uwsgi_ws.protocol.http.http1 import Head, RequestParser
from uwsgi_ws.protocol.websocket.handshake import accept_value
from uwsgi_ws.request.base import Headers, Request

__all__ = ["StreamRequest", "error_response"]

_log = logging.getLogger("uwsgi_ws.http")

#: An unread request body up to here is read and dropped to keep the connection; with more it is closed.
_DRAIN_LIMIT = 65_536
#: A head and a first piece of body up to here go out in one write.
_JOIN_LIMIT = 65_536
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE_LINE = "Connection: close\r\n"


class Carrier(Protocol):
    """The connection, as its requests see it."""

    core: int
    parser: RequestParser
    may_keep_alive: Callable[[], bool]
    is_evicted: bool

    @property
    def stream(self) -> ClientStream | None:
        """The client's; None once it has been given away."""

    @property
    def settings(self) -> StreamSettings:
        """The worker's."""

    @property
    def peer(self) -> Peer:
        """Who is at both ends."""

    def linger(self) -> None:
        """End the connection so that the client gets all of the answer."""

    def detach_stream(self) -> Stream:
        """Give the stream away for good."""


class _Lookout(Receiver):
    """Sees a client leave that nothing is wanted of; one that sends much does as well as leave."""

    __slots__ = ("_left", "_when_lost")

    def __init__(self, when_lost: Callable[[], object]) -> None:
        self._when_lost = when_lost
        self._left = _DRAIN_LIMIT

    def receive(self, data: bytes) -> None:
        """See Receiver."""
        self._left -= len(data)
        if not data or self._left < 0:
            self._when_lost()


class StreamRequest(Request):
    """A request whose client is at the other end of a stream.

    The response's framing (RFC 9112 6): a Content-Length when the length is known, else chunks where the client takes
    them, else the end of the connection.

    Args:
        front: Whose client sent it.
        head: What was sent; its variables become the environ.
    """

    __slots__ = (
        "_body_is_read",
        "_chunked",
        "_content_length",
        "_front",
        "_held",
        "_is_ending",
        "_is_finished",
        "_is_head",
        "_left",
        "_must_close",
        "_needs_continue",
        "_takes_chunks",
        "_target",
    )

    #: The header line of a response after which the connection ends.
    _CLOSE = _CLOSE_LINE
    carrier = "http1"

    def __init__(self, front: Carrier, head: Head) -> None:
        self._begin(front, head)

    # In C, calls of a method and what it reads of a typed argument cost nothing; those of a constructor do.
    def _begin(self, front: Carrier, head: Head) -> None:
        self._set_up(head.variables, head.size, front.core)
        self._front = front
        self._content_length = head.content_length or 0
        self._held = b""  # the response's head, until its first piece of body
        self._is_ending = False  # what is written now may go out together with other clients' answers
        self._is_finished = False
        self._chunked = False
        self._left: int | None = None  # bytes of the body still promised by a Content-Length
        # A WebSocket that the application declines leaves bytes behind that are not HTTP.
        self._must_close = not head.keep_alive or head.upgrade is not None
        self._needs_continue = head.expects_continue
        self._body_is_read = not head.chunked and not head.content_length
        environ = self.environ
        # Framing must not follow what an application makes of its environ: middleware turns HEAD into GET there.
        self._is_head = environ["REQUEST_METHOD"] == "HEAD"
        self._takes_chunks = environ["SERVER_PROTOCOL"] == "HTTP/1.1"
        self._target: str = environ["REQUEST_URI"]

    @property
    def carrier_scheme(self) -> str:
        """See Request."""
        return self._front.peer.scheme

    @property
    def can_sendfile(self) -> bool:
        """See Request."""
        return not self._chunked

    def fileno(self) -> int:
        """See Request."""
        stream = self._front.stream
        return -1 if stream is None else stream.fileno()

    # The request's body

    def read_body(self) -> bytes:
        """See Request."""
        io_timeout = self._front.settings.io_timeout
        piece = self._read_piece(lambda stream: stream.recv(io_timeout))
        assert piece is not None, "it waits"
        return piece

    def read_body_now(self) -> bytes | None:
        """See Request."""
        return self._read_piece(lambda stream: stream.recv_now())

    def _read_piece(self, receive: Callable[[Stream], bytes | None]) -> bytes | None:
        if self._body_is_read:
            return b""
        stream = self._front.stream
        if stream is None:
            raise BodyError(400, "the connection is closed")
        parser = self._front.parser  # there is none any more without a stream
        try:
            while (piece := parser.next_body()) is None:
                data = None
                if self._needs_continue:
                    # RFC 9110 10.1.1: only once the body is wanted, and not when it is there already.
                    self._needs_continue = False
                    data = stream.recv_now()
                    if data is None and not self.status:
                        stream.send_all(_CONTINUE, self._front.settings.io_timeout)
                if data is None:
                    data = receive(stream)
                if data is None:
                    return None
                if not data:
                    raise RequestError(400, "the request's body was cut short")
                parser.receive(data)
        except RequestError as exc:
            self._must_close = True
            raise BodyError(exc.status, exc.reason) from exc
        except TimeoutError as exc:
            self._must_close = True
            raise BodyError(408, "the request's body did not come in time") from exc
        except OSError as exc:
            self._must_close = True
            raise BodyError(400, "the client is gone") from exc
        self._needs_continue = False
        if not piece:
            self._body_is_read = True
        return piece

    def _drop_body(self) -> bool:
        """Read the rest of the request's body; False when it is too long or does not come in time."""
        left = _DRAIN_LIMIT
        deadline = monotonic() + self._front.settings.io_timeout
        try:
            # An application that has read all of a body by its length has not met its end yet.
            if self._content_length > left and self.read_body_now() != b"":
                return False
            while left >= 0 and monotonic() < deadline:
                piece = self.read_body()
                if not piece:
                    return True
                left -= len(piece)
        except BodyError:
            pass
        return False

    # The response

    def write_head(self, status: str, headers: Headers, body_length: int | None) -> None:
        """See Request."""
        code = int(status[:3])
        self.status = code
        self.header_count = len(headers)
        lines = [f"HTTP/1.1 {status}\r\n"]
        has_date = False
        close = ""
        for name, value in headers:
            size = len(name)
            if size == 10 and name.lower() == "connection":  # its only value: who answers wants no further request here
                self._must_close = True
                close = _CLOSE_LINE
                continue
            lines.append(f"{name}: {value}\r\n")
            if size == 4 and name.lower() == "date":
                has_date = True
            elif size == 7 and name.lower() == "upgrade":
                lines.append("Connection: Upgrade\r\n")  # RFC 9110 7.8: they go together
        if not has_date:
            lines.append(_date_line())
        if self._is_head or code in (204, 304):
            self._left = 0  # RFC 9110 6.4.1: never a body
        elif body_length is not None:
            self._left = body_length
        elif self._takes_chunks:
            self._chunked = True
            lines.append("Transfer-Encoding: chunked\r\n")
        else:
            self._must_close = True
        # A client that still waits for a 100 will get none any more: whether it sends its body is its own choice, so
        # the next bytes could be either.
        if self._needs_continue or (not self._must_close and not self._front.may_keep_alive()):
            self._must_close = True
        if self._must_close:
            lines.append(close or self._CLOSE)
        elif not self._takes_chunks:
            lines.append("Connection: keep-alive\r\n")
        lines.append("\r\n")
        self._held = "".join(lines).encode("latin-1")
        self.header_bytes = len(self._held)

    def write_body(self, data: bytes) -> None:
        """See Request."""
        left = self._left
        if left is not None:
            if len(data) > left:
                data = data[:left]  # the caller says so in the log
                if not self._is_head and self.status not in (204, 304):
                    self._must_close = True
            self._left = left - len(data)
        if data:
            self.body_bytes += len(data)
            if self._chunked:
                data = b"%x\r\n%b\r\n" % (len(data), data)
        self._write(data)

    def _write(self, data: bytes) -> None:
        stream = self._front.stream
        if stream is None:
            raise ClientGone("the connection is closed")
        timeout = self._front.settings.io_timeout
        held = self._held
        try:
            if held:
                self._held = b""
                if len(data) <= _JOIN_LIMIT:
                    data = held + data
                else:
                    stream.send_all(held, timeout)
            if not data:
                return
            if self._is_ending:
                stream.answer(data, timeout)
            else:
                stream.send_all(data, timeout)
        except TimeoutError as exc:
            if self._front.is_evicted:
                raise ClientGone("the client took next to nothing, and others waited for its place") from exc
            raise ClientGone(f"the client took nothing for {timeout:g} s") from exc
        except OSError as exc:
            raise ClientGone("the client left before the end of the response") from exc

    def write_file(self, fd: int, offset: int, count: int) -> int:
        """See Request."""
        self._write(b"")
        stream = self._front.stream
        assert stream is not None
        if self._left is not None:
            count = min(count, self._left)
        sent = 0
        while sent < count:
            try:
                n = stream.sendfile(fd, offset + sent, count - sent, self._front.settings.io_timeout)
            except OSError as exc:
                raise ClientGone("the client left before the end of the response") from exc
            if not n:
                break
            sent += n
        if self._left is not None:
            self._left -= sent
        self.body_bytes += sent
        return sent

    def hand_body_over(self, when_lost: Callable[[], object]) -> tuple[Stream, bool]:
        """See Request. The connection ends with the response, as what the client sends meanwhile is dropped."""
        self._write(b"")
        stream = self._front.stream
        assert stream is not None, "it has just been written to"
        self._must_close = True
        del self._front.parser  # streams are many, and it has nothing more to do
        stream.start_receiving(_Lookout(when_lost))
        return stream, self._chunked

    def finish(self) -> None:
        """See Request."""
        self._write(b"0\r\n\r\n" if self._chunked else b"")
        if self._left:
            _log.error("%s: the body is shorter than its Content-Length", self._target)
            self._must_close = True
        self._is_finished = True

    def write_last(self, data: bytes) -> None:
        """See Request."""
        # Otherwise the connection's end is next, which the client shall not wait for.
        self._is_ending = not self._must_close and not self._chunked
        self.write_body(data)
        self._is_ending = False
        self.finish()

    def abandon(self) -> None:
        """See Request; a response that is whole stays so."""
        if self._is_finished:
            return
        self._must_close = True
        if self._front.stream is not None:
            self._front.detach_stream().reset()

    def release(self) -> bool:
        """The response is over: get the connection ready for the next request, or close it; say which."""
        front = self._front
        if front.stream is None:
            return False
        if self._must_close or (not self._body_is_read and not self._drop_body()):
            front.linger()
            return False
        return True

    def upgrade(self, reason: str, headers: Headers) -> tuple[Stream, bytes]:
        """See Request."""
        stream = self._front.stream
        if stream is None:
            raise OSError("the connection is closed")
        lines = [f"HTTP/1.1 101 {reason}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in headers]
        lines.append(f"Sec-WebSocket-Accept: {accept_value(self.environ['HTTP_SEC_WEBSOCKET_KEY'])}\r\n\r\n")
        answer = "".join(lines).encode("latin-1")
        self.status = 101
        self.header_count = len(headers) + 3
        self.header_bytes = len(answer)
        self._held = b""
        stream.send_all(answer, self._front.settings.io_timeout)
        front = self._front
        early = front.parser.take_rest()
        del front.parser  # idle connections are many, and it has nothing more to do
        return front.detach_stream(), early

    def disconnect(self) -> None:
        """See Request."""
        if self.websocket is not None:
            self.websocket.abort()
        elif self._front.stream is not None:
            self._front.detach_stream().close()


def error_response(error: RequestError) -> bytes:
    """Return a whole response that ends the connection."""
    phrase = HTTPStatus(error.status).phrase
    body = f"{error.status} {phrase}: {error.reason}\n".encode()
    lines = [f"HTTP/1.1 {error.status} {phrase}\r\n", _date_line()]
    lines += [f"{name}: {value}\r\n" for name, value in error.headers]
    lines.append(f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n")
    return "".join(lines).encode("latin-1") + body


_date = (0, "")


def _date_line() -> str:
    """Return the Date header (RFC 9110 6.6.1: a server with a clock MUST send it), made once a second."""
    global _date
    now = int(time())
    if now != _date[0]:
        _date = (now, f"Date: {http_date(now)}\r\n")
    return _date[1]
