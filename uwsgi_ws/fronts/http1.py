"""HTTP/1.1 over a stream: requests are read one after the other, and the connection is kept while both sides like."""

from __future__ import annotations

from time import monotonic

from uwsgi_ws.errors import RequestError
from uwsgi_ws.fronts.bytestream import StreamFront
from uwsgi_ws.fronts.header_names import say_dropped
from uwsgi_ws.fronts.stream_request import StreamRequest
from uwsgi_ws.protocol.http.http1 import RequestParser

__all__ = ["Http1Front"]


class Http1Front(StreamFront):
    """Reads requests by ``protocol.http1``. For the arguments see StreamFront."""

    __slots__ = ("_has_served",)

    def _prepare(self) -> None:
        """See StreamFront."""
        given = {"SCRIPT_NAME": "", **self.peer.variables(), "UWSGI_ROUTER": "http"}
        self.parser = RequestParser(self.settings.limits, given)
        self._has_served = False

    @property
    def is_idle(self) -> bool:
        """See StreamFront."""
        stream = self.stream
        if self.request is not None or stream is None or not self._has_served:
            return False
        return not self.parser.has_partial and not stream.has_unsent

    def _next_request(self) -> StreamRequest | None:
        """See StreamFront."""
        stream = self.stream
        assert stream is not None
        parser = self.parser
        deadline = self._head_due
        # Nothing is held between two requests, unless they were sent ahead.
        head = parser.next_head() if parser.has_partial else None
        while head is None:
            if deadline is None and parser.has_partial:
                self._head_due = deadline = monotonic() + self.settings.head_timeout
            timeout = self.settings.idle_timeout if deadline is None else deadline - monotonic()
            try:
                data = stream.recv(timeout) if timeout > 0 else None
            except TimeoutError:
                data = None
            if data is None:
                if parser.has_partial:
                    raise RequestError(408, "the request's head did not come in time")
                return None
            if not data:
                return None
            parser.receive(data)
            head = parser.next_head()
        if parser.dropped_names is not None:
            say_dropped(parser.dropped_names)
            parser.dropped_names = None
        self._has_served = True
        self._head_due = None
        return StreamRequest(self, head)
