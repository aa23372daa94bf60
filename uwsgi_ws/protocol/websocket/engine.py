"""One end of an open WebSocket connection as a state machine: the server's side of RFC 6455 5 to 8.

Bytes from the peer go into ``receive``; whole messages come out of ``messages``; what must be written in answer
(pongs, close frames) collects in ``output``, already encoded and in order, for ``take_output``. Nothing is raised for a
peer's fault: the machine fails the connection (7.1.7), keeps the cause, and ignores whatever comes after.

With permessage-deflate (RFC 7692) a message whose first frame has RSV1 set is inflated as it comes, and ours are
compressed where that makes them shorter.

What it keeps of the peer's bytes is bounded. An unfinished message takes no more than the limit of a message, and only
while it may still be delivered: our close frame, a failure and the end of the stream each drop it. While
``MAX_WAITING`` messages wait to be taken, further bytes are not parsed: they are kept as they came (``has_rest``) until
``receive`` is called again.

The closing handshake, as the table below has it. A connection is OPEN until either side closes. The peer's close
frame is answered at once, with its own code; ours waits in CLOSING for the peer's. Once a close frame has gone
both ways, or the connection has failed, ``finished`` is true. Then the owner of the stream shuts the TCP connection, as
the server does that first (7.1.1); the end of the stream makes the machine CLOSED.

The peer may cause an ending, by a close frame or a fault, while earlier messages still wait in ``messages``. Such an
ending is postponed: the application may answer these messages, and then ``settle`` carries the ending out. (RFC 6455
5.5.1: an endpoint may delay its close frame; Autobahn calls a server that drops the answers NON-STRICT.)

A *trace* gets a line for each frame, change of state and fault (``websocket.transcript`` has the notation). A *tap* is
told of whole messages and control frames with their payloads. With either, each read goes through the general reader;
without, nothing on the hot path asks for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum, auto
from operator import index

from uwsgi_ws.errors import ConnectionClosed, FrameError, InvalidState, MessageTooBig
from uwsgi_ws.protocol.plain import octets, plain_str
from uwsgi_ws.protocol.websocket import frames
from uwsgi_ws.protocol.websocket.deflate import Deflate, Inflater
from uwsgi_ws.protocol.websocket.frames import (
    CLOSE,
    CONTINUATION,
    NAMES,
    PING,
    PONG,
    SHORT_HEADERS,
    SHORT_MESSAGES,
    TEXT,
    CloseCode,
)
from uwsgi_ws.protocol.websocket.messages import MESSAGE_OVERHEAD, Assembler, Message, Piece, check_text
from uwsgi_ws.protocol.websocket.prepared import Prepared
from uwsgi_ws.protocol.websocket.speed import Masker, unmask

__all__ = ["HIGH_WATER", "OPEN", "Input", "State", "Tap", "Trace", "WebSocket"]

#: Called with each line of a transcript; it must neither raise nor wait, nor call the engine.
Trace = Callable[[str], None]
#: Called with ``<`` or ``>``, an opcode and a payload; and with ``=``, the close code and its reason once the stream
#: has ended. As ``Trace``.
Tap = Callable[[str, int, bytes], object]

#: Bytes of whole messages that may wait for the application before no more is read from the peer.
HIGH_WATER = 65_536
#: Messages that may wait, however short they are.
MAX_WAITING = HIGH_WATER // MESSAGE_OVERHEAD


class State(Enum):
    """Where a connection is between its handshakes (RFC 6455 4 and 7)."""

    __hash__ = object.__hash__  # Enum's own is a call of Python's

    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


#: Members as plain globals: looking one up in its Enum takes as long as some calls (until Python 3.12).
OPEN, _CLOSED = State.OPEN, State.CLOSED


class Input(Enum):
    """What can move a connection from one state to the next."""

    __hash__ = object.__hash__

    SEND_CLOSE = auto()
    RECEIVE_CLOSE = auto()
    FAIL = auto()
    RECEIVE_EOF = auto()


_RECEIVE_CLOSE, _RECEIVE_EOF = Input.RECEIVE_CLOSE, Input.RECEIVE_EOF

TRANSITIONS: dict[State, dict[Input, State]] = {
    State.OPEN: {
        Input.SEND_CLOSE: State.CLOSING,
        Input.RECEIVE_CLOSE: State.CLOSING,
        Input.FAIL: State.CLOSING,
        Input.RECEIVE_EOF: State.CLOSED,
    },
    State.CLOSING: {
        Input.RECEIVE_CLOSE: State.CLOSING,
        Input.FAIL: State.CLOSING,
        Input.RECEIVE_EOF: State.CLOSED,
    },
    State.CLOSED: {},
}


_short_message = SHORT_MESSAGES.get

#: What a connection's ``messages`` are until there is one, shared by all: a deque takes 760 bytes, and the messages of
#: a connection whose application keeps up are handed over past it.
_NO_MESSAGES: deque[Message | Piece] = deque(maxlen=0)


class WebSocket:
    """The protocol state of one connection.

    Invariants: after ``finished`` nothing is added to ``messages`` or ``output``; at most one close frame is
    ever put into ``output``, and nothing after it.

    Args:
        max_message_size: Bytes allowed in one message, all its fragments counted.
        takes_unmasked: Whether frames that are not masked are taken (against 5.1), as uWSGI does.
        trace: Gets the transcript; None for none.
        deflate: This end of permessage-deflate; None where it has not been agreed on.
    """

    __slots__ = (
        "_assembler",
        "_frame_fin",
        "_frame_left",
        "_is_deaf",
        "_masker",
        "_pending",
        "_takes_unmasked",
        "cause",
        "close_code",
        "close_reason",
        "close_received",
        "close_sent",
        "deflate",
        "ending",
        "finished",
        "frames_received",
        "has_rest",
        "has_unmasked",
        "is_idle",
        "is_quiet",
        "is_watched",
        "max_message_size",
        "messages",
        "output",
        "ping_payload",
        "state",
        "streaming",
        "tap",
        "trace",
    )

    def __init__(
        self,
        max_message_size: int,
        takes_unmasked: bool = False,
        trace: Trace | None = None,
        deflate: Deflate | None = None,
    ) -> None:
        self.max_message_size = max_message_size
        self._takes_unmasked = takes_unmasked
        #: An unmasked frame has come, and been taken.
        self.has_unmasked = False
        self.state = OPEN
        self.messages = _NO_MESSAGES
        #: What must be written, in order; None, or nothing, for most of a connection's time.
        self.output: list[bytes] | None = None
        #: The payload of our ping that the peer has not answered yet.
        self.ping_payload: bytes | None = None
        #: Deliver the next message as Pieces while it arrives; goes back to False with the final piece.
        self.streaming = False
        self.close_code: int | None = None
        self.close_reason = ""
        self.close_sent = False
        self.close_received = False
        self.finished = False
        #: An ending that is postponed while messages wait: the fault, or the peer's close code and reason.
        self.ending: FrameError | tuple[int | None, str] | None = None
        #: What made us fail the connection, if we did.
        self.cause: FrameError | None = None
        #: There are bytes that have not been looked at, as too many messages wait.
        self.has_rest = False
        # The beginning of a frame that cannot be judged yet: a header or a control frame. Or the rest.
        self._pending = b""
        self._assembler: Assembler | None = None  # of the message in progress
        # Of the data frame whose payload is arriving: bytes still to come, its FIN bit, its unmasking state.
        self._frame_left = 0
        self._frame_fin = False
        self._masker: Masker | None = None
        #: Frames whose headers have come, of all kinds; without the messages that ``speed.short_message`` delivers.
        self.frames_received = 0
        self._is_deaf = False  # the peer has ended the connection: later bytes are not processed
        #: Nothing is in progress: the next bytes begin a frame, and a message in them may be delivered without the
        #: machine (see ``speed.short_message``).
        self.is_idle = trace is None and max_message_size >= frames.MAX_MEDIUM
        self.trace = trace  # set by ``trace_to``
        self.tap: Tap | None = None  # set by ``tap_to``
        #: Somebody follows what comes and goes, by a trace or a tap.
        self.is_watched = trace is not None
        self.deflate = deflate
        #: Open, neither watched nor compressed: a message may be encoded without further questions.
        self.is_quiet = trace is None and deflate is None

    def trim(self) -> None:
        """Give back what messages that have been taken leave behind: for who takes them as they come, and not often."""
        if not self.messages:
            self.messages = _NO_MESSAGES

    def trace_to(self, trace: Trace | None) -> None:
        """Have the transcript go elsewhere from now on; None: nowhere."""
        self.trace = trace
        self._note_watched()

    def tap_to(self, tap: Tap | None) -> None:
        """Have somebody told of messages and control frames with their payloads from now on; None: nobody."""
        self.tap = tap
        self._note_watched()

    def _note_watched(self) -> None:
        self.is_watched = self.trace is not None or self.tap is not None
        self.is_quiet = not self.is_watched and self.deflate is None and self.state is OPEN
        self._note_idle()

    # Receiving

    def receive(self, data: bytes) -> bool:
        """Take bytes from the peer, in order and cut anywhere; ``b""`` goes on with a rest.

        Returns:
            True when something other than messages came of it: look at ``output``, ``ping_payload``, ``ending``,
            ``finished``, ``has_rest``.
        """
        if self._is_deaf:
            return False  # 7.1.7: after failing, further data is not processed
        if self._pending:
            data = self._pending + data
            self._pending = b""
            self.has_rest = False
        start = 0
        try:
            if self._assembler is None and not self.streaming and not self.is_watched:
                # The hot path: nearly every frame is a short whole message, told by its first two bytes. Whatever
                # else comes goes to the general reader, with all that follows.
                end = len(data)
                while start < end:
                    header = _short_message(data[start : start + 2])
                    if header is None:
                        break
                    opcode, size = header
                    stop = start + size
                    if stop > end or size - 6 > self.max_message_size:
                        break
                    if self.state is OPEN:
                        if len(self.messages) >= MAX_WAITING:
                            break
                        body = start + 6
                        payload = Masker(data[start + 2 : body]).process(data[body:stop])
                        if opcode == TEXT and not payload.isascii():
                            check_text(payload)
                        self._put((opcode, payload))
                    self.frames_received += 1
                    start = stop
                if start == end:
                    if not self.is_idle:
                        self._note_idle()
                    return False
            attention = self._receive_frames(data, start)
        except FrameError as exc:
            self._conclude(exc)
            attention = True
        self._note_idle()
        return attention

    def _receive_frames(self, data: bytes, start: int) -> bool:
        """Read any frames from ``data[start:]``; the general case of the loop in ``receive``."""
        attention = False
        end = len(data)
        while True:
            if len(self.messages) >= MAX_WAITING and start < end and self.state is OPEN:
                self._pending = data[start:]
                self.has_rest = True
                return True
            if self._masker is not None:
                start = self._receive_payload(data, start)
                if self._masker is not None:
                    return attention
                continue
            header = frames.parse_header(data, start, self._takes_unmasked, self.deflate is not None)
            if header is None:
                break
            if self._takes_unmasked and not data[start + 1] & frames.MASKED:
                self.has_unmasked = True
            body = start + header.size
            if header.opcode >= CLOSE:
                if body + header.length > end:
                    break
                self.frames_received += 1
                start = body + header.length
                payload = unmask(header.key, data[body:start])
                if self.trace is not None:
                    self.trace(f"< {NAMES[header.opcode]} {header.length}")
                if self.tap is not None:
                    self.tap("<", header.opcode, payload)
                self._receive_control(header.opcode, payload)
                attention = True
                if self._is_deaf:
                    return True
            else:
                self.frames_received += 1
                start = body
                if self.trace is not None:
                    self.trace(f"< {NAMES[header.opcode]} {header.length}{'' if header.fin else ' more'}")
                stop = body + header.length
                if header.fin and stop <= end and header.opcode and self._assembler is None and not self.streaming:
                    self._receive_message(header, data[body:stop])
                    start = stop
                else:
                    self._begin_data_frame(header)
        if start < end:
            self._pending = data[start:]
        return attention

    def stream_next(self, streaming: bool) -> None:
        """Deliver the next message as Pieces while it arrives, what is there of it at once; or take that back."""
        self.streaming = streaming
        if streaming and self._assembler is not None:
            self._deliver(self._assembler, final=False)
        self._note_idle()

    def _note_idle(self) -> None:
        self.is_idle = (
            self.state is OPEN
            and not self.is_watched
            and not (self._is_deaf or self._pending or self.streaming)
            and self._assembler is None
            and self.max_message_size >= frames.MAX_MEDIUM
        )

    def _receive_message(self, header: frames.FrameHeader, masked: bytes) -> None:
        """Take a whole message in one frame; nothing of it needs to be kept while more comes."""
        if header.length > self.max_message_size and not header.is_compressed:
            raise MessageTooBig(header.length, self.max_message_size)
        if self.state is not OPEN:
            return  # data that crosses our close frame is legal, and not delivered
        payload = unmask(header.key, masked)
        if header.is_compressed:
            inflater = self._inflater()
            payload = inflater.inflate(payload) + inflater.finish()
        if header.opcode == TEXT:
            check_text(payload)
        if self.tap is not None:
            self.tap("<", header.opcode, payload)
        self._put((header.opcode, payload))

    def _inflater(self) -> Inflater:
        assert self.deflate is not None, "no frame is compressed without"
        return self.deflate.inflater(self.max_message_size)

    def _begin_data_frame(self, header: frames.FrameHeader) -> None:
        assembler = self._assembler
        if header.opcode == CONTINUATION:
            if assembler is None:
                raise FrameError("continuation frame, but no message is in progress")
        elif assembler is not None:
            raise FrameError("new message inside a fragmented one")
        else:
            inflater = self._inflater() if header.is_compressed else None
            assembler = self._assembler = Assembler(header.opcode, self.max_message_size, inflater)
            if self.state is not OPEN:
                assembler.drop()
        assembler.announce(header.length)
        self._frame_left = header.length
        self._frame_fin = header.fin
        self._masker = Masker(header.key)

    def _receive_payload(self, data: bytes, start: int) -> int:
        """Take what ``data[start:]`` holds of the current data frame; return where the next frame begins."""
        assembler, masker = self._assembler, self._masker
        assert assembler is not None
        assert masker is not None
        piece = data[start : start + self._frame_left]
        if piece:
            assembler.add_masked(masker, piece)
            self._frame_left -= len(piece)
        if not self._frame_left:
            self._masker = None
            assembler.end_frame()
            if self._frame_fin:
                self._assembler = None
                self._deliver(assembler, final=True)
                return start + len(piece)
        if self.streaming:
            self._deliver(assembler, final=False)
        return start + len(piece)

    def _deliver(self, assembler: Assembler, *, final: bool) -> None:
        payload = assembler.finish() if final else assembler.take()
        if self.state is not OPEN:
            return
        if self.tap is not None and (payload or final):
            self.tap("<", assembler.opcode, payload)
        if not self.streaming:
            self._put((assembler.opcode, payload))
        elif payload or final:
            self._put(Piece(assembler.opcode, payload, final))
            self.streaming = not final

    def _put(self, message: Message | Piece) -> None:
        if self.messages is _NO_MESSAGES:
            self.messages = deque()
        self.messages.append(message)

    def _receive_control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            if not self.close_sent:
                self._put_control(PONG, payload)
        elif opcode == CLOSE:
            self._receive_close(payload)
        elif payload == self.ping_payload:
            self.ping_payload = None
        # Any other pong is unsolicited and means nothing (5.5.3).

    def _receive_close(self, payload: bytes) -> None:
        self._conclude(frames.parse_close(payload))

    def _conclude(self, ending: FrameError | tuple[int | None, str]) -> None:
        """End the connection, as the peer has caused: now, or once the earlier messages have been taken."""
        self._is_deaf = True
        self.is_idle = False
        self._forget()
        if isinstance(ending, FrameError):
            ending.__traceback__ = None  # its frames know what the peer sent
        self.ending = ending
        if not self.messages or self.state is not OPEN:
            self.settle()

    def _forget(self) -> None:
        """Drop what the peer has begun: it will not be finished."""
        self._assembler = self._masker = None
        self._pending = b""
        self.has_rest = False

    def settle(self) -> None:
        """Carry out the ending that is postponed; without effect when there is none."""
        ending, self.ending = self.ending, None
        if isinstance(ending, FrameError):
            self.fail(ending)
        elif ending is not None and not self.finished:
            code, reason = ending
            self.close_received = True
            if not self.close_sent:
                # 5.5.1: "it typically echos the status code it received".
                self._end(_RECEIVE_CLOSE, CloseCode.NO_STATUS_RECEIVED if code is None else code, reason)
                self._put_close(frames.encode_close(code))
            self.finished = True

    def receive_eof(self) -> None:
        """Take note that the stream has ended, by either side."""
        if self.state is _CLOSED:
            return
        self.settle()
        if not self.close_received and self.cause is None:
            self.close_code, self.close_reason = int(CloseCode.ABNORMAL_CLOSURE), ""
        self._move(_RECEIVE_EOF)
        if self.trace is not None:
            self.trace(f"= CLOSED {self.close_code}")
        if self.tap is not None:
            self.tap("=", self.close_code or 0, self.close_reason.encode())
        self.finished = self._is_deaf = True
        self._forget()
        self.output = None  # the peer is gone

    # Sending

    def check_open(self) -> None:
        """Raise ConnectionClosed unless messages may still be sent."""
        if self.state is not OPEN:
            raise self.closed_error()

    def encode(self, opcode: int, payload: bytes) -> bytes:
        """Return one message for this peer alone, as it goes out; text is not checked.

        Data frames are made here, in ``encode_long`` and in ``frame_of``, and nowhere else.

        Raises:
            ConnectionClosed: no message may be sent any more.
        """
        length = len(payload)
        if not self.is_quiet:
            self._note_message(opcode, payload)
            if self.deflate is not None:
                return b"".join(self._compressed(opcode, payload))
        return (SHORT_HEADERS[opcode][length] if length < 126 else frames.encode_header(opcode, length)) + payload

    def encode_long(self, opcode: int, payload: bytes) -> tuple[bytes, bytes]:
        """Return what ``encode`` does in two parts, to be written together: what is long is not copied."""
        if not self.is_quiet:
            self._note_message(opcode, payload)
            if self.deflate is not None:
                return self._compressed(opcode, payload)
        return frames.encode_header(opcode, len(payload)), payload

    def encode_plain(self, opcode: int, payload: bytes) -> bytes:
        """Return what ``encode`` does, never compressed."""
        self._note_message(opcode, payload)
        return frames.encode(opcode, payload)

    def _compressed(self, opcode: int, payload: bytes) -> tuple[bytes, bytes]:
        assert self.deflate is not None, "asked before"
        compressed = self.deflate.compress(payload)
        if compressed is None:
            return frames.encode_header(opcode, len(payload)), payload
        return frames.encode_compressed_header(opcode, len(compressed)), compressed

    def frame_of(self, prepared: Prepared) -> bytes:
        """Return a message for many peers as this one takes it; raises as ``encode``."""
        if not self.is_quiet:
            self._note_message(prepared.opcode, prepared.payload)
            if self.deflate is not None:
                return prepared.compressed(self.deflate)
        return prepared.plain

    def _note_message(self, opcode: int, payload: bytes) -> None:
        self.check_open()
        if self.is_watched:
            self._note_sent(opcode, payload)

    def ping(self, payload: bytes) -> None:
        """Put a ping into ``output``; ``ping_payload`` becomes None once the peer has answered it."""
        self.check_open()
        payload = octets(payload, "the payload of a ping is bytes-like")
        if len(payload) > frames.MAX_CONTROL:
            raise ValueError(f"ping of {len(payload)} bytes, 125 allowed")
        self.ping_payload = payload
        self._put_control(PING, payload)

    def close(self, code: int | None = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin the closing handshake; without effect when it has begun, also by an ending that is postponed.

        Raises:
            TypeError: a code that is no integer, or a reason that is no str.
            ValueError: a code or reason that may not be sent; nothing was written.
        """
        if code is not None:
            code = index(code)  # of an IntEnum's member the access line would have the name
        reason = plain_str(reason, "a close reason is str")
        frame = frames.encode_close(code, reason)
        self.settle()
        if self.state is OPEN:
            self._end(Input.SEND_CLOSE, CloseCode.NO_STATUS_RECEIVED if code is None else code, reason)
            self._put_close(frame)

    def fail(self, cause: FrameError) -> None:
        """Fail the connection (7.1.7): tell the peer why, unless a close frame has gone out, and be finished."""
        if self.finished:
            return
        self.cause = cause
        if self.trace is not None:
            self.trace(f"! {cause.close_code} {cause}")
        if not self.close_sent:
            self._end(Input.FAIL, cause.close_code, cause.close_reason)
            self._put_close(frames.encode_close(cause.close_code, cause.close_reason))
        self.finished = self._is_deaf = True
        self._forget()

    def closed_error(self) -> ConnectionClosed:
        """Return the exception that tells an application how the connection ended."""
        if self.state is OPEN:
            raise InvalidState("the connection is open")
        error = ConnectionClosed(
            CloseCode.ABNORMAL_CLOSURE if self.close_code is None else self.close_code,
            self.close_reason,
            is_clean=self.is_clean,
        )
        error.__cause__ = self.cause
        return error

    @property
    def is_clean(self) -> bool:
        """Whether a close frame has gone both ways (7.1.4)."""
        return self.close_sent and self.close_received

    def _end(self, by: Input, code: int, reason: str) -> None:
        self._move(by)
        self.close_code, self.close_reason = int(code), reason
        if self.trace is not None:
            self.trace(f"= CLOSING {self.close_code}")
        if self._assembler is not None:
            self._assembler.drop()

    def take_output(self) -> Iterable[bytes]:
        """Return the frames that must be written, in order, and forget them."""
        output, self.output = self.output, None
        return output or ()

    def _add_output(self, frame: bytes) -> None:
        if self.output is None:
            self.output = [frame]
        else:
            self.output.append(frame)

    def _put_control(self, opcode: int, payload: bytes) -> None:
        self._add_output(frames.encode(opcode, payload))
        if self.is_watched:
            self._note_sent(opcode, payload)

    def _put_close(self, frame: bytes) -> None:
        self._add_output(frame)
        self.close_sent = True
        if self.is_watched:
            self._note_sent(CLOSE, frame[2:])

    def _note_sent(self, opcode: int, payload: bytes) -> None:
        if self.trace is not None:
            self.trace(f"> {NAMES[opcode]} {len(payload)}")
        if self.tap is not None:
            self.tap(">", opcode, payload)

    def _move(self, by: Input) -> None:
        self.state = TRANSITIONS[self.state][by]
        self.is_idle = self.is_quiet = False
