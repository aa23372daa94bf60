"""The h2 library's engine, set up for us: settings, limits, and what we understand otherwise than it does."""

from __future__ import annotations

from typing import NoReturn

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, RequestReceived, TrailersReceived
from h2.exceptions import ProtocolError, StreamClosedError, StreamIDTooLowError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame

from uwsgi_ws.fronts.http2.headers import FieldDecoder, FieldEncoder

__all__ = ["MAX_STREAMS", "Engine", "what"]

#: Streams that a client may have open (RFC 9113 6.5.2 recommends no fewer than 100).
MAX_STREAMS = 128
#: Bytes that each may send ahead of its application.
_STREAM_WINDOW = 131_072
#: Ids of ended streams kept, to tell late frames of them from errors; h2's own number takes megabytes.
_ENDED_STREAMS = 1_024
#: Largest table of the header fields we sent (RFC 7541 4.2); the peer may allow gigabytes.
_TABLE_SIZE = 4_096


class Engine(H2Connection):
    """The server's side of a connection; our settings are ready to be sent.

    Unlike h2's own, neither a client's GOAWAY nor ours forbids the streams that are open to go on (RFC 9113 6.8).

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
            return super()._receive_frame(_Late(exc))  # what is to be done then, it knows
        if frames:
            self._prepare_for_sending(frames)
        return events  # type: ignore[no-any-return]  # the table's functions are any

    def _receive_headers_frame(self, frame: HeadersFrame) -> tuple[list[Frame], list[Event]]:
        frames, events = super()._receive_headers_frame(frame)
        for event in events:
            if isinstance(event, RequestReceived):
                event.headers = self.decoder.fields.as_request()
            elif isinstance(event, TrailersReceived):
                event.headers = self.decoder.fields.as_trailers()
        return frames, events

    def receive_no_more(self) -> None:
        """Let the engine go as soon as nobody needs it: h2's keeps its own methods, and so itself, in this table."""
        self._frame_dispatch_table.clear()

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


def _receive_late(frame: _Late) -> NoReturn:
    raise frame.error


def what(error: ProtocolError) -> str:
    """Return what was wrong without any text of the peer's."""
    code = getattr(error, "error_code", ErrorCodes.PROTOCOL_ERROR)
    return f"{type(error).__name__}, {ErrorCodes(code).name}"
