"""A request on its way through the routes."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from uwsgi_ws.errors import ClientGone
from uwsgi_ws.protocol.http.hop_by_hop import end_to_end
from uwsgi_ws.request.base import Headers, Request, pass_attributes_on
from uwsgi_ws.routing.compression import compressed_head, compressor, takes_gzip

if TYPE_CHECKING:
    from uwsgi_ws.net.base import Stream

__all__ = ["RoutedRequest"]

_PIECE = 1 << 16  # bytes of a file that are compressed at a time


class RoutedRequest(Request):
    """Stands in front of the front's request, for the routes: they may change how its response begins.

    Attributes are read and set in the front's request, so both objects always have the same. The head of the response
    passes through here: routes add headers to it, remove some, or send another response instead.

    Args:
        request: The front's.
        before_response: Called once, with this request and the response's headers, when a response is about to begin;
            returns True when it has sent another one instead.

    Attributes:
        front_request: The front's.
        groups: What the last regular expression matched: the whole match, then its groups.
        status_to_send: The status of the response that is about to begin; 0 before.
        added_headers: To be sent with the response.
        removed_headers: Names, in lower case, of headers that are not sent.
        is_to_be_compressed: Whether the response goes out in gzip, where client and response allow it.
    """

    __slots__ = (
        "_before_response",
        "_compressor",
        "_early_body",
        "_has_body",
        "_is_decided",
        "_is_replaced",
        "added_headers",
        "front_request",
        "groups",
        "is_to_be_compressed",
        "removed_headers",
        "status_to_send",
    )

    def __init__(self, request: Request, before_response: Callable[[RoutedRequest, Headers], bool]) -> None:
        self.front_request = request
        self.groups: tuple[str, ...] = ()
        self.status_to_send = 0
        self.added_headers: list[tuple[str, str]] = []
        self.removed_headers: set[str] = set()
        self.is_to_be_compressed = False
        self._before_response = before_response
        self._compressor: zlib._Compress | None = None
        self._has_body: bool | None = None  # not looked at yet
        self._early_body = b""  # what `has_body` has read of it
        self._is_decided = False  # it is decided what the response is
        self._is_replaced = False  # a route has sent it, and the original one is dropped

    @property
    def scheme(self) -> str:
        """See Request."""
        return self.front_request.scheme

    @property
    def carrier_scheme(self) -> str:
        """See Request."""
        return self.front_request.carrier_scheme

    @property
    def can_sendfile(self) -> bool:
        """See Request."""
        return self.front_request.can_sendfile

    @property
    def takes_body(self) -> bool:
        """See Request."""
        return not self._is_replaced

    def fileno(self) -> int:
        """See Request."""
        return self.front_request.fileno()

    def read_body(self) -> bytes:
        """See Request."""
        if self._early_body:
            piece, self._early_body = self._early_body, b""
            return piece
        return self.front_request.read_body()

    def read_body_now(self) -> bytes | None:
        """See Request."""
        return self.read_body() if self._early_body else self.front_request.read_body_now()

    def has_body(self) -> bool:
        """Return whether a request without a Content-Length has a body, or may still get one. Does not wait.

        Raises:
            BodyError: The body is malformed or too large.
        """
        if self._has_body is None:
            piece = self.front_request.read_body_now()
            self._has_body = piece is None or bool(piece)
            self._early_body = piece or b""
        return self._has_body

    def write_head(self, status: str, headers: Headers, body_length: int | None) -> None:
        """See Request; the routes come first, and a second head is ignored."""
        if self._is_replaced or self._has_other_response(int(status[:3]), headers):
            return
        if self.is_head_written:  # by "send:", and this is what comes behind it
            self.complete()
            return
        headers = self._changed(headers)
        if self.is_to_be_compressed and takes_gzip(self.environ.get("HTTP_ACCEPT_ENCODING", "")):
            compressed = compressed_head(int(status[:3]), headers)
            if compressed is not None:
                headers, body_length, self._compressor = compressed, None, compressor()
        self.front_request.write_head(status, headers, body_length)

    def write_body(self, data: bytes) -> None:
        """See Request."""
        if self._is_replaced:
            return
        if self._compressor is not None:
            data = self._compressor.compress(data)
            if not data:
                return
        self.front_request.write_body(data)

    def write_file(self, fd: int, offset: int, count: int) -> int:
        """See Request."""
        if self._is_replaced:
            return count
        if self._compressor is None:
            return self.front_request.write_file(fd, offset, count)
        piece = os.pread(fd, min(count, _PIECE), offset)
        self.write_body(piece)
        return len(piece)

    def hand_body_over(self, when_lost: Callable[[], object]) -> tuple[Stream, bool]:
        """See Request. What is written by others is never compressed: see ``compressed_head``."""
        return self.front_request.hand_body_over(when_lost)

    def finish(self) -> None:
        """See Request."""
        if self._is_replaced:
            return
        if self._compressor is not None:
            self.front_request.write_body(self._compressor.flush())
        self.front_request.finish()

    def abandon(self) -> None:
        """See Request."""
        if not self._is_replaced:
            self.front_request.abandon()

    def upgrade(self, reason: str, headers: Headers) -> tuple[Stream, bytes]:
        """See Request; the routes come first.

        Raises:
            ClientGone: a route has answered instead.
            OSError: the client is gone.
        """
        if not self._is_replaced and not self._has_other_response(101, headers) and self.is_head_written:
            self.complete()
        if self._is_replaced:
            raise ClientGone("a route has answered in place of the WebSocket")
        # The front writes the Connection header.
        return self.front_request.upgrade(reason, end_to_end([*self._changed(headers)], 101))

    def disconnect(self) -> None:
        """See Request."""
        self.front_request.disconnect()

    def complete(self) -> None:
        """End the response that a route has begun, and drop all that is written later."""
        self.front_request.finish()
        self.seal()

    @property
    def is_begun(self) -> bool:
        """Whether it is decided what the response is; from then on the body may have been read."""
        return self._is_decided

    def seal(self) -> None:
        """Drop all that is written from now on: the response is over."""
        self._is_decided = self._is_replaced = True

    def _has_other_response(self, status: int, headers: Headers) -> bool:
        """Run the routes, once, before a response begins; return whether they have sent another one."""
        if self._is_decided:
            return False
        self._is_decided = True
        self.status_to_send = status
        self._is_replaced = self._before_response(self, headers)
        return self._is_replaced

    def _changed(self, headers: Headers) -> Headers:
        if not self.removed_headers and not self.added_headers:
            return headers
        removed = self.removed_headers - {"content-length"}  # which tells where the response ends
        kept = [header for header in headers if header[0].lower() not in removed]
        return [*kept, *self.added_headers]


pass_attributes_on(RoutedRequest, "front_request")
