"""HTTP/2 over a stream: many requests and WebSockets (RFC 8441) in one connection, a greenlet each.

The hub drives the protocol: bytes come by ``receive``, go through the h2 library, and its events go to the streams.
The connection's own greenlet serves its requests; while the worker has free places, further greenlets help it, so that
a full worker makes requests wait but never leaves a connection unserved.

The connection's window is as large as those of all its streams together, and each stream's opens only as its
application reads. So memory is bounded, and a stream that nobody reads holds up no other.

A peer that causes work without end (resets, pings, settings, empty frames: see ``Budget``) gets GOAWAY with
ENHANCE_YOUR_CALM; one that does not read our answers is not read from.

The module is long because the library's one connection object ties its parts together: every event, flow-control
decision and write goes through it.
"""

from __future__ import annotations

import base64
import logging
import os
from collections import deque
from collections.abc import Callable
from time import monotonic

from gevent.event import Event
from gevent.hub import Hub
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingReceived,
    PriorityUpdated,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    UnknownFrameReceived,
    WindowUpdated,
)
from h2.events import Event as H2Event
from h2.exceptions import ProtocolError

from uwsgi_ws.errors import RequestError
from uwsgi_ws.fronts.base import Headers, Request
from uwsgi_ws.fronts.bytestream import Peer, StreamSettings
from uwsgi_ws.fronts.http2_engine import MAX_STREAMS, Engine, what
from uwsgi_ws.fronts.http2_request import Http2Request
from uwsgi_ws.fronts.http2_stream import REFUSED_STREAM, Http2Stream
from uwsgi_ws.net.base import Stream
from uwsgi_ws.net.poller import Receiver
from uwsgi_ws.protocol.http2 import Budget, read_head

__all__ = ["Http2Front", "Lane"]

_log = logging.getLogger("uwsgi_ws.http2")

#: Bytes that wait for the socket: past the first no stream may add to them, past the second nothing more is read.
_OUTPUT_LIMIT, _OUTPUT_FLOOD = 65_536, 262_144
#: Bytes that a stream sends before it is the next one's turn.
_SHARE = 32_768
#: Bytes given to h2 at once, so that a flood is noticed before it has cost much.
_BITE = 16_384
#: Frames that cost work and carry nothing; as nghttp2 limits resets, the most of them that a browser has been seen to
#: need (closing a page full of streams) being far below.
_BURST, _RATE = 1_000, 33
#: WINDOW_UPDATEs that each DATA frame of ours may be answered with: stream and connection.
_UPDATES_PER_FRAME = 2
#: Seconds for the first request of a client that came while the server was stopping.
_FIRST_REQUEST = 1.0
#: Seconds for a client to hang up after our goodbye, so that no reset eats our last answer.
_LINGER = 2.0
_LINGER_BYTES = 1_048_576


class Lane:
    """A greenlet that serves requests of a connection: to the server, a front like others.

    Attributes:
        front: The connection's.
        core: The worker's place it takes.
        request: The one being answered, if any.
    """

    __slots__ = ("core", "front", "request")

    is_idle = has_streams = False  # it ends when there is nothing to do

    def __init__(self, front: Http2Front, core: int = 0) -> None:
        self.front = front
        self.core = core
        self.request: Http2Request | None = None

    def run(self) -> None:
        """Serve what waits."""
        self.front.help(self)

    def serve(self, request: Http2Request) -> None:
        """Answer one request, and leave its stream in order."""
        self.request = request
        request.core = self.core
        try:
            self.front.handle(request)
        finally:
            self.request = None
            request.leave()

    def leave(self) -> None:
        """The connection's own front tells the client."""


