"""Decides which requests may go on before an application runs: by their opening handshake, and by their number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic_ns
from typing import NamedTuple

from uwsgi_ws.errors import HandshakeError, RequestError
from uwsgi_ws.protocol.http.grammar import check_head
from uwsgi_ws.protocol.websocket import handshake
from uwsgi_ws.protocol.websocket.frames import CloseCode
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.steps import Handler
from uwsgi_ws.shared.websockets import OpenWebSockets, Seat
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.connection import Connection

__all__ = ["Admission", "ConnectionLimiter", "ConnectionLimits"]

#: WebSockets over a limit that may be in the closing handshake at once, as a bad client draws it out for some seconds;
#: more of them get a response instead.
_MOST_CLOSING = 1_000


class Admission:
    """Refuses bad opening handshakes, and those of foreign origins.

    Args:
        origins: What ``--websockets-origin`` lists; empty allows every Origin, as uWSGI does.
        lenient: What ``--websockets-lenient`` lists.
        stats: Where refusals are counted, also those of what comes after this step.
    """

    def __init__(
        self, origins: tuple[str, ...] = (), lenient: frozenset[str] = frozenset(), stats: Stats | None = None
    ) -> None:
        self._origins = origins
        self._lenient = lenient
        self._measures = (stats or Stats()).measures

    def answer(self, request: Request, otherwise: Handler) -> None:
        """Let the request pass, or raise; a step.

        A request that asks for a WebSocket must be correct, even where the application would not have checked.

        Raises:
            HandshakeError: 400, 405 or 426 for a malformed opening handshake, 403 for a foreign Origin.
        """
        variables = request.environ
        if "HTTP_UPGRADE" in variables and handshake.is_websocket(variables):  # most requests need no call to tell
            try:
                self._judge(request)
                otherwise(request)
            except RequestError as error:
                self._measures.refused(error.status)
                raise
            if request.websocket is None and request.status >= 400:
                self._measures.count("refusals", "application")
        else:
            otherwise(request)

    def _judge(self, request: Request) -> None:
        variables = request.environ
        forgiven = handshake.check_request(variables, self._lenient)
        if forgiven:
            # For the access line, as by uwsgi.set_logvar.
            request.logvars = {"websocket.lenient": ",".join(forgiven)}
        if self._origins and not handshake.is_origin_allowed(variables, request.scheme, self._origins):
            raise HandshakeError(403, "this Origin may not connect here")


class ConnectionLimits(NamedTuple):
    """How many WebSockets all workers together allow; 0 is no limit.

    Args:
        at_once: Open at the same time.
        per_address: Open at the same time, from one address.
        per_second: Opening handshakes, in the long run; as many may come at once after a quiet second.
        closes: Whether a client over a limit gets a close frame, rather than a response.
    """

    at_once: int = 0
    per_address: int = 0
    per_second: int = 0
    closes: bool = False

    def __bool__(self) -> bool:
        return bool(self.at_once or self.per_address or self.per_second)


def _address(request: Request) -> str:
    address: str = request.environ.get("REMOTE_ADDR", "")
    return address


class ConnectionLimiter:
    """Counts requests for a WebSocket and open WebSockets, an application's or one that a route passes on.

    The count is over all workers, including those that are stopping. An address is what REMOTE_ADDR says: the client's
    own where a trusted proxy tells it.

    Args:
        limits: Of all workers together.
        open_websockets: The count that all workers share.
        seat: This worker's number in it.
        now: Returns the time in nanoseconds; the same for all workers.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        open_websockets: OpenWebSockets,
        seat: int,
        now: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._limits = limits
        self._open_websockets = open_websockets
        self._seat = Seat(open_websockets, seat, knows_addresses=limits.per_address > 0)
        self._now = now
        self._closing: deque[Connection] = deque()  # no more than _MOST_CLOSING

    def answer(self, request: Request, otherwise: Handler) -> None:
        """Let a request pass, if there is room; a step.

        Raises:
            HandshakeError: 503, too many are open; 429, too many from this address.
        """
        if not handshake.is_websocket(request.environ):
            otherwise(request)
            return
        address = _address(request)
        # Counted first, then judged: of two clients that want the last slot in two workers, perhaps neither gets it,
        # but never both.
        self._seat.enter(address)
        try:
            refusal = self._judge(address)
            if refusal is None:
                otherwise(request)
        finally:
            self._seat.leave(address)
        if refusal is not None:
            self._turn_away(request, *refusal)

    def admit(self, request: Request) -> Callable[[], object]:
        """Count a request whose response will be an event stream, as if it were a WebSocket.

        Returns:
            What is to be called, once, when the stream has ended.

        Raises:
            HandshakeError: as ``answer``.
        """
        address = _address(request)
        self._seat.enter(address)
        refusal = self._judge(address)
        if refusal is not None:
            self._seat.leave(address)
            raise HandshakeError(*refusal, (("Retry-After", "1"),))
        return partial(self._seat.leave, address)

    def _judge(self, address: str) -> tuple[int, str] | None:
        """Return None if a client that has been counted may stay, else the status and reason to refuse it with."""
        limits = self._limits
        if limits.at_once and self._open_websockets.inside > limits.at_once:
            return 503, "too many WebSockets are open"
        if limits.per_address and self._seat.of_address(address) > limits.per_address:
            return 429, "too many WebSockets are open from this address"
        if limits.per_second and not self._open_websockets.begin(limits.per_second, self._now()):
            return 503, "too many WebSockets are being opened"
        return None

    def _turn_away(self, request: Request, status: int, reason: str) -> None:
        """Tell a client over a limit to try again later: by an error, or by close code 1013 where that is wanted."""
        while self._closing and self._closing[0].is_ended:
            self._closing.popleft()
        if not self._limits.closes or len(self._closing) >= _MOST_CLOSING:
            raise HandshakeError(status, reason, (("Retry-After", "1"),))
        # A browser that has offered subprotocols fails the connection if the answer has none.
        offered = handshake.offered_subprotocols(request.environ)[:1]
        headers = [("Sec-WebSocket-Protocol", name) for name in offered]
        check_head("101", headers)
        try:
            connection = request.accept(headers, next(iter(offered), None))
        except OSError:
            return  # the client is gone
        connection.close(CloseCode.TRY_AGAIN_LATER, reason)
        connection.release()
        self._closing.append(connection)
