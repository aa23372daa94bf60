"""An application's response, from ``start_response`` to the last piece of its iterable: PEP 3333."""

from __future__ import annotations

import io
import logging
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from types import TracebackType
from typing import Any

from gevent import sleep

from uwsgi_ws.errors import ClientGone
from uwsgi_ws.hub.hub_calls import in_hub
from uwsgi_ws.protocol.http.grammar import check_head
from uwsgi_ws.protocol.plain import plain_bytes
from uwsgi_ws.request.base import Headers, Request
from uwsgi_ws.request.event_stream import EventStream

__all__ = ["FileWrapper", "Response"]

ExcInfo = tuple[type[BaseException], BaseException, TracebackType]

_log = logging.getLogger("uwsgi_ws.wsgi")

#: Seconds that a response may take before others run, and that an iterable may go on after its last byte.
_SLICE, _SPARE = 0.001, 1.0


class FileWrapper:
    """``wsgi.file_wrapper``: an open file as a response body, sent by the kernel where that is possible.

    Args:
        filelike: Has ``read``; with a ``fileno`` of a regular file, its bytes are never copied.
        block_size: Bytes per read where it must be read.
    """

    def __init__(self, filelike: Any, block_size: int = 65_536) -> None:
        self.filelike = filelike
        self.block_size = block_size

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        data: bytes = self.filelike.read(self.block_size)
        if not data:
            raise StopIteration
        return data


