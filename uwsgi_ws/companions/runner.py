"""Has a companion answer requests: the worker's side of ``docs/companion-protocol.md``.

The greenlet that serves the client reads what the companion says, and writes it to the client. Once the request is a
WebSocket, a second greenlet takes the client's messages to the companion. Each waits for one side alone, so a side that
takes nothing holds up its own direction only, and by the sockets themselves the other end of it.

A companion that dies, or does not speak the protocol, ends its request with 502, or its WebSocket with 1011.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent

from uwsgi_ws.channels.bus import current_bus
from uwsgi_ws.channels.records import encode_name
from uwsgi_ws.channels.subscription import MAX_WAITING, Subscription
from uwsgi_ws.companions import records
from uwsgi_ws.companions.link import Link, connect
from uwsgi_ws.companions.records import DATA, TEXT_MESSAGE, Decoder, Handshake, Publication
from uwsgi_ws.errors import (
    BodyError,
    ChannelError,
    ClientGone,
    ConnectionClosed,
    Error,
    RecordError,
    RequestError,
)
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.log import escape, say
from uwsgi_ws.protocol.http.grammar import check_head
from uwsgi_ws.protocol.plain import is_text, wire_value
from uwsgi_ws.protocol.websocket.frames import BINARY, TEXT, CloseCode
from uwsgi_ws.protocol.websocket.handshake import offered_subprotocols
from uwsgi_ws.request.acceptor import Acceptor
from uwsgi_ws.request.answers import respond_error, respond_status, status_line
from uwsgi_ws.request.base import Headers, Request
from uwsgi_ws.request.mounts import MODIFIER1
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.connection import Connection

__all__ = ["CompanionRunner", "Pool"]

_log = logging.getLogger("uwsgi_ws.companions")

#: The largest payload that a worker takes beside messages: a response's head, a channel's name and a short message.
_LEAST_LARGEST = 262_144
#: What messages for the client become.
_MESSAGES = {TEXT_MESSAGE: TEXT, DATA: BINARY}
#: Bytes of messages that are written together.
_BATCH = 65_536
#: Pings of a request that may wait for their pongs.
_MOST_PINGS = 100
#: Seconds between two looks whether a pong has come: the first, and the longest.
_FIRST_LOOK, _LONGEST_LOOK = 0.001, 0.1


@dataclass(frozen=True, slots=True)
class Pool:
    """Processes that answer requests, as a worker sees them; mounted in the place of an application.

    Args:
        name: The file that they run, for the log.
        path: Of the socket that they share.
        modifier1: uWSGI's number of their language.
    """

    name: str
    path: str
    modifier1: int


class CompanionRunner:
    """Runs what a pool runs.

    Args:
        pool: It.
        connect_timeout: Seconds that a request waits for a place in the pool's queue.
        poller: The worker's.
        timers: The worker's.
        acceptor: Makes WebSockets for greenlets of the hub.
        stats: The worker's counters.
        max_message_size: Bytes of a message of a client's, or for one.
    """

    def __init__(
        self,
        pool: Pool,
        connect_timeout: float,
        poller: Poller,
        timers: Timers,
        acceptor: Acceptor,
        stats: Stats,
        *,
        max_message_size: int,
    ) -> None:
        self.pool = pool
        self.poller = poller
        self.timers = timers
        self.acceptor = acceptor
        self.stats = stats
        self.connect_timeout = connect_timeout
        self.largest = max(_LEAST_LARGEST, max_message_size + _LEAST_LARGEST // 2)

    def run(self, request: Request) -> bool:
        """Answer a request. See Runner."""
        request.acceptor = self.acceptor
        head = self._head(request)
        exchange = _Exchange(self, request, self._connect(request))
        try:
            return exchange.run(head)
        finally:
            exchange.end()

    def _head(self, request: Request) -> bytes:
        """Return the first two records."""
        variables = {name: value for name, value in request.environ.items() if isinstance(value, str)}
        variables.pop(MODIFIER1, None)
        if request.scheme == "https":
            variables["HTTPS"] = "on"
        else:
            variables.pop("HTTPS", None)
        try:
            pairs = [(name, wire_value(value)) for name, value in variables.items()]
            asked = records.encode_request(pairs, self.pool.modifier1)
        except ValueError as exc:
            raise RequestError(431, "the request's variables are too long for a companion") from exc
        return records.encode_version(self.largest) + asked

    def _connect(self, request: Request) -> Any:
        try:
            return connect(self.pool.path, self.connect_timeout, self.poller, self.timers)
        except TimeoutError as exc:
            _log.error("%s: %s: %s", request.environ.get("REQUEST_URI"), self.pool.name, exc)
            raise RequestError(503, "too many requests wait for the application") from exc
        except OSError as exc:
            _log.error("%s: %s is not there: %s", request.environ.get("REQUEST_URI"), self.pool.name, exc.strerror)
            raise RequestError(502, "the application is not there") from exc


class _Exchange:
    """One request and its answer."""

    __slots__ = (
        "_body_error",
        "_close_code",
        "_connection",
        "_decoder",
        "_greenlets",
        "_held",
        "_largest",
        "_link",
        "_pings",
        "_request",
        "_response",
        "_runner",
        "_said",
        "_stream",
    )

    def __init__(self, runner: CompanionRunner, request: Request, stream: Any) -> None:
        self._runner = runner
        self._request = request
        self._stream = stream
        self._link = Link(stream, runner.poller, runner.stats)
        self._decoder = Decoder(runner.largest)
        self._connection: Connection | None = None
        self._greenlets: list[Any] = []
        self._largest = 0  # of what the companion takes; 0 before it has said so
        self._response: _Response | None = None
        self._said = b""  # what the companion has sent last
        self._held = b""  # of the request's body
        self._body_error: BodyError | None = None
        self._pings: list[int] = []
        self._close_code = CloseCode.INTERNAL_ERROR

    def run(self, head: bytes) -> bool:
        """Pass the request on and answer it; return False when an error of the application's ended it."""
        try:
            self._stream.send_all(head, None)
            return self._read()
        except ClientGone as gone:
            _log.info("%s: %s", self._uri, gone)
            self._request.abandon()
            return True
        except RecordError as error:
            error.said = error.said or self._said[: RecordError.SHOWN]
            said = escape(error.said.decode("ascii", "backslashreplace"))
            _log.error("%s: %s does not speak the protocol: %s: %s", self._uri, self._name, error, said)
            return self._break_off()
        except OSError:
            return self._died()

    def end(self) -> None:
        """Give everything up."""
        gevent.killall(self._greenlets, block=False)
        self._link.close()
        if self._connection is not None:
            self._connection.release(self._close_code)

    @property
    def _uri(self) -> str:
        return escape(self._request.environ.get("REQUEST_URI") or "?")

    @property
    def _name(self) -> str:
        return self._runner.pool.name

    # What the companion says

    def _read(self) -> bool:
        """Do what the companion says until it says that this is the end."""
        stream, decoder = self._stream, self._decoder
        while True:
            data = stream.recv(None)
            if not data:
                return self._died()
            self._said = data
            said = decoder.feed(data)
            for number, (kind, value) in enumerate(said):
                connection = self._connection
                if connection is not None and kind in _MESSAGES:
                    if connection.is_open:
                        self._send(connection, _MESSAGES[kind], value)
                elif kind == records.END and self._largest:
                    if number + 1 < len(said) or decoder.error is not None:
                        raise RecordError("something follows the end")
                    return self._finish(value)
                elif kind == records.RESPONSE and said[-1] == (records.END, ""):
                    self._begin_response(value)
                    assert self._response is not None
                    body = [each for kind, each in said[number:] if kind == records.BODY]
                    self._response.send_whole(b"".join(body))
                else:
                    self._take(kind, value)
            if decoder.error is not None:
                raise decoder.error
            if self._response is not None:
                self._response.flush()
            if self._link.overflows:
                raise RecordError("it does not read the answers to what it asks")

    def _take(self, kind: int, value: Any) -> None:
        if not self._largest and kind != records.VERSION:
            raise RecordError(f"{chr(kind)} before the version")
        take = _TAKERS.get(kind)
        if take is None:
            raise RecordError(f"{chr(kind)} is not allowed here")
        take(self, value)

    def _take_version(self, value: tuple[int, int]) -> None:
        version, largest = value
        if self._largest:
            raise RecordError("a second version")
        if version != records.VERSION_NUMBER:
            raise RecordError(f"it speaks version {version}, we {records.VERSION_NUMBER}")
        if not largest:
            raise RecordError("it takes no payload")
        self._largest = largest

    def _log(self, text: str) -> None:
        for line in text.splitlines():
            say(escape(line))

    # An ordinary request

    def _read_body(self, size: int) -> None:
        if self._connection is not None:
            raise RecordError("a WebSocket has no body")
        if self._body_error is None and not self._held:
            try:
                self._held = self._request.read_body()
            except BodyError as exc:
                self._body_error = exc
        if self._body_error is not None:
            self._link.answer(records.encode_failed_body(self._body_error.reason))
            return
        size = min(size, self._largest)
        piece, self._held = self._held[:size], self._held[size:]
        self._link.answer(records.encode_body(piece))

    def _begin_response(self, value: tuple[str, Headers]) -> None:
        if not self._largest or self._response is not None or self._connection is not None:
            raise RecordError("a response is not allowed here")
        status, headers = value
        try:
            status, headers, length, dropped = check_head(
                status_line(int(status)) if len(status) == 3 else status, [*headers]
            )
            if status[0] == "1":
                raise ValueError(f"not the status of a final response: {status!r}")
        except ValueError as exc:
            raise RecordError(str(exc)) from exc
        if dropped:
            _log.warning("%s: %s: the server's to send, dropped", self._uri, ", ".join(dropped))
        self._response = _Response(self._request, status, headers, length)

    def _send_body(self, piece: bytes) -> None:
        if self._response is None:
            raise RecordError("a body before its response")
        self._response.write(piece)

    # A WebSocket

    def _shake_hands(self, asked: Handshake) -> None:
        request = self._request
        if self._connection is not None or self._response is not None:
            raise RecordError("a handshake is not allowed here")
        headers = list(asked.headers)
        if asked.origin:
            headers.insert(0, ("Sec-WebSocket-Origin", asked.origin))
        if asked.protocol:
            headers.append(("Sec-WebSocket-Protocol", asked.protocol))
        try:
            if asked.protocol and asked.protocol not in offered_subprotocols(request.environ):
                _log.info("%s: the client has not offered the subprotocol %r", self._uri, asked.protocol)
            check_head("101", headers)
            connection = request.accept(headers, asked.protocol or None, "Web Socket Protocol Handshake")
        except (Error, ValueError) as exc:
            if isinstance(exc, ClientGone):
                raise
            self._link.answer(records.encode_handshake_result(str(exc) or type(exc).__name__))
            return
        self._connection = connection
        self._link.answer(records.encode_handshake_result())
        self._spawn(self._bring_messages, connection)

    def _spawn(self, function: Callable[..., None], *args: Any) -> None:
        self._greenlets.append(gevent.spawn(function, *args))

    def _send(self, connection: Connection, opcode: int, payload: bytes) -> None:
        """Send a message to the client; one that has left is told of by its ``C``."""
        try:
            connection.send_message(opcode, payload)
        except ConnectionClosed:
            pass

    def _bring_messages(self, connection: Connection) -> None:
        """Take the client's messages to the companion until there are no more."""
        link = self._link
        largest = self._largest
        batch = b""
        try:
            while (message := connection.recv_message()) is not None:
                opcode, payload = message
                size = len(payload)
                if size > largest:
                    connection.close(CloseCode.MESSAGE_TOO_BIG, "the application takes no message of this size")
                    continue
                head = records.encode_message_head(opcode, size)
                if connection.has_messages and size + len(batch) < _BATCH:
                    batch += head + payload
                elif batch:
                    link.send(batch + head, payload)
                    batch = b""
                else:
                    link.send(head, payload)
            error = connection.closed_error()
            link.send(batch + records.encode_close(error.code, error.reason))
        except ClientGone:
            pass  # the greenlet that reads sees it

    def _close(self, value: tuple[int, str]) -> None:
        connection = self._websocket()
        code, reason = value
        try:
            connection.close(code, reason)
        except ValueError as exc:
            raise RecordError(str(exc)) from exc

    def _ping(self, number: int) -> None:
        connection = self._websocket()
        if len(self._pings) >= _MOST_PINGS:
            raise RecordError(f"more than {_MOST_PINGS} pings at once")
        self._pings.append(number)
        if len(self._pings) == 1 and connection.is_open:
            connection.latency = None
            connection.ping()
            self._spawn(self._await_pong, connection)

    def _await_pong(self, connection: Connection) -> None:
        """Answer the pings: all that have come by then have the same pong."""
        pause = _FIRST_LOOK
        while connection.latency is None and connection.is_open:
            gevent.sleep(pause)
            pause = min(2 * pause, _LONGEST_LOOK)
        numbers, self._pings = self._pings, []
        if connection.is_open or connection.latency is not None:
            for number in numbers:
                self._link.answer(records.encode_ping_result(number, connection.latency or math.nan))

    def _websocket(self) -> Connection:
        if self._connection is None:
            raise RecordError("there is no WebSocket")
        return self._connection

    # Channels

    def _join(self, channel: str) -> None:
        try:
            self._websocket().join(channel)
        except ConnectionClosed:
            pass

    def _leave(self, channel: str) -> None:
        self._websocket().leave(channel)

    def _read_channel(self, channel: str) -> None:
        request = self._request
        if request.subscriptions is None:
            request.subscriptions = {}
        if channel not in request.subscriptions:
            subscription = Subscription(current_bus(), MAX_WAITING)
            subscription.join(channel, "drop")
            request.subscriptions[channel] = subscription
            self._spawn(self._bring_channel, channel, subscription)

    def _stop_channel(self, channel: str) -> None:
        subscription = (self._request.subscriptions or {}).pop(channel, None)
        if subscription is not None:
            subscription.close()

    def _bring_channel(self, channel: str, subscription: Subscription) -> None:
        name = encode_name(channel)
        try:
            while True:
                message = subscription.recv_message()
                assert message is not None, "without a timeout there is one"
                self._link.send(records.encode_message(name, *message))
        except (ChannelError, ClientGone):
            pass  # it is left, or the companion is gone

    def _publish(self, message: Publication) -> None:
        if message.opcode == TEXT and not is_text(message.payload):
            _log.error("%s: a text for the channel %r is not UTF-8, dropped", self._uri, message.channel)
            return
        exclude = self._connection if message.is_for_others else None
        try:
            current_bus().publish(message.channel, message.opcode, message.payload, exclude)
        except ChannelError as exc:
            _log.error("%s: the channel %r: %s, dropped", self._uri, message.channel, exc)

    def _count(self, value: tuple[int, str]) -> None:
        tag, channel = value
        self._link.answer(records.encode_number(tag, current_bus().count(channel)))

    # The end

    def _finish(self, error: str) -> bool:
        """The companion has said that this is the end."""
        if error:
            _log.error("%s %s: %s", self._request.environ.get("REQUEST_METHOD"), self._uri, escape(error))
        if self._connection is not None:
            if not error:
                self._close_code = CloseCode.NORMAL_CLOSURE
        elif self._response is not None:
            self._response.end(is_whole=not error)
        elif self._body_error is not None:
            respond_error(self._request, self._body_error)
            return True
        else:
            if not error:
                _log.error("%s: the application has not answered", self._uri)
            respond_status(self._request, 500)
            return False
        return not error

    def _died(self) -> bool:
        _log.error("%s: the process that ran %s has gone", self._uri, self._name)
        return self._break_off()

    def _break_off(self) -> bool:
        """The companion is no use any more."""
        if self._connection is None:
            if self._response is not None and self._response.has_begun:
                self._request.abandon()
            else:
                respond_status(self._request, 502)
        return False


