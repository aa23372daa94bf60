"""The h2 library's engine, set up for us: settings, limits, and what we understand otherwise than it does."""

from __future__ import annotations

from typing import NoReturn

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, RequestReceived, TrailersReceived
from h2.exceptions import (
    InvalidBodyLengthError,
    ProtocolError,
    StreamClosedError,
    StreamIDTooLowError,
    TooManyStreamsError,
)
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream, StreamClosedBy
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from uwsgi_ws.fronts.http2.headers import FieldDecoder, FieldEncoder

__all__ = ["MAX_STREAMS", "Ballast", "Engine", "Malformed", "what"]

#: Streams that a client may have open (RFC 9113 6.5.2 recommends no fewer than 100).
MAX_STREAMS = 128
#: Bytes that each may send ahead of its application.
_STREAM_WINDOW = 131_072
#: Ids of ended streams kept, to tell late frames of them from errors; h2's own number takes megabytes.
_ENDED_STREAMS = 1_024
#: Largest table of the header fields we sent (RFC 7541 4.2); the peer may allow gigabytes.
_TABLE_SIZE = 4_096
#: How an acknowledgement of our settings begins, behind its length.
_SETTINGS_ACK = bytes((SettingsFrame.type, 0x01))


class Ballast(Event):
    """A frame from which nothing follows."""


_BALLAST: list[Event] = [Ballast()]
#: What h2 raises for a malformed request. A header block that cannot be unpacked has an error of its own, and ends the
#: connection (RFC 9113 4.3).
_OF_REQUESTS = (ProtocolError, InvalidBodyLengthError)


class Malformed(Event):
    """A request that is none, or whose body is not what it promised; its stream is being reset (RFC 9113 8.1.1).

    Attributes:
        stream_id: Its stream.
        reason: What is wrong, without any text of the peer's.
    """

    def __init__(self, stream_id: int, reason: str) -> None:
        self.stream_id = stream_id
        self.reason = reason