class Response:
    """The response to a request; it is itself the ``start_response`` that the application gets.

    It counts the body against its Content-Length. Once nothing more may be sent, an iterable is not read for ever. An
    iterable that never has to wait, such as one of endless empty pieces, still lets other requests run.

    Args:
        request: Nothing of its response has been sent.

    Attributes:
        dropped: Names of the application's headers that are not sent, as they concern a connection only.
        has_failed: The application called ``start_response`` with a 5xx after an opening handshake, as frameworks do
            for an exception.
    """

    __slots__ = (
        "_content_length",
        "_has_no_body",
        "_headers",
        "_is_finished",
        "_is_head",
        "_left",
        "_request",
        "_slice_ends_at",
        "_status",
        "dropped",
        "has_failed",
    )

    def __init__(self, request: Request) -> None:
        self._request = request
        self._is_head = request.environ["REQUEST_METHOD"] == "HEAD"  # before the application changes it
        self._status: str | None = None
        self._headers: Headers = ()
        self._content_length: int | None = None  # the application's own
        self._has_no_body = False  # what is written is dropped
        self._left: int | None = None  # bytes of the body still to come, once the head has been sent; None: not known
        self._is_finished = False
        self._slice_ends_at = 0.0  # monotonic
        self.dropped: Sequence[str] = ()
        self.has_failed = False

    @property
    def is_complete(self) -> bool:
        """Whether the client has the whole response: a later error is only logged."""
        return self._is_finished or self._left == 0

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """``start_response`` (PEP 3333).

        After an opening handshake it accepts anything and sends nothing: a framework calls it for whatever its view
        returns.
        """
        if self._request.is_head_written:
            if exc_info is None and self._is_websocket():
                self.has_failed = isinstance(status, str) and status.startswith("5")
                return self.write
            if exc_info is not None:
                raise exc_info[1].with_traceback(exc_info[2])
            raise OSError("headers already sent")  # uWSGI's words
        if self._status is not None and exc_info is None:
            raise AssertionError("start_response called a second time without exc_info")
        status, kept, length, self.dropped = check_head(status, headers)
        if status[0] == "1":
            raise ValueError(f"not the status of a final response: {status!r}")
        self._status = f"{status} " if len(status) == 3 else status  # RFC 9112 4: the space is not optional
        self._headers = kept
        self._content_length = length
        return self.write

    def write(self, data: bytes) -> None:
        """The callable that ``start_response`` returns: send now.

        Raises:
            OSError: The body would be longer than its Content-Length (PEP 3333), or the client is gone.
        """
        self._end_slice()  # first: an application may go on whatever is raised
        if self._request.is_head_written and self._is_websocket():
            return
        if not isinstance(data, bytes):
            raise TypeError(f"a response body is bytes, not {type(data).__name__}")
        if type(data) is not bytes:
            data = plain_bytes(data)
        self._send_head(None)
        self._ask_for_takers()
        if data and not self._put(data) and not self._has_no_body:
            raise OSError("the body is longer than its Content-Length")

    def _is_websocket(self) -> bool:
        # Compiled, a request that stands in front of another has its own attributes too, which were never set.
        asked: Any = self._request
        return asked.websocket is not None

    def _ask_for_takers(self) -> None:
        """Look, once the head has been sent, whether a route has answered instead."""
        if not self._request.takes_body:
            self._has_no_body = True
            self._left = 0

    def _put(self, data: bytes) -> bool:
        """Send a piece of the body, as far as its length allows; return False when that was not all."""
        if self._has_no_body:
            return False
        self._request.write_body(data)  # which cuts it at the Content-Length
        left = self._left
        if left is None:
            return True
        self._left = max(0, left - len(data))
        return len(data) <= left

    def _end_slice(self) -> None:
        """Let others run when this response has run for long: its writes may never have to wait for the client.

        Raises:
            ClientGone: The client has gone meanwhile.
        """
        now = monotonic()
        if now >= self._slice_ends_at:
            if self._slice_ends_at:
                in_hub(sleep, 0)
                if self._request.fileno() < 0 and not self._is_websocket():
                    raise ClientGone("the connection is closed")
                now = monotonic()
            self._slice_ends_at = now + _SLICE

    def _send_head(self, body_length: int | None) -> None:
        """Send the head, if not yet sent; the application's Content-Length wins over ``body_length``."""
        if self._request.is_head_written:
            return
        if self._status is None:
            raise AssertionError("the application sent a body before it called start_response")
        headers = self._headers
        if self._content_length is not None:
            body_length = self._content_length
        # An empty body for HEAD does not mean that GET's would be empty.
        elif body_length is not None and (body_length or not self._is_head):
            headers = [*headers, ("Content-Length", str(body_length))]
        is_bodiless = self._status.startswith(("204", "304"))
        if is_bodiless:
            # RFC 9110 8.6: a 204 MUST NOT have it; a 304's would have to be that of the 200.
            headers = [header for header in headers if header[0].lower() != "content-length"]
        self._request.write_head(self._status, headers, body_length)
        self._has_no_body = is_bodiless or self._is_head
        self._left = 0 if self._has_no_body else body_length

    def send(self, result: Iterable[bytes] | None) -> None:
        """Send what the application returned, and end the response."""
        request = self._request
        if result is None:
            raise TypeError("the application returned None, not an iterable of bytes")
        if isinstance(result, bytes):
            result = [plain_bytes(result)]  # uWSGI sends it as it is
        if isinstance(result, FileWrapper) and self._send_file(result):
            self.finish()
            return
        length: int | None = None
        if isinstance(result, (list, tuple)) and len(result) <= 1:
            # PEP 3333 "Handling the Content-Length Header": one item, so its length is the body's.
            if type(result) is not list and type(result) is not tuple:
                result = list(result)  # what its own iterator gives
            body = result[0] if result else b""
            if isinstance(body, bytes) and len(result) <= 1:
                if type(body) is not bytes:
                    body = plain_bytes(body)
                self._send_head(len(body))
                left = self._left
                if left is not None and len(body) > left and not self._has_no_body:
                    self._complain()
                request.write_last(body)
                self._is_finished = True
                return
            length = 0 if len(result) <= 1 else None
        self._send_pieces(result, length)

    def _send_pieces(self, result: Iterable[bytes], length: int | None) -> None:
        """Send a body piece by piece; ``length`` is its length if it is known before the first piece."""
        if type(result) is EventStream and self._hand_over(result):
            return
        asked: Any = self._request  # see _is_websocket
        has_begun = complained = False
        spare_until = 0.0  # set once there is nothing more to send
        for piece in result:
            if asked.websocket is not None:
                # The application is a generator, which has made a WebSocket of the request meanwhile.
                if not asked.websocket.is_open:
                    break
            elif isinstance(piece, bytes):
                if type(piece) is not bytes:
                    piece = plain_bytes(piece)
                if piece:
                    if not has_begun:
                        has_begun = True
                        self._send_head(length)
                        self._ask_for_takers()
                    if not self._put(piece) and not self._has_no_body:
                        self._complain()
                        break
            elif not complained:
                # uWSGI sends nothing of it and goes on; its own text. Once: a str is as many chunks as characters.
                complained = True
                _log.error("[ERROR] Unhandled object from iterator: %r", type(piece))
            if self._left == 0:
                # PEP 3333: stop here. But the end of the iterable is most often next, and the application may have
                # work to do there.
                if not spare_until:
                    spare_until = monotonic() + _SPARE
                elif monotonic() >= spare_until:
                    break
            self._end_slice()
        if asked.websocket is not None:
            return
        if not has_begun:
            self._send_head(0 if length is None else length)
        self.finish()

    def _complain(self) -> None:
        """Log that a body is too long; once for each request, as no more of it is read then."""
        asked: Any = self._request  # see _is_websocket
        _log.error("%s: the body is longer than its Content-Length", asked.environ.get("REQUEST_URI"))

    def _hand_over(self, stream: EventStream) -> bool:
        """Leave the body to an event stream, once the application has ended; False when there is no body."""
        self._send_head(None)
        self._ask_for_takers()
        if self._has_no_body:
            return False
        stream.hand_over()
        self._is_finished = True
        return True

    def finish(self) -> None:
        """End the response; without effect the second time."""
        if not self._is_finished:
            self._request.finish()
            self._is_finished = True

    def _send_file(self, wrapper: FileWrapper) -> bool:
        """Have the kernel send a regular file; return False when the file must be read instead."""
        request = self._request
        file = getattr(wrapper.filelike, "file", wrapper.filelike)  # tempfile's objects have the file inside
        if not isinstance(getattr(file, "raw", file), io.FileIO):
            return False  # gzip's objects have a descriptor too, of the compressed file
        try:
            fd = file.fileno()
            offset = file.tell()
            info = os.fstat(fd)
        except (AttributeError, OSError):
            return False
        if not stat.S_ISREG(info.st_mode):
            return False
        size = max(0, info.st_size - offset)
        self._send_head(size)
        if not request.can_sendfile:
            return False
        request.write_file(fd, offset, size)
        return True
