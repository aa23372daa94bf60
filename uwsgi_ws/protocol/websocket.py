"""One end of an open WebSocket connection as a state machine: the server's side of RFC 6455 5 to 8.

Bytes from the peer go into ``receive``; whole messages come out of ``messages``; what must be written in answer
(pongs, close frames) collects in ``output``, already encoded and in order. Nothing is raised for a peer's fault:
the machine fails the connection (7.1.7), keeps the cause, and ignores whatever comes after.

The closing handshake, as the table below has it. A connection is OPEN until either side closes. The peer's close
frame is answered at once, with its own code; ours waits in CLOSING for the peer's. Once a close frame has gone
both ways, or the connection has failed, ``finished`` is true: the server shuts the TCP connection first (7.1.1),
which whoever owns the stream does, and the end of the stream makes the machine CLOSED.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto

from uwsgi_ws.errors import ConnectionClosed, FrameError, InvalidState
from uwsgi_ws.protocol import frames
from uwsgi_ws.protocol.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT
from uwsgi_ws.protocol.masking import Masker, unmask
from uwsgi_ws.protocol.messages import Assembler, Message, Piece, check_text

__all__ = ["Input", "State", "WebSocket"]


class State(Enum):
    """Where a connection is between its handshakes (RFC 6455 4 and 7)."""

    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


class Input(Enum):
    """What can move a connection from one state to the next."""

    SEND_CLOSE = auto()
    RECEIVE_CLOSE = auto()
    FAIL = auto()
    RECEIVE_EOF = auto()


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

_FIN_TEXT, _FIN_BINARY = frames.FIN | TEXT, frames.FIN | BINARY


class WebSocket:
    """The protocol state of one connection.

    Invariants: after ``finished`` nothing is added to ``messages`` or ``output``; at most one close frame is
    ever put into ``output``, and nothing after it.

    Args:
        max_message_size: Bytes allowed in one message, all its fragments counted.
    """

    __slots__ = (
        "_assembler",
        "_frame_fin",
        "_frame_left",
        "_masker",
        "_pending",
        "cause",
        "close_code",
        "close_reason",
        "close_received",
        "close_sent",
        "finished",
        "max_message_size",
        "messages",
        "output",
        "ping_payload",
        "state",
        "streaming",
    )

    def __init__(self, max_message_size: int) -> None:
        self.max_message_size = max_message_size
        self.state = State.OPEN
        self.messages: deque[Message | Piece] = deque()
        self.output: list[bytes] = []
        #: The payload of our ping that the peer has not answered yet.
        self.ping_payload: bytes | None = None
        #: Deliver the next message as Pieces while it arrives; goes back to False with the final piece.
        self.streaming = False
        self.close_code: int | None = None
        self.close_reason = ""
        self.close_sent = False
        self.close_received = False
        self.finished = False
        #: What made us fail the connection, if we did.
        self.cause: FrameError | None = None
        self._pending = b""  # the beginning of a frame that cannot be judged yet: a header or a control frame
        self._assembler: Assembler | None = None  # of the message in progress
        # Of the data frame whose payload is arriving: bytes still to come, its FIN bit, its unmasking state.
        self._frame_left = 0
        self._frame_fin = False
        self._masker: Masker | None = None

    # Receiving

    def receive(self, data: bytes) -> bool:
        """Take bytes from the peer, in order and cut anywhere.

        Returns:
            True when something other than messages came of it: look at ``output``, ``ping_payload``, ``finished``.
        """
        if self.finished:
            return False  # 7.1.7: after failing, further data is not processed
        if self._pending:
            data = self._pending + data
            self._pending = b""
        start = 0
        try:
            if self._assembler is None and not self.streaming:
                # The hot path: nearly every frame is a whole message. The loop judges nothing that it does not fully
                # understand: the first frame that is anything but masked, final, whole, text or binary, and of less
                # than 64 KiB goes to the general reader, with all that follows.
                end = len(data)
                while end - start > 5:
                    first = data[start]
                    length = data[start + 1] - 0x80  # negative: unmasked
                    body = start + 6
                    if length < 0 or (first != _FIN_TEXT and first != _FIN_BINARY):
                        break
                    if length > 125:
                        if length == 127 or end - start < 8:
                            break
                        length = data[start + 2] << 8 | data[start + 3]
                        body = start + 8
                        if length < 126:
                            break
                    stop = body + length
                    if stop > end or length > self.max_message_size:
                        break
                    payload = Masker(data[body - 4 : body]).process(data[body:stop])
                    if first == _FIN_TEXT and not payload.isascii():
                        check_text(payload)
                    if self.state is State.OPEN:
                        self.messages.append((first & 0x0F, payload))
                    start = stop
                if start == end:
                    return False
            return self._receive_frames(data, start)
        except FrameError as exc:
            self.fail(exc)
            return True

    def _receive_frames(self, data: bytes, start: int) -> bool:
        """Read any frames from ``data[start:]``; the general case of the loop in ``receive``."""
        attention = False
        end = len(data)
        while True:
            if self._masker is not None:
                start = self._receive_payload(data, start)
                if self._masker is not None:
                    return attention
            header = frames.parse_header(data, start)
            if header is None:
                break
            body = start + header.size
            if header.opcode >= CLOSE:
                if body + header.length > end:
                    break
                start = body + header.length
                self._receive_control(header.opcode, unmask(header.key, data[body:start]))
                attention = True
                if self.finished:
                    return True
            else:
                self._begin_data_frame(header)
                start = body
        if start < end:
            self._pending = data[start:]
        return attention

    def _begin_data_frame(self, header: frames.FrameHeader) -> None:
        assembler = self._assembler
        if header.opcode == CONTINUATION:
            if assembler is None:
                raise FrameError("continuation frame, but no message is in progress")
        elif assembler is not None:
            raise FrameError("new message inside a fragmented one")
        else:
            assembler = self._assembler = Assembler(header.opcode, self.max_message_size)
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
            assembler.add(masker.process(piece))
            self._frame_left -= len(piece)
        if not self._frame_left:
            self._masker = None
            if self._frame_fin:
                self._assembler = None
                self._deliver(assembler, final=True)
                return start + len(piece)
        if self.streaming:
            self._deliver(assembler, final=False)
        return start + len(piece)

    def _deliver(self, assembler: Assembler, *, final: bool) -> None:
        payload = assembler.finish() if final else assembler.take()
        if self.state is not State.OPEN:
            return  # data that crosses our close frame is legal, and nobody's any more
        if not self.streaming:
            self.messages.append((assembler.opcode, payload))
        elif payload or final:
            self.messages.append(Piece(assembler.opcode, payload, final))
            self.streaming = not final

    def _receive_control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            if not self.close_sent:
                self.output.append(frames.encode(frames.PONG, payload))
        elif opcode == CLOSE:
            self._receive_close(payload)
        elif payload == self.ping_payload:
            self.ping_payload = None
        # Any other pong is unsolicited and means nothing (5.5.3).

    def _receive_close(self, payload: bytes) -> None:
        code, reason = frames.parse_close(payload)
        self.close_received = True
        if not self.close_sent:
            # 5.5.1: "it typically echos the status code it received".
            self._end(Input.RECEIVE_CLOSE, 1005 if code is None else code, reason)
            self._put_close(frames.encode_close(code))
        self.finished = True

    def receive_eof(self) -> None:
        """Take note that the stream has ended, whoever ended it."""
        if self.state is State.CLOSED:
            return
        if not self.close_received and self.cause is None:
            self.close_code, self.close_reason = 1006, ""
        self._move(Input.RECEIVE_EOF)
        self.finished = True

    # Sending

    def check_open(self) -> None:
        """Raise ConnectionClosed unless messages may still be sent."""
        if self.state is not State.OPEN:
            raise self.closed_error()

    def ping(self, payload: bytes) -> None:
        """Put a ping into ``output``; ``ping_payload`` becomes None once the peer has answered it."""
        self.check_open()
        if len(payload) > frames.MAX_CONTROL:
            raise ValueError(f"ping of {len(payload)} bytes, 125 allowed")
        self.ping_payload = payload
        self.output.append(frames.encode(PING, payload))

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Begin the closing handshake; without effect when it has begun.

        Raises:
            ValueError: a code or reason that may not be sent; nothing was written.
        """
        frame = frames.encode_close(code, reason)
        if self.state is State.OPEN:
            self._end(Input.SEND_CLOSE, 1005 if code is None else code, reason)
            self._put_close(frame)

    def fail(self, cause: FrameError) -> None:
        """Fail the connection (7.1.7): tell the peer why, unless a close frame has gone out, and be finished."""
        if self.finished:
            return
        self.cause = cause
        if not self.close_sent:
            self._end(Input.FAIL, cause.close_code, str(cause))
            self._put_close(frames.encode_close(cause.close_code))
        self.finished = True
        self._assembler = self._masker = None
        self._pending = b""

    def closed_error(self) -> ConnectionClosed:
        """Return the exception that tells an application how the connection ended."""
        if self.state is State.OPEN:
            raise InvalidState("the connection is open")
        error = ConnectionClosed(
            1006 if self.close_code is None else self.close_code, self.close_reason, is_clean=self.is_clean
        )
        error.__cause__ = self.cause
        return error

    @property
    def is_clean(self) -> bool:
        """Whether a close frame has gone both ways (7.1.4)."""
        return self.close_sent and self.close_received

    def _end(self, by: Input, code: int, reason: str) -> None:
        self._move(by)
        self.close_code, self.close_reason = code, reason

    def _put_close(self, frame: bytes) -> None:
        self.output.append(frame)
        self.close_sent = True

    def _move(self, by: Input) -> None:
        self.state = TRANSITIONS[self.state][by]