class Http2Front(Receiver):
    """Serves one client until either side has had enough.

    Args:
        stream: The client's; closed at the end.
        settings: The worker's.
        peer: Who is at both ends.
        core: The worker's place it takes.
        handle: Answers a request; it must not raise.
        may_keep_alive: Asked whenever no stream is open: False while others wait for a place.
        spawn: Has a lane run in a greenlet of the worker's; False when there is no place. Then
            ``place_is_free`` is called once there is one.
        hub: The hub.
    """

    def __init__(
        self,
        stream: Stream,
        settings: StreamSettings,
        peer: Peer,
        core: int,
        handle: Callable[[Request], None],
        may_keep_alive: Callable[[], bool],
        spawn: Callable[[Lane], bool],
        hub: Hub,
    ) -> None:
        self.hub = hub
        self.settings = settings
        self._stream = stream
        self.handle = handle
        self._may_keep_alive = may_keep_alive
        self._spawn = spawn
        self._lane = Lane(self, core)
        self._helpers = 0  # greenlets beside the connection's own
        self._variables = {
            "SCRIPT_NAME": "",
            "SERVER_NAME": peer.server_name,
            "SERVER_PORT": peer.server_port,
            "REMOTE_ADDR": peer.remote_address,
            "REMOTE_PORT": peer.remote_port,
        }
        self.scheme = peer.scheme
        self._name = peer.remote_address or "unix"
        self._h2 = Engine(settings.limits.head_size)
        self._budget = Budget(_BURST, _RATE, monotonic())
        self._streams: dict[int, Http2Stream] = {}
        self._waiting: deque[Http2Request] = deque()  # requests that no greenlet has taken up
        self._wake = Event()  # the connection's greenlet has something to do, or nothing any more
        self._is_parked = False
        self._is_in_line = False  # for a place of the worker's
        self._has_served = False
        self._leaves_soon = False  # once the first requests have come
        self._is_leaving = False
        self._is_lost = False
        self._to_drop: int | None = None  # bytes that a peer may send after an error of its
        self._output = bytearray()  # what the socket has not taken
        self._is_paused = False
        self._line: dict[Http2Stream, None] = {}  # who waits to write, in turn
        self._has_sent = False

    # The connection's life

    def run(self) -> None:
        """Serve requests until the connection ends."""
        try:
            self._flush()
            if not self._is_lost:
                self._stream.start_receiving(self)
            while (request := self._next_request()) is not None:
                self._lane.serve(request)
            self._linger()
        finally:
            self._lose()

    @property
    def request(self) -> Request | None:
        """The request that this greenlet answers, if any."""
        return self._lane.request

    @property
    def has_streams(self) -> bool:
        """See Front."""
        return bool(self._streams)

    @property
    def is_idle(self) -> bool:
        """Whether no stream is open, so that the client expects that the connection may be closed."""
        return self._has_served and not self._streams

    def leave(self) -> None:
        """Tell the client to open no more streams here; those that are open go on (RFC 9113 6.8).

        A client that has opened none yet may have sent its first requests already: they are served.
        """
        if self._is_leaving or self._is_lost:
            return
        if self._h2.highest_inbound_stream_id:
            self._say_goodbye(ErrorCodes.NO_ERROR)
        else:
            self._leaves_soon = True
        self._wake.set()

    def _next_request(self) -> Http2Request | None:
        """Wait for a request; None when there is none to come, and nobody is at one."""
        while not self._is_lost:
            if self._waiting:
                self._has_served = True
                return self._waiting.popleft()
            timeout = None
            if self._to_drop is not None:
                return None
            if not self._streams:
                if self._is_leaving or (self._has_served and not self._may_keep_alive()):
                    return None
                timeout = self.settings.idle_timeout if self._has_served else self.settings.head_timeout
                if self._leaves_soon:
                    timeout = min(timeout, _FIRST_REQUEST)
            self._wake.clear()
            self._is_parked = True
            woken = self._wake.wait(timeout)
            self._is_parked = False
            if not woken and not self._streams:
                return None
        return None

    def help(self, lane: Lane) -> None:
        """Serve what waits, in a greenlet beside the connection's own."""
        try:
            while self._waiting:
                lane.serve(self._waiting.popleft())
        finally:
            self._helpers -= 1

    def dispatch(self) -> None:
        """See that somebody takes up a request that waits."""
        if not self._waiting:
            return
        if self._is_parked:
            self._is_parked = False
            self._wake.set()
        elif self._helpers < MAX_STREAMS and not self._is_in_line:
            if self._spawn(Lane(self)):
                self._helpers += 1
            else:
                self._is_in_line = True

    def place_is_free(self) -> None:
        """One of the worker's places is free again."""
        self._is_in_line = False
        for _ in range(len(self._waiting)):
            self.dispatch()

    def _linger(self) -> None:
        """Say goodbye, and wait until the client has read all we said."""
        if not self._is_leaving and not self._is_lost:
            self._say_goodbye(ErrorCodes.NO_ERROR)
        timeout = self.settings.io_timeout
        while self._output and not self._is_lost:
            self._wake.clear()
            if not self._wake.wait(timeout):
                return
        if not self._is_lost:
            self._stream.shutdown()
            self._wake.clear()
            self._wake.wait(_LINGER)

    def _say_goodbye(self, code: ErrorCodes) -> None:
        self._is_leaving = True
        self._flush(self._h2.goodbye(code))

    def _fail(self, reason: str) -> None:
        """The peer has broken the protocol, or asked too much: end all streams; what it still sends is dropped."""
        _log.warning("%s: %s", self._name, reason)
        self._to_drop = _LINGER_BYTES
        self._lose_streams()
        self._wake.set()

    def _lose(self) -> None:
        """The connection is gone, and all its streams with it."""
        if not self._is_lost:
            self._is_lost = True
            self._stream.close()
            self._lose_streams()
            self._wake.set()

    def _lose_streams(self) -> None:
        self._waiting.clear()
        for stream in list(self._streams.values()):
            stream.lose()

    # Bytes come

    def receive(self, data: bytes) -> None:
        """See Receiver."""
        if not data:
            self._lose()
            return
        for start in range(0, len(data), _BITE):
            if self._to_drop is not None:
                self._to_drop -= _BITE
                if self._to_drop < 0:
                    self._lose()
            if self._is_lost or self._to_drop is not None:
                return
            self._receive_bite(data[start : start + _BITE])
        if len(self._output) > _OUTPUT_FLOOD and not self._is_lost:
            self._is_paused = True
            self._stream.pause_receiving()

    def _receive_bite(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as exc:
            self._is_leaving = True
            self._flush()  # h2 has made a GOAWAY that says why
            self._fail(what(exc))
            return
        cost = sum([self._take(event) for event in events])
        if cost and not self._is_lost and not self._budget.spend(cost, monotonic()):
            self._say_goodbye(ErrorCodes.ENHANCE_YOUR_CALM)
            self._fail("too many frames that carry nothing")
        self._flush()

    def _take(self, event: H2Event) -> int:
        """Do what an event says; return what it takes of the budget."""
        if self._is_lost:
            return 0
        if isinstance(event, DataReceived):
            return self._take_data(event)
        if isinstance(event, RequestReceived):
            self._take_request(event)
        elif isinstance(event, StreamEnded):
            if (stream := self._streams.get(event.stream_id)) is not None:
                stream.end()
        elif isinstance(event, StreamReset):
            self._take_reset(event)
            return 1
        elif isinstance(event, WindowUpdated):
            self._call_line()
            return 1
        elif isinstance(event, RemoteSettingsChanged):
            self._h2.limit_table()
            self._call_line()
            return 1
        elif isinstance(event, ConnectionTerminated):
            self._is_leaving = True
            self._wake.set()
        return int(isinstance(event, PingReceived | PriorityUpdated | UnknownFrameReceived))

    def _take_data(self, event: DataReceived) -> int:
        data, size = event.data or b"", event.flow_controlled_length or 0
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.take(data, size)
        else:
            self._give_back(event.stream_id, size)
        return int(not data and not event.stream_ended)

    def _take_request(self, event: RequestReceived) -> None:
        stream = self._streams[event.stream_id] = Http2Stream(self, event.stream_id)
        if self._is_leaving:
            self.drop(stream, REFUSED_STREAM)  # RFC 9113 8.7: the client may try again elsewhere
            return
        if self._leaves_soon:
            self.hub.loop.run_callback(self.leave)  # after what came together with it
        key = base64.b64encode(os.urandom(16)).decode()
        try:
            head = read_head(event.headers or (), key, self.settings.limits)
        except RequestError as error:
            _log.warning("%s: %d %s", self._name, error.status, error.reason)
            fields = [(":status", str(error.status)), ("content-length", "0"), *error.headers]
            self.send_head(stream, fields, is_end=True)
            self._flush()
            stream.close()
            return
        head.variables.update(self._variables)
        self._waiting.append(Http2Request(self, stream, head))
        self.dispatch()

    def _take_reset(self, event: StreamReset) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        stream.lose()
        for request in self._waiting:
            if request.stream is stream:  # taken back before anybody looked at it
                self._waiting.remove(request)
                stream.close()
                return

    # What streams ask for (see http2_stream.Carrier)

    def fileno(self) -> int:
        """See Carrier."""
        return self._stream.fileno()

    def send_head(self, stream: Http2Stream, fields: Headers, *, is_end: bool = False) -> None:
        """Make a head, to be sent together with what follows it.

        Args:
            stream: Whose.
            fields: Checked already; ``:status`` first.
            is_end: Nothing follows, the stream ends with it.

        Raises:
            OSError: the stream has ended.
        """
        try:
            self._h2.send_headers(stream.number, fields, end_stream=is_end)
        except ProtocolError as exc:
            raise BrokenPipeError("the stream has ended") from exc
        if is_end:
            stream.is_shut = True

    def flush(self) -> None:
        """Send what has been made."""
        self._flush()

    def room(self, stream: Http2Stream) -> int:
        """See Carrier."""
        try:
            window = self._h2.local_flow_control_window(stream.number)
        except ProtocolError:
            return 0
        return min(window, _OUTPUT_LIMIT - len(self._output), _SHARE)

    def send_data(self, stream: Http2Stream, data: memoryview, *, is_end: bool) -> None:
        """See Carrier."""
        self._has_sent = True
        size = min(self._h2.max_outbound_frame_size, _BITE)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            self._h2.send_data(stream.number, piece, end_stream=is_end and start + size >= len(data))
            self._budget.earn(_UPDATES_PER_FRAME)
        self._flush()

    def end_stream(self, stream: Http2Stream) -> None:
        """See Carrier."""
        try:
            self._h2.end_stream(stream.number)
        except ProtocolError:
            return  # the peer has given it up
        self._flush()

    def give_back(self, stream: Http2Stream, size: int) -> None:
        """See Carrier."""
        self._give_back(stream.number, size)

    def _give_back(self, number: int, size: int) -> None:
        if size and not self._is_lost:
            self._h2.acknowledge_received_data(size, number)
            self._flush()

    def drop(self, stream: Http2Stream, error_code: int | None) -> None:
        """See Carrier."""
        self._streams.pop(stream.number, None)
        if error_code is not None and not self._is_lost:
            try:
                self._h2.reset_stream(stream.number, error_code)
            except ProtocolError:
                pass  # it has ended meanwhile
            self._flush()
        if not self._streams:
            self._wake.set()

    def line_up(self, stream: Http2Stream) -> None:
        """See Carrier."""
        self._flush()
        self._line[stream] = None
        if self.room(stream) > 0:
            self.hub.loop.run_callback(self._call_line)

    def step_out(self, stream: Http2Stream) -> None:
        """See Carrier."""
        self._line.pop(stream, None)

    def _call_line(self) -> None:
        """Let those who wait write, each its share, as long as there is room."""
        self._has_sent = False
        for stream in list(self._line):
            if stream in self._line and self.room(stream) > 0:
                del self._line[stream]
                self._line[stream] = None  # behind the others, should it want more
                stream.write_on()
        if self._has_sent and self._line and not self._output:
            self.hub.loop.run_callback(self._call_line)

    # Bytes go

    def _flush(self, last: bytes = b"") -> None:
        """Send what h2 has made, and ``last``; what the socket does not take waits."""
        data = self._h2.data_to_send() + last
        if not data or self._is_lost:
            return
        if self._output:
            self._output += data
            return
        try:
            sent = self._stream.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lose()
            return
        if sent < len(data):
            self._output += data[sent:]
            self._stream.when_writable(self._write_on)

    def _write_on(self) -> None:
        """The socket takes bytes again."""
        try:
            sent = self._stream.send(bytes(self._output[:_OUTPUT_LIMIT]))
        except BlockingIOError:
            return
        except OSError:
            self._lose()
            return
        del self._output[:sent]
        if not self._output:
            self._stream.stop_writing()
            self._wake.set()
        if self._is_paused and len(self._output) < _OUTPUT_LIMIT:
            self._is_paused = False
            self._stream.start_receiving(self)
        self._call_line()
