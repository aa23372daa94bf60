"""WebSocket frames of a client: each build, each cut, and wsproto give the same of them.

The last byte of an input chooses the settings; what is before it comes from the peer.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import wsproto.events
import wsproto.frame_protocol
from wsproto import Connection, ConnectionType
from wsproto.utilities import RemoteProtocolError

from fuzz.builds import Build
from fuzz.inputs import cuts, same_for_all_cuts

MEASURED = ("protocol/websocket/engine", "protocol/websocket/frames", "protocol/websocket/messages",
            "protocol/websocket/boundary", "protocol/websocket/speed")  # fmt: skip
VECTORS = ("websocket", "bin")
SEEDS = [
    # Half a surrogate ends it; what follows, a reserved opcode or a close, is not looked at any more.
    b"\x01\x84\0\0\0\0ab\xed\xa0\x83\x80\0\0\0\0\0",
    b"\x01\x84\0\0\0\0ab\xed\xa0\x88\x82\0\0\0\0\x03\xe8\0",
]

LIMITS = (1_048_576, 125, 70_000, 10)
LENIENT, DEFLATE, TAKEOVER, STREAMING, TRACED, CLOSING = 4, 8, 16, 32, 64, 128


class StrictDecoder(codecs.lookup("utf-8").incrementaldecoder):  # type: ignore[misc]  # typeshed says a function
    """The standard decoder, but it does not wait for the rest of a surrogate: Autobahn 6.4 wants the fault at once."""

    def decode(self, data: bytes, final: bool = False) -> str:
        text: str = super().decode(data, final)
        if self.buffer[:1] == b"\xed" and self.buffer[1:2] >= b"\xa0":
            raise UnicodeDecodeError("utf-8", self.buffer, 0, 2, "a surrogate")
        return text


def prepare(builds: Sequence[Build]) -> Callable[[bytes], None]:
    ends = [End(build) for build in builds]
    wsproto.frame_protocol.getincrementaldecoder = lambda encoding: StrictDecoder

    def check(data: bytes) -> None:
        settings, data = data[-1] if data else 0, data[:-1]
        first = same_for_all_cuts(data, *(partial(end.outcome, settings=settings) for end in ends))
        for pieces in cuts(data):
            for end in ends:
                end.check_boundary(data, pieces)
        if not settings:
            compare_with_wsproto(data, first)

    return check


class End:
    """The server's end, of one build."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.engine = build.module("protocol.websocket.engine")
        self.deflate = build.module("protocol.websocket.deflate")
        self.speed = build.module("protocol.websocket.speed")
        self.masking = build.module("protocol.websocket.masking")
        self.boundary = build.module("protocol.websocket.boundary")
        self.compressors = self.deflate.Compressors(self.deflate.DeflateSettings())

    def outcome(self, pieces: Iterable[bytes], settings: int) -> tuple[Any, ...]:
        """Return what came of the pieces: messages, answers, and how it ended."""
        deflate = None
        if settings & DEFLATE:
            takes = bool(settings & TAKEOVER)
            deflate = self.compressors.deflate(self.deflate.Agreement(15, 15, takes, takes, ""))
        limit = LIMITS[settings & 3]
        lines: list[str] = []
        trace = lines.append if settings & TRACED else None
        engine = self.engine.WebSocket(limit, bool(settings & LENIENT), trace, deflate)
        messages: list[tuple[int, bytes]] = []
        parts: list[bytes] = []
        output = b""
        if settings & CLOSING:
            engine.close(1001, "gone")

        def collect() -> None:
            nonlocal output
            while engine.messages:
                opcode, payload, *final = engine.messages.popleft()
                parts.append(payload)
                if final == [False]:
                    continue
                payload = b"".join(parts)
                parts.clear()
                assert len(payload) <= limit
                if opcode == 1:
                    payload.decode()
                messages.append((opcode, payload))
            engine.settle()
            output += b"".join(engine.take_output())

        for piece in pieces:
            if settings & STREAMING:
                engine.stream_next(True)
            message = self.speed.short_message(piece) if engine.is_idle and not settings & LENIENT else None
            if message is not None:
                messages.append(message)
                continue
            engine.receive(piece)
            collect()
            while engine.has_rest:
                engine.receive(b"")
                collect()
        assert len(output) <= sum(map(len, pieces)) + 129, "more was answered than was asked"
        cause = type(engine.cause).__name__  # what it says for the log may tell more of a whole frame
        state, finished = engine.state.name, engine.finished
        ended = (engine.close_code, engine.close_reason, engine.close_sent, engine.close_received)
        if settings & DEFLATE and engine.close_code in (1007, 1009):
            # Of two faults in one message, of the deflated bytes and of the text, a cut has either found first.
            assert engine.cause is not None
            cause, ended, output = "either", (1007, "", *ended[2:]), output[: output.rfind(b"\x88")]
        if settings & STREAMING:
            # What is there of an unfinished text is given at once, and what is wrong behind it found later.
            parts.clear()
        if not finished:
            engine.receive_eof()
            assert engine.closed_error().code == engine.close_code
        return messages, output, ended, state, finished, cause, engine.has_unmasked

    def check_boundary(self, data: bytes, pieces: Iterable[bytes]) -> None:
        """What only passes bytes on, and what unmasks them, depend on no cut either."""
        masker = self.masking.Masker(data[:4].ljust(4, b"\0"))
        assert b"".join(map(masker.process, pieces)) == self.speed.unmask(data[:4].ljust(4, b"\0"), data)
        whole, cut = self.boundary.FrameBoundary(), self.boundary.FrameBoundary()
        whole.follow(data)
        for piece in pieces:
            cut.follow(piece)
        assert (whole.is_here, whole.has_close) == (cut.is_here, cut.has_close)


def compare_with_wsproto(data: bytes, outcome: tuple[Any, ...]) -> None:
    """Hold the messages before the end, and the code of the end, to another implementation's."""
    messages, _, (code, *_), _, finished, cause, _ = outcome
    theirs, their_code = wsproto_reads(data)
    if finished and their_code is None:
        # It judges a frame once all of its header is there, and a text whose last character cannot be completed later.
        _, their_code = wsproto_reads(data + bytes(14))
    if code == 1009 or any(len(payload) > LIMITS[0] for _, payload in theirs):
        return  # it has no limit
    assert messages == theirs, (messages, theirs)
    ours = code if finished else None
    if ours in (1012, 1013, 1014) and their_code == 1002:
        return  # registered with IANA since
    assert ours == their_code, (ours, their_code, cause)


def wsproto_reads(data: bytes) -> tuple[list[tuple[int, bytes]], int | None]:
    """Return messages, and the code of the end."""
    peer = Connection(ConnectionType.SERVER)
    theirs: list[tuple[int, bytes]] = []
    parts: list[bytes] = []
    their_code = None
    try:
        peer.receive_data(data)
        for event in peer.events():
            if isinstance(event, wsproto.events.CloseConnection):
                their_code = event.code
                break
            if isinstance(event, wsproto.events.TextMessage | wsproto.events.BytesMessage):
                is_text = isinstance(event, wsproto.events.TextMessage)
                parts.append(event.data.encode() if is_text else bytes(event.data))
                if event.message_finished:
                    theirs.append((1 if is_text else 2, b"".join(parts)))
                    parts.clear()
    except RemoteProtocolError as exc:
        assert exc.event_hint is not None
        their_code = getattr(exc.event_hint, "code", 1002)
    return theirs, their_code
