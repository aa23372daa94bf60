"""A client that has a byte stream to itself: what the fronts for HTTP/1.1 and uwsgi have in common.

One greenlet per client, one request after the other. How a request is read is the subclass's; here is when the next one
may be, and how to leave a connection so that the client can still read the answer (RFC 9112 9.6).

Applications run on top of these frames, so they stay Python's own when the rest is compiled: a call from one Python
function to the next takes no C stack, of which every greenlet that waits keeps its part.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from time import monotonic

from uwsgi_ws.errors import RequestError
from uwsgi_ws.fronts.peer import Peer, StreamSettings
from uwsgi_ws.fronts.stream_request import StreamRequest, error_response
from uwsgi_ws.log.rationed import Rationed
from uwsgi_ws.net.base import ClientStream, Stream
from uwsgi_ws.protocol.http.http1 import RequestParser
from uwsgi_ws.request.base import Request

__all__ = ["StreamFront"]

_log = Rationed(logging.getLogger("uwsgi_ws.http"))

#: Seconds and bytes that a connection being closed may still send before it is reset.
_LINGER = 2.0
_LINGER_BYTES = 1_048_576


class StreamFront:
    """Serves one client until either side has had enough.

    Args:
        stream: The client's; closed at the end unless a WebSocket has taken it over.
        settings: The worker's.
        peer: Who is at both ends.
        core: The worker's place it takes.
        handle: Answers a request; it must not raise.
        may_keep_alive: Asked before each response: False while others wait for a place.

    Attributes:
        parser: Where the bytes of a request's body go; a new connection's is the subclass's to make.
        request: The request being answered; None while the connection waits for one.
        is_evicted: Its place was needed: nobody waits for the client any more.
    """

    __slots__ = (
        "_handle",
        "_head_due",
        "core",
        "is_evicted",
        "may_keep_alive",
        "parser",
        "peer",
        "request",
        "settings",
        "stream",
    )

    parser: RequestParser
    has_streams = has_moments = False

    def __init__(
        self,
        stream: ClientStream,
        settings: StreamSettings,
        peer: Peer,
        core: int,
        handle: Callable[[Request], None],
        may_keep_alive: Callable[[], bool],
    ) -> None:
        self.stream: ClientStream | None = stream
        self.settings = settings
        self.peer = peer
        self.core = core
        self.may_keep_alive = may_keep_alive
        self.request: StreamRequest | None = None
        #: When the head that the client owes us must be there; None while it need not send one.
        self._head_due: float | None = monotonic() + settings.head_timeout
        self.is_evicted = False
        self._handle = handle
        self._prepare()

    def _prepare(self) -> None:
        """Make what reads the first request; called once, by the constructor."""
        raise NotImplementedError

    def run(self) -> None:
        """Serve requests until the connection ends or is handed over."""
        try:
            while self._serve_one():
                pass
        except OSError:
            pass  # the client is gone
        finally:
            if self.stream is not None:
                self.stream.close()

    @property
    def is_idle(self) -> bool:
        """See Front."""
        raise NotImplementedError

    @property
    def owes_since(self) -> float:
        """See Front."""
        stream = self.stream
        if self.request is not None or stream is None:
            return math.inf
        if self._head_due is not None:
            return self._head_due - self.settings.head_timeout
        return stream.waits_until - self.settings.idle_timeout

    def progress(self) -> int | None:
        """See Front."""
        stream = self.stream
        return stream.progress() if stream is not None and stream.is_waiting else None

    def evict(self) -> None:
        """See Front."""
        if self.stream is not None:
            self.is_evicted = True
            self.stream.expire()

    def goodbye(self) -> None:
        """See Front: HTTP/1.1 says so in its next response, which ``may_keep_alive`` has a say in."""

    def _next_request(self) -> StreamRequest | None:
        """Wait for a request; None when the client leaves or stays silent.

        Raises:
            RequestError: what came cannot be served; the client gets the answer, and the connection ends.
            OSError: the connection is broken.
        """
        raise NotImplementedError

    def _serve_one(self) -> bool:
        """Serve one request; return whether another may follow on this connection."""
        try:
            request = self._next_request()
        except RequestError as error:
            self._refuse(error)
            return False
        if request is None:
            return False
        self.request = request
        try:
            self._handle(request)
            return self.stream is not None and request.release()
        finally:
            self.request = None  # they know each other: a cycle, if it stayed

    def _refuse(self, error: RequestError) -> None:
        """Answer a request that never became one, and leave."""
        assert self.stream is not None
        if not self.is_evicted:  # who ends many says it once
            _log.warning("%s: %d %s", self.peer.name, error.status, error.reason)
        self.stream.send_all(error_response(error), self.settings.io_timeout)
        self.linger()

    def linger(self) -> None:
        """Say that we are done, and read what the client still sends, so that no reset eats our answer."""
        stream = self.stream
        assert stream is not None
        stream.shutdown()
        if self.is_evicted:
            return
        deadline = monotonic() + _LINGER
        left = _LINGER_BYTES
        try:
            while left > 0 and (timeout := deadline - monotonic()) > 0:
                data = stream.recv(timeout)
                if not data:
                    return
                left -= len(data)
        except OSError:
            pass

    def detach_stream(self) -> Stream:
        """Give the stream away for good."""
        stream = self.stream
        assert stream is not None
        self.stream = None
        return stream