class _Response:
    """A response on its way to the client.

    Args:
        length: Bytes of the body, if its head says so.

    Attributes:
        has_begun: Its head has gone out.
    """

    __slots__ = ("_has_no_body", "_headers", "_is_whole", "_length", "_request", "_status", "has_begun")

    def __init__(self, request: Request, status: str, headers: Headers, length: int | None) -> None:
        self._request = request
        self._status = status
        self._headers = headers
        self._length = length
        self._is_whole = False
        self.has_begun = False
        is_bodiless = status.startswith(("204", "304"))
        if is_bodiless:  # RFC 9110 8.6
            self._headers = [header for header in headers if header[0].lower() != "content-length"]
        self._has_no_body = is_bodiless or request.environ["REQUEST_METHOD"] == "HEAD"

    def send_whole(self, body: bytes) -> None:
        """Send all of it; what is written after that counts for nothing."""
        if self._length is None and not self._has_no_body:
            self._length = len(body)
            self._headers = [*self._headers, ("Content-Length", str(len(body)))]
        self._begin()
        self._request.write_last(b"" if self._has_no_body else body)
        self._is_whole = True

    def write(self, piece: bytes) -> None:
        """Send a piece of the body."""
        if self._is_whole:
            return
        if not self.has_begun:
            self._begin()
        if piece and not self._has_no_body:
            self._request.write_body(piece)

    def flush(self) -> None:
        """Send the head, if not yet sent: the body may be long in coming."""
        if not self.has_begun:
            self._begin()
            self._request.write_body(b"")

    def _begin(self) -> None:
        self.has_begun = True
        self._request.write_head(self._status, self._headers, self._length)

    def end(self, *, is_whole: bool) -> None:
        """All of the body has come, or no more of it will."""
        if self._is_whole:
            return
        if not is_whole and not self.has_begun:
            respond_status(self._request, 500)
        elif is_whole:
            self._request.finish()
        else:
            self._request.abandon()


_TAKERS: dict[int, Callable[[_Exchange, Any], None]] = {
    records.VERSION: _Exchange._take_version,
    records.READ_BODY: _Exchange._read_body,
    records.RESPONSE: _Exchange._begin_response,
    records.BODY: _Exchange._send_body,
    records.HANDSHAKE: _Exchange._shake_hands,
    records.CLOSE: _Exchange._close,
    records.PING: _Exchange._ping,
    records.JOIN: _Exchange._join,
    records.LEAVE: _Exchange._leave,
    records.READ_CHANNEL: _Exchange._read_channel,
    records.STOP_CHANNEL: _Exchange._stop_channel,
    records.PUBLISH: _Exchange._publish,
    records.COUNT: _Exchange._count,
    records.LOG: _Exchange._log,
}
