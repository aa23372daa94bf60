"""HTTP/2 over a stream: many requests and WebSockets (RFC 8441) in one connection, a greenlet each.

The hub drives the protocol: bytes come by ``receive``, go through the h2 library, and its events go to the streams.
The connection's own greenlet serves its requests, one after the other. Only while a request has to wait for something
does another greenlet take up the next, if the worker has a free place; so a connection takes as many places as it has
requests that wait, and a full worker makes requests wait but never leaves a connection unserved.

The connection's window is as large as those of all its streams together, and each stream's opens only as its
application reads. So memory is bounded, and a stream that nobody reads holds up no other.

A peer that causes work without end (resets, pings, settings, empty frames: see ``TokenBucket``) gets GOAWAY with
ENHANCE_YOUR_CALM; one that does not read our answers is not read from.

The module is long because the library's one connection object ties its parts together: every event, flow-control
decision and write goes through it.
"""

from __future__ import annotations

import base64
import logging
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, Final

from gevent import getcurrent
from gevent.hub import Hub
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingAckReceived,
    PingReceived,
    PriorityUpdated,
    RemoteSettingsChanged,
    RequestReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    UnknownFrameReceived,
    WindowUpdated,
)
from h2.events import Event as H2Event
from h2.exceptions import ProtocolError

from uwsgi_ws.errors import RequestError
from uwsgi_ws.fronts.header_names import say_dropped
from uwsgi_ws.fronts.http2.engine import MAX_STREAMS, Ballast, Engine, Malformed, what
from uwsgi_ws.fronts.http2.headers import FieldList
from uwsgi_ws.fronts.http2.request import Http2Request
from uwsgi_ws.fronts.http2.stream import REFUSED_STREAM, Http2Stream
from uwsgi_ws.fronts.peer import Peer, StreamSettings
from uwsgi_ws.hub.cork import Cork
from uwsgi_ws.hub.poller import Receiver
from uwsgi_ws.log.rationed import Rationed
from uwsgi_ws.net.base import ClientStream
from uwsgi_ws.protocol.bucket import TokenBucket
from uwsgi_ws.protocol.http.http2 import Head, read_head
from uwsgi_ws.request.base import Request

__all__ = ["Http2Front", "StreamWorker"]

_log = Rationed(logging.getLogger("uwsgi_ws.http2"))

#: Bytes that wait for the socket: past the first no stream may add to them, past the second nothing more is read.
_OUTPUT_LIMIT, _OUTPUT_FLOOD = 65_536, 262_144
#: Bytes that a stream sends before it is the next one's turn.
_SHARE = 32_768
#: Bytes given to h2 at once, so that a flood is noticed before it has cost much.
_BITE = 16_384
#: Frames that cost work and carry nothing; as nghttp2 limits resets, the most of them that a browser has been seen to
#: need (closing a page full of streams) being far below.
_BURST, _RATE = 1_000, 33
#: WINDOW_UPDATEs that each DATA frame of ours may be answered with: stream and connection. A client whose buffers are
#: smaller than the frame, such as haproxy's, answers each part of it: one more for so many bytes.
_UPDATES_PER_FRAME, _BYTES_PER_UPDATE = 2, 2_048
#: Seconds without a request after which a client that came while the server was stopping is told to go elsewhere.
_SILENCE_WHILE_STOPPING = 1.0
#: Seconds for a client to hang up after our goodbye, so that no reset eats our last answer.
_LINGER = 2.0
_LINGER_BYTES = 1_048_576
#: Bytes of a head that is kept for the next request like it.
_KEPT_HEAD = 4_096
#: Seconds after which a greenlet that serves one request after the other lets the loop look at other clients.
_SPELL = 0.005