class Engine(H2Connection):
    """The server's side of a connection; our settings are ready to be sent.

    Unlike h2's own, neither a client's GOAWAY nor ours forbids the streams that are open to go on (RFC 9113 6.8); and
    a malformed request, or one stream too many, ends its stream and not the connection, which a proxy may share among
    its clients.

    Args:
        head_size: Bytes that a request's header fields may have, as they are told to the client.
    """

    MAX_CLOSED_STREAMS = _ENDED_STREAMS

    encoder: FieldEncoder
    decoder: FieldDecoder

    def __init__(self, head_size: int) -> None:
        # What we send is ours, and right; what comes is judged by h2 as well, but once (see `_receive_headers_frame`).
        config = H2Configuration(
            client_side=False,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        super().__init__(config)
        self.encoder = FieldEncoder()
        self.decoder = FieldDecoder()
        self._frame_dispatch_table[_Late] = _receive_late
        self._whole_table = self._frame_dispatch_table
        # RFC 9113 3.4: settings come first. h2 takes anything.
        self._frame_dispatch_table = {
            **dict.fromkeys(self._whole_table, _refuse_first),
            SettingsFrame: self._receive_first_settings,
        }
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: head_size,
                SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,  # RFC 8441 3
            },
        )
        # A head somewhat too big is answered with 431; beyond this it ends the connection before it is unpacked.
        self.decoder.max_header_list_size = 2 * head_size
        self.initiate_connection()
        self.increment_flow_control_window(MAX_STREAMS * _STREAM_WINDOW - 65_535)

    @property
    def made(self) -> bytearray:
        """What ``data_to_send`` would return."""
        return self._data_to_send

    def limit_table(self) -> None:
        """Keep no larger table of what we sent than we like, whatever the client has just allowed."""
        self.encoder.header_table_size = min(_TABLE_SIZE, self.remote_settings.header_table_size)

    def goodbye(self, code: ErrorCodes) -> bytes:
        """Return a GOAWAY frame."""
        return GoAwayFrame(0, last_stream_id=self.highest_inbound_stream_id, error_code=code).serialize()

    def _open_streams(self, remainder: int) -> int:
        """Return how many streams there are: h2 looks at every one for each that begins, to drop those that have ended.

        ``forget`` does that one by one, but for those that end later than for us, which h2 finds where they are many.
        """
        count = len(self.streams)
        return count if count < MAX_STREAMS else super()._open_streams(remainder)

    def forget(self, number: int) -> None:
        """Hold nothing of a stream, if it has ended, but that it was there."""
        stream = self.streams.get(number)
        if stream is not None and stream.closed:
            del self.streams[number]
            self._closed_streams[number] = stream.closed_by

    def _receive_frame(self, frame: Frame) -> list[Event]:
        """Take a frame. h2 makes a text of each, for a log that nobody keeps, and that costs more than all the rest."""
        try:
            frames, events = self._frame_dispatch_table[frame.__class__](frame)
        except (StreamClosedError, StreamIDTooLowError) as exc:
            return super()._receive_frame(_Late(exc)) or _BALLAST  # what is to be done then, it knows
        except TooManyStreamsError as exc:
            assert isinstance(frame, HeadersFrame), "nothing else begins a stream"
            return self._refuse(frame, exc)
        except ProtocolError as exc:
            return self._give_up(frame, exc)
        if frames:
            self._prepare_for_sending(frames)
        return events or _BALLAST

    def _receive_first_settings(self, frame: SettingsFrame) -> tuple[list[Frame], list[Event]]:
        if "ACK" in frame.flags:
            _refuse_first(frame)
        self._frame_dispatch_table = self._whole_table
        return self._receive_settings_frame(frame)

    def _receive_headers_frame(self, frame: HeadersFrame) -> tuple[list[Frame], list[Event]]:
        stream: H2Stream | None = self.streams.get(frame.stream_id)
        # Of a body before its trailers: h2 forgets it for them.
        length = None if stream is None else stream._expected_content_length
        frames, events = super()._receive_headers_frame(frame)
        for event in events:
            if isinstance(event, RequestReceived):
                event.headers = self.decoder.fields.as_request()
                if event.stream_ended is not None:
                    length = self.streams[frame.stream_id]._expected_content_length
            elif isinstance(event, TrailersReceived):
                event.headers = self.decoder.fields.as_trailers()
        if length is not None and "END_STREAM" in frame.flags:
            actual = self.streams[frame.stream_id]._actual_content_length
            if actual != length:
                raise InvalidBodyLengthError(length, actual)
        return frames, events

    def _refuse(self, frame: HeadersFrame, error: ProtocolError) -> list[Event]:
        """Reset a stream that is one too many: the client may try again (RFC 9113 5.1.2, 8.7)."""
        number, highest = frame.stream_id, self.highest_inbound_stream_id
        if number <= highest:
            return super()._receive_frame(_Late(StreamIDTooLowError(number, highest))) or _BALLAST
        if self._stream_id_is_outbound(number):
            raise error
        self.decoder.decode(frame.data)  # for the table, which both sides keep
        self.highest_inbound_stream_id = number
        self._reset_unseen(number, ErrorCodes.REFUSED_STREAM)
        return _BALLAST

    def _give_up(self, frame: Frame, error: ProtocolError) -> list[Event]:
        """Reset the stream of a malformed request; raise any other error."""
        number = frame.stream_id
        if isinstance(frame, DataFrame) and isinstance(error, InvalidBodyLengthError):
            size = frame.flow_controlled_length
        elif isinstance(frame, HeadersFrame) and number in self.streams and type(error) in _OF_REQUESTS:
            size = 0
        else:
            raise error
        del self.streams[number]
        self._reset_unseen(number, ErrorCodes.PROTOCOL_ERROR)
        self.acknowledge_received_data(size, number)
        return [Malformed(number, what(error))]

    def _reset_unseen(self, number: int, code: ErrorCodes) -> None:
        """Reset a stream of which h2 knows nothing, or no more."""
        self._closed_streams[number] = StreamClosedBy.SEND_RST_STREAM
        self._prepare_for_sending([RstStreamFrame(number, error_code=code)])

    def _terminate_connection(self, error_code: ErrorCodes) -> None:
        """Tell why the connection ends. RFC 9113 6.5 has another word than h2 for SETTINGS with ACK and a payload."""
        head = bytes(self.incoming_buffer._data[:5])
        if head[3:] == _SETTINGS_ACK and any(head[:3]):
            error_code = ErrorCodes.FRAME_SIZE_ERROR
        super()._terminate_connection(error_code)

    def receive_no_more(self) -> None:
        """Let the engine go as soon as nobody needs it: h2's keeps its own methods, and so itself, in this table."""
        self._frame_dispatch_table.clear()
        self._whole_table.clear()

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code = frame.error_code
        return [], [event]


class _Late(Frame):
    """Stands in for a frame of a stream that has ended, which has been looked at already."""

    def __init__(self, error: ProtocolError) -> None:
        super().__init__(0)
        self.error = error

    def serialize_body(self) -> bytes:
        """Return nothing: it is never sent, only shown in h2's log."""
        return b""


def _refuse_first(frame: Frame) -> NoReturn:
    raise ProtocolError("the client's settings must come first")


def _receive_late(frame: _Late) -> NoReturn:
    raise frame.error


def what(error: ProtocolError) -> str:
    """Return what was wrong without any text of the peer's."""
    code = getattr(error, "error_code", ErrorCodes.PROTOCOL_ERROR)
    return f"{type(error).__name__}, {ErrorCodes(code).name}"
