"""A request on a stream of an HTTP/2 connection, and its answer.

How long a body is, the stream's end tells (RFC 9113 8.1); a Content-Length must agree with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from time import time
from typing import TypeVar

from uwsgi_ws.errors import BodyError, ClientGone, RequestError
from uwsgi_ws.fronts.http2.stream import Carrier, Http2Stream
from uwsgi_ws.net.base import Stream
from uwsgi_ws.protocol.http.dates import http_date
from uwsgi_ws.protocol.http.hop_by_hop import HOP_BY_HOP
from uwsgi_ws.protocol.http.http2 import Head
from uwsgi_ws.request.base import Headers, Request

__all__ = ["Http2Request"]

_T = TypeVar("_T")

_log = logging.getLogger("uwsgi_ws.http2")


class Http2Request(Request):
    """Made by ``Http2Front``; ``leave`` must be called when it has been handled."""

    __slots__ = ("_body_size", "_front", "_held", "_is_head", "_left", "_needs_continue", "_target", "stream")

    carrier = "http2"

    def __init__(self, front: Carrier, stream: Http2Stream, head: Head) -> None:
        super().__init__(head.variables, head.size, 0)
        self._front = front
        self.stream = stream
        self._held: list[tuple[bytes, bytes]] | None = None  # the response's head, until its first piece of body
        self._left: int | None = None  # bytes of the body still promised by a Content-Length
        self._needs_continue = head.expects_continue
        self._is_head = head.variables["REQUEST_METHOD"] == "HEAD"
        self._target = head.variables["REQUEST_URI"]
        self._body_size = 0  # bytes of the request's body so far

    @property
    def carrier_scheme(self) -> str:
        """See Request."""
        return self._front.scheme

    @property
    def can_sendfile(self) -> bool:
        """See Request."""
        return True

    def fileno(self) -> int:
        """See Request."""
        return self.stream.fileno()

    # The request's body

    def read_body(self) -> bytes:
        """See Request."""
        timeout = self._front.settings.io_timeout
        piece = self._read_piece(lambda: self.stream.recv(timeout))
        assert piece is not None, "it waits"
        return piece

    def read_body_now(self) -> bytes | None:
        """See Request."""
        return self._read_piece(self.stream.recv_now)

    def _read_piece(self, receive: Callable[[], bytes | None]) -> bytes | None:
        piece = None
        try:
            if self._needs_continue:
                # RFC 9110 10.1.1: only once the body is wanted, and not when it is there already.
                self._needs_continue = False
                piece = self.stream.recv_now()
                if piece is None and not self.status:
                    self._front.send_head(self.stream, [(b":status", b"100")])
                    self._front.flush()
            if piece is None:
                piece = receive()
        except TimeoutError as exc:
            raise BodyError(408, "the request's body did not come in time") from exc
        except OSError as exc:
            raise BodyError(400, "the client has given the request up") from exc
        if piece:
            self._body_size += len(piece)
            try:
                self._front.settings.limits.check_body(self._body_size)
            except RequestError as exc:
                raise BodyError(exc.status, exc.reason) from exc
        return piece

    # The response

    def write_head(self, status: str, headers: Headers, body_length: int | None) -> None:
        """See Request."""
        self.status = int(status[:3])
        fields = _fields(status[:3], headers)
        for name, _ in fields:
            if name == b"date":
                break
        else:
            fields.append((b"date", _date(int(time()))))
        self._left = 0 if self._is_head or self.status in (204, 304) else body_length
        self._hold(fields)

    def _hold(self, fields: list[tuple[bytes, bytes]]) -> None:
        self._held = fields
        self.header_count = len(fields) - 1
        self.header_bytes = sum([len(name) + len(value) for name, value in fields])

    def write_body(self, data: bytes) -> None:
        """See Request."""
        left = self._left
        if left is not None:
            if len(data) > left:
                data = data[:left]  # the caller says so in the log
            self._left = left - len(data)
        if data:
            self.body_bytes += len(data)
            self._write(self.stream.send_all, data, is_last=self._left == 0)

    def write_file(self, fd: int, offset: int, count: int) -> int:
        """See Request."""
        if self._left is not None:
            count = min(count, self._left)
        is_last = count == self._left
        sent = 0
        while sent < count:
            size = self._write(self.stream.sendfile, fd, offset + sent, count - sent, is_last=is_last)
            if not size:
                break
            sent += size
        if self._left is not None:
            self._left -= sent
        self.body_bytes += sent
        return sent

    def _write(self, write: Callable[..., _T], *what: object, is_last: bool) -> _T:
        """Write the head if it is still held, then by ``write``, whose last argument is a timeout.

        A body of known length ends the stream with its last bytes. haproxy (2.6 at least) would keep them back for
        0.2 s if the end came behind them: it has the kernel wait for more, which an end without bytes does not undo.
        """
        timeout = self._front.settings.io_timeout
        try:
            if self._held is not None:
                fields, self._held = self._held, None
                self._front.send_head(self.stream, fields)
            return write(*what, timeout, is_last=is_last)
        except TimeoutError as exc:
            if self.stream.is_evicted:
                raise ClientGone("the client took next to nothing, and others waited for its place") from exc
            raise ClientGone(f"the client took nothing for {timeout:g} s") from exc
        except OSError as exc:
            raise ClientGone("the client left before the end of the response") from exc

    def hand_body_over(self, when_lost: Callable[[], object]) -> tuple[Stream, bool]:
        """See Request."""
        self._write(lambda timeout, *, is_last: None, is_last=False)
        self._front.flush()
        self.stream.when_lost = when_lost
        return self.stream, False

    def finish(self) -> None:
        """See Request."""
        if self._left:
            _log.error("%s: the body is shorter than its Content-Length", self._target)
            self.abandon()
        elif self._held is not None:
            fields, self._held = self._held, None
            try:
                self._front.send_head(self.stream, fields, is_end=True)
            except OSError as exc:
                raise ClientGone("the client left before the response") from exc
            self._front.flush()
        else:
            self.stream.shutdown()

    def write_last(self, data: bytes) -> None:
        """See Request."""
        if self._held is not None and self._left == len(data):
            try:
                is_done = self._front.answer(self.stream, self._held, data)
            except OSError as exc:
                raise ClientGone("the client left before the response") from exc
            if is_done:
                self._held = None
                self._left = 0
                self.body_bytes += len(data)
                return
        self.write_body(data)
        self.finish()

    def abandon(self) -> None:
        """See Request; a response that is whole stays so."""
        if not self.stream.is_shut:
            self.stream.reset()

    def release(self) -> None:
        """The request has been handled: end its stream, unless a WebSocket has taken it over."""
        if self.websocket is not None:
            return
        if self.stream.is_shut:
            self.stream.close()
        else:
            self.stream.reset()

    def upgrade(self, reason: str, headers: Headers) -> tuple[Stream, bytes]:
        """See Request. RFC 8441 4: the answer is 200, and nothing proves that the server knows WebSocket."""
        self.status = 200
        self._hold(_fields("200", headers))
        fields, self._held = self._held or [], None
        self._front.send_head(self.stream, fields)
        self._front.flush()
        return self.stream, b""

    def disconnect(self) -> None:
        """See Request; it ends the stream, which is all that this client has."""
        if self.websocket is not None:
            self.websocket.abort()
        else:
            self.stream.reset()


def _fields(status: str, headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return what goes out: PEP 3333's strings are latin-1, and no value may have blanks around it (RFC 9113 8.2.1)."""
    fields = [(b":status", status.encode())]
    for name, value in headers:
        key = _name(name)
        if key:
            fields.append((key, value.encode("latin-1").strip(b" \t")))
    return fields


# An application uses the same few again and again.
@lru_cache(maxsize=1_024)
def _name(name: str) -> bytes:
    """Return a field's name as it is sent; nothing for one that is not."""
    name = name.lower()
    return b"" if name in HOP_BY_HOP else name.encode("latin-1")


@lru_cache(maxsize=1)
def _date(now: int) -> bytes:
    """Return the Date field (RFC 9110 6.6.1)."""
    return http_date(now).encode()