class StreamWorker:
    """A greenlet that serves requests of a connection: to the server, a front like others.

    Attributes:
        front: The connection's.
        core: The worker's place it takes.
        request: The one being answered, if any.
    """

    __slots__ = ("core", "front", "request")

    is_idle = has_streams = has_moments = False  # it ends when there is nothing to do
    owes_since = math.inf

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
            request.release()

    def goodbye(self) -> None:
        """The connection's own front tells the client."""

    def progress(self) -> int | None:
        """See Front."""
        return None if self.request is None else self.request.stream.progress()

    def evict(self) -> None:
        """See Front."""
        if self.request is not None:
            self.request.stream.expire()


class Http2Front(Receiver):
    """Serves one client until either side has had enough.

    Args:
        stream: The client's; closed at the end.
        settings: The worker's.
        peer: Who is at both ends.
        core: The worker's place it takes.
        handle: Answers a request; it must not raise.
        spawn: Runs a StreamWorker in a greenlet of the process; False when there is no slot. Then
            ``place_is_free`` is called once there is one.
        hub: The hub.
        cork: When answers may wait for the end of the loop's turn; None has each go out at once.
    """

    has_moments = True

    def __init__(
        self,
        stream: ClientStream,
        settings: StreamSettings,
        peer: Peer,
        core: int,
        handle: Callable[[Request], None],
        spawn: Callable[[StreamWorker], bool],
        hub: Hub,
        cork: Cork | None = None,
    ) -> None:
        self.hub: Any = hub
        self.settings = settings
        self._stream = stream
        self.handle = handle
        self._spawn = spawn
        self._cork = cork
        self._worker = StreamWorker(self, core)
        self._helpers = 0  # greenlets beside the connection's own
        self._variables = {"SCRIPT_NAME": "", **peer.variables()}
        self.scheme = peer.scheme
        self._name = peer.name
        self._h2 = Engine(settings.limits.head_size)
        self._budget = TokenBucket(_BURST, _RATE, monotonic())
        self._streams: dict[int, Http2Stream] = {}
        self._waiting: deque[Http2Request] = deque()  # requests that no greenlet has taken up
        self._parked: Any = None  # the connection's greenlet, while it has nothing to do
        self._is_waking = False  # it will be switched to
        self._is_called = False  # a greenlet will take up what waits
        self._is_looking = False  # the hub will see whether something still waits
        self._is_in_line = False  # for a place of the worker's
        self._idle_since = monotonic()  # when the last stream ended, while none is open
        self._timer: Any = None  # of the silence that ends the connection
        self._is_silent = False
        self._has_served = False
        self._leaves_soon = False  # once the first requests have come
        self._is_leaving = False
        self._is_evicted = False
        self._is_lost = False
        self._to_drop: int | None = None  # bytes that a peer may send after an error of its
        self._output = bytearray()  # what the socket has not taken
        self._is_paused = False
        self._line: dict[Http2Stream, None] = {}  # who waits to write, in turn
        self._has_sent = False
        self._is_receiving = False  # what is made meanwhile goes out together
        self._is_corked = False  # what has been made goes out at the end of the turn
        self._heard_at = 0.0

    # The connection's life

    def run(self) -> None:
        """Serve requests until the connection ends."""
        try:
            self.flush()
            if not self._is_lost:
                self._stream.start_receiving(self)
            self._watch_silence()
            while self._wait_for_requests():
                self._serve(self._worker)
            self._linger()
        finally:
            self._lose()
            del self._worker.front  # they know each other

    @property
    def request(self) -> Request | None:
        """The request that this greenlet answers, if any."""
        return self._worker.request

    @property
    def has_streams(self) -> bool:
        """See Front."""
        return bool(self._streams)

    @property
    def is_idle(self) -> bool:
        """Whether no stream is open, so that the client expects that the connection may be closed."""
        return self._has_served and not self._streams

    @property
    def owes_since(self) -> float:
        """See Front."""
        return math.inf if self._streams else self._idle_since

    def goodbye(self) -> None:
        """Tell the client to open no more streams here; those that are open go on (RFC 9113 6.8).

        A client that has opened none yet may have sent its first requests already: they are served.
        """
        if self._is_leaving or self._is_lost:
            return
        if self._h2.highest_inbound_stream_id:
            self._say_goodbye(ErrorCodes.NO_ERROR)
            self._wake()
        else:
            self._leaves_soon = True
            self._watch_silence()

    def progress(self) -> int | None:
        """See Front."""
        return self._worker.progress()

    def evict(self) -> None:
        """See Front: the request that this greenlet answers, or, while there is no stream, the connection."""
        if self._worker.request is not None:
            self._is_evicted = True  # once its streams have ended: it is this greenlet's place that is needed
            self._worker.evict()
        elif not self._streams:
            self._is_evicted = True
            self._wake()

    def _wait_for_requests(self) -> bool:
        """Wait until there are some; False when there are none to come, and nobody is at one."""
        while not self._is_lost and self._to_drop is None:
            if self._waiting and not self._is_looking:
                return True
            if not self._streams and (self._is_leaving or self._is_silent or self._is_evicted):
                return False
            self._park()
            self._is_called = False  # or what it was called for has been taken back
        return False

    def _park(self) -> None:
        """Wait until woken; anything may have happened then."""
        self._parked = getcurrent()
        try:
            self.hub.switch()
        finally:
            self._parked = None

    def _wake(self) -> None:
        if self._parked is not None and not self._is_waking:
            self._is_waking = True
            self.hub.loop.run_callback(self._switch)

    def _switch(self) -> None:
        self._is_waking = False
        if self._parked is not None:
            self._parked.switch()

    def _watch_silence(self) -> None:
        """Set the timer to the longest silence that is allowed now."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        if self._is_lost or self._streams:
            return  # the last stream's end is the next time to come here
        timeout = self.settings.idle_timeout if self._has_served else self.settings.head_timeout
        if self._leaves_soon:
            timeout = min(timeout, _SILENCE_WHILE_STOPPING)
        left = self._idle_since + timeout - monotonic()
        if left <= 0:
            self._is_silent = True
            self._wake()
        else:
            self._timer = self.hub.loop.timer(left)
            self._timer.start(self._watch_silence)

    def help(self, worker: StreamWorker) -> None:
        """Serve what waits, in a greenlet beside the connection's own."""
        try:
            self._serve(worker)
        finally:
            self._helpers -= 1

    def _serve(self, worker: StreamWorker) -> None:
        """Serve requests that wait, until there are none or it is time to look at other clients."""
        self._is_called = False
        began_at = monotonic()
        while self._waiting:
            self._has_served = True
            request = self._waiting.popleft()
            if self._waiting and not self._is_looking:
                # The hub gets there as soon as this greenlet has to wait.
                self._is_looking = True
                self.hub.loop.run_callback(self._look)
            worker.serve(request)
            if self._waiting and monotonic() - began_at > _SPELL:
                if not self._is_looking:
                    self._is_looking = True
                    self.hub.loop.run_callback(self._look)
                return

    def _look(self) -> None:
        self._is_looking = False
        self._dispatch()

    def _dispatch(self) -> None:
        """Have the requests that wait taken up, by one greenlet, which goes on while it need not wait."""
        if not self._waiting or self._is_called or self._is_looking:
            return
        if self._parked is not None:
            self._is_called = True
            self._wake()
        elif self._helpers < MAX_STREAMS and not self._is_in_line:
            if self._spawn(StreamWorker(self)):
                self._is_called = True
                self._helpers += 1
            else:
                self._is_in_line = True

    def place_is_free(self) -> None:
        """One of the worker's places is free again."""
        self._is_in_line = False
        self._dispatch()

    def _linger(self) -> None:
        """Say goodbye, and wait until the client has read all we said."""
        if not self._is_leaving and not self._is_lost:
            self._say_goodbye(ErrorCodes.NO_ERROR)
        self.flush()
        self._wait_for_end(self.settings.io_timeout, lambda: not self._output)
        if not self._is_lost:
            self._stream.shutdown()
            self._wait_for_end(_LINGER, lambda: False)

    def _wait_for_end(self, timeout: float, is_enough: Callable[[], bool]) -> None:
        """Wait until the connection ends, or the place is needed, or time is up, or it is enough."""
        deadline = monotonic() + timeout
        timer = self.hub.loop.timer(timeout)
        timer.start(self._wake)
        try:
            while not (self._is_lost or self._is_evicted or is_enough() or monotonic() >= deadline):
                self._park()
        finally:
            timer.close()

    def _say_goodbye(self, code: ErrorCodes) -> None:
        self._is_leaving = True
        self.flush(self._h2.goodbye(code))

    def _fail(self, reason: str) -> None:
        """The peer has broken the protocol, or asked too much: end all streams; what it still sends is dropped."""
        _log.warning("%s: %s", self._name, reason)
        self._to_drop = _LINGER_BYTES
        self._lose_streams()
        self._wake()

    def _lose(self) -> None:
        """The connection is gone, and all its streams with it."""
        if not self._is_lost:
            if not self._is_leaving:
                self._say_goodbye(ErrorCodes.NO_ERROR)  # for whom this greenlet was ended
            self.flush()
            self._is_lost = True
            self._stream.close()
            self._h2.receive_no_more()
            self._output.clear()
            self._line.clear()
            self._lose_streams()
            self._wake()
            self._watch_silence()

    def _lose_streams(self) -> None:
        self._waiting.clear()
        for stream in list(self._streams.values()):
            stream.lose()

    # Bytes come

    def receive(self, data: bytes) -> None:
        """See Receiver."""
        if not data:
            self._is_leaving = True  # the client has left
            self._lose()
            return
        self._heard_at = monotonic()
        self._is_receiving = True
        try:
            self._receive_bites(data)
        finally:
            self._is_receiving = False
            self.flush()
        if len(self._output) > _OUTPUT_FLOOD and not self._is_lost:
            self._is_paused = True
            self._stream.pause_receiving()

    def _receive_bites(self, data: bytes) -> None:
        for start in range(0, len(data), _BITE):
            if self._to_drop is not None:
                self._to_drop -= _BITE
                if self._to_drop < 0:
                    self._lose()
            if self._is_lost or self._to_drop is not None:
                return
            self._receive_bite(data[start : start + _BITE])

    def _receive_bite(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as exc:
            self._is_leaving = True
            self.flush()  # h2 has made a GOAWAY that says why
            self._fail(what(exc))
            return
        cost = 0
        for event in events:
            take = _TAKE.get(type(event))
            if take is not None and not self._is_lost:
                cost += take(self, event)
        if cost:
            self._charge(cost, self._heard_at)
        if len(self._h2.made) > _OUTPUT_LIMIT:
            self.flush()

    def _charge(self, cost: int, now: float) -> None:
        """Take it off the budget of a peer that causes work; without any left, the connection ends."""
        if not (self._is_lost or self._budget.spend(cost, now)) and self._to_drop is None:
            self._say_goodbye(ErrorCodes.ENHANCE_YOUR_CALM)
            self._fail("too many frames that carry nothing")

    # What an event says is done by one of these, which return what it takes of the budget.

    def _take_end(self, event: StreamEnded) -> int:
        if (stream := self._streams.get(event.stream_id)) is not None:
            stream.end()
        return 0

    def _take_window(self, event: WindowUpdated) -> int:
        self._call_line()
        return 1

    def _take_settings(self, event: RemoteSettingsChanged) -> int:
        self._h2.limit_table()
        self._call_line()
        return 1

    def _take_goodbye(self, event: ConnectionTerminated) -> int:
        self._is_leaving = True
        self._wake()
        return 0

    def _take_ballast(self, event: H2Event) -> int:
        return 1

    def _take_data(self, event: DataReceived) -> int:
        data, size = event.data or b"", event.flow_controlled_length or 0
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.take(data, size)
        else:
            self._give_back(event.stream_id, size)
        return int(not data and not event.stream_ended)

    def _take_request(self, event: RequestReceived) -> int:
        stream = self._streams[event.stream_id] = Http2Stream(self, event.stream_id)
        self._is_silent = False
        if self._is_leaving:
            self.drop(stream, REFUSED_STREAM)  # RFC 9113 8.7: the client may try again elsewhere
            return 0
        if self._leaves_soon:
            self.hub.loop.run_callback(self.goodbye)  # after what came together with it
        try:
            head = self._read_head(event.headers)
        except RequestError as error:
            _log.warning("%s: %d %s", self._name, error.status, error.reason)
            fields = [(b":status", b"%d" % error.status), (b"content-length", b"0")]
            fields += [(name.lower().encode(), value.encode("latin-1")) for name, value in error.headers]
            try:
                self.send_head(stream, fields, is_end=True)
            except OSError:
                pass  # the client has taken the request back, together with it
            stream.close()
            return 0
        if head.dropped_names is not None:
            say_dropped(head.dropped_names)
        self._waiting.append(Http2Request(self, stream, head))
        self._dispatch()
        return 0

    def _read_head(self, fields: Any) -> Head:
        """Return a head; fields that come again and again are looked at once."""
        assert isinstance(fields, FieldList), "the engine's"
        head = fields.head
        if head is None:
            key = base64.b64encode(os.urandom(16)).decode()
            head = read_head(fields, key, self.settings.limits)
            head.variables.update(self._variables)
            if not head.is_websocket and head.size <= _KEPT_HEAD:
                fields.head = replace(head, variables=dict(head.variables))
            return head
        return Head(dict(head.variables), head.size, head.expects_continue, False, head.content_length)

    def _take_malformed(self, event: Malformed) -> int:
        _log.warning("%s: a malformed request: %s", self._name, event.reason)
        return self._take_reset(event)

    def _take_reset(self, event: StreamReset | Malformed) -> int:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return 1
        stream.lose()
        for request in self._waiting:
            if request.stream is stream:  # taken back before anybody looked at it
                self._waiting.remove(request)
                stream.close()
                break
        return 1

    # What streams ask for (see http2_stream.Carrier)

    def fileno(self) -> int:
        """See Carrier."""
        return self._stream.fileno()

    def send_head(self, stream: Http2Stream, fields: Sequence[tuple[bytes, bytes]], *, is_end: bool = False) -> None:
        """Make a head, to be sent together with what follows it.

        Args:
            stream: Whose.
            fields: Checked already, names in lower case; ``:status`` first.
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

    def answer(self, stream: Http2Stream, fields: Sequence[tuple[bytes, bytes]], data: bytes) -> bool:
        """Send a whole response, unless there is no room for its body; return whether it is done.

        It may wait for those that follow it in the loop's turn, while they come without delay.

        Raises:
            OSError: the stream has ended.
        """
        if self._is_lost:
            raise BrokenPipeError("the connection has ended")
        if len(data) > min(self.room(stream), _BITE, self._h2.max_outbound_frame_size):
            return False
        self.send_head(stream, fields, is_end=not data)
        if data:
            self._h2.send_data(stream.number, data, end_stream=True)
            self._budget.earn(_UPDATES_PER_FRAME)
            stream.is_shut = True
        if self._cork is not None and self._cork.may_cork(self._heard_at):
            if not self._is_corked:
                self._is_corked = True
                self._cork.touch(self)
        else:
            self.flush()
        return True

    def room(self, stream: Http2Stream) -> int:
        """See Carrier."""
        try:
            window = self._h2.local_flow_control_window(stream.number)
        except ProtocolError:
            return 0
        return min(window, _OUTPUT_LIMIT - len(self._output) - len(self._h2.made), _SHARE)

    def taken_for(self, stream: Http2Stream) -> int:
        """See Carrier."""
        try:
            if self._h2.local_flow_control_window(stream.number) <= 0:
                return 0
        except ProtocolError:
            return 0
        return self._stream.progress()

    def send_data(self, stream: Http2Stream, data: memoryview, *, is_end: bool) -> None:
        """See Carrier."""
        self._has_sent = True
        size = min(self._h2.max_outbound_frame_size, _BITE)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            self._h2.send_data(stream.number, piece, end_stream=is_end and start + size >= len(data))
            self._budget.earn(_UPDATES_PER_FRAME + len(piece) // _BYTES_PER_UPDATE)
        self._flush()

    def charge_crumb(self) -> None:
        """See Carrier; a peer that opens its window byte by byte would else earn what its updates cost."""
        self._charge(_UPDATES_PER_FRAME, monotonic())

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
        self._h2.forget(stream.number)
        if not self._streams and not self._is_lost:
            self._idle_since = monotonic()
            if self._timer is None:
                self._watch_silence()
            if self._is_leaving or self._is_evicted:
                self._wake()

    def line_up(self, stream: Http2Stream) -> None:
        """See Carrier."""
        self.flush()
        self._line[stream] = None
        if self.room(stream) > 0:
            self.hub.loop.run_callback(self._call_line)

    def step_out(self, stream: Http2Stream) -> None:
        """See Carrier."""
        self._line.pop(stream, None)

    def _call_line(self) -> None:
        """Let those who wait write, each its share, as long as there is room."""
        self._has_sent = False
        if len(self._h2.made) >= _SHARE:
            self.flush()  # it takes their room
        for stream in list(self._line):
            if stream in self._line and self.room(stream) > 0:
                del self._line[stream]
                self._line[stream] = None  # behind the others, should it want more
                stream.write_on()
        if self._has_sent and self._line and not self._output:
            self.hub.loop.run_callback(self._call_line)

    # Bytes go

    def _flush(self) -> None:
        """Have sent what h2 has made: at once, unless the hub is about to, when all that came has been seen to."""
        if not self._is_receiving or getcurrent() is not self.hub:
            self.flush()

    def flush(self, last: bytes = b"") -> None:
        """Send what h2 has made, and ``last``; what the socket does not take waits."""
        self._is_corked = False
        data = self._h2.data_to_send() + last
        if not data or self._is_lost:
            return
        if self._output:
            self._output += data
            return
        try:
            sent = self._stream.send(data)
        except OSError:
            self._is_leaving = True
            self._lose()
            return
        if sent < len(data):
            self._output += data[sent:]
            self._stream.when_writable(self._write_on)

    def _write_on(self) -> None:
        """The socket takes bytes again."""
        try:
            sent = self._stream.send(bytes(self._output[:_OUTPUT_LIMIT]))
        except OSError:
            self._is_leaving = True
            self._lose()
            return
        if not sent:
            return
        del self._output[:sent]
        if not self._output:
            self._stream.stop_writing()
            self._wake()
        if self._is_paused and len(self._output) < _OUTPUT_LIMIT:
            self._is_paused = False
            self._stream.start_receiving(self)
        self._call_line()


_TAKE: Final[dict[type, Callable[[Http2Front, Any], int]]] = {
    Ballast: Http2Front._take_ballast,
    ConnectionTerminated: Http2Front._take_goodbye,
    DataReceived: Http2Front._take_data,
    Malformed: Http2Front._take_malformed,
    PingAckReceived: Http2Front._take_ballast,
    PingReceived: Http2Front._take_ballast,
    PriorityUpdated: Http2Front._take_ballast,
    RemoteSettingsChanged: Http2Front._take_settings,
    RequestReceived: Http2Front._take_request,
    SettingsAcknowledged: Http2Front._take_ballast,
    StreamEnded: Http2Front._take_end,
    StreamReset: Http2Front._take_reset,
    UnknownFrameReceived: Http2Front._take_ballast,
    WindowUpdated: Http2Front._take_window,
}
