"""A WebSocket's whole life on the server's side: what it is asked to send, what its peer sends, and the time.

An input is read as calls. Both builds answer each alike, refuse only as documented, send at most one close frame and
nothing behind it; and wsproto, as the client, reads the messages that were sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import wsproto.events
from wsproto import Connection, ConnectionType

from fuzz.builds import Build, raised
from fuzz.inputs import Reader

MEASURED = (
    "protocol/websocket/engine",
    "protocol/websocket/prepared",
    "protocol/websocket/keepalive",
    "protocol/bucket",
)
VECTORS = None
CLIENT_TEXT = b"\x81\x82\0\0\0\0hi"
SEEDS = [
    b"\0"
    + bytes((0, 1, 5))
    + b"hello"
    + bytes((1, 3, 3))
    + b"abc"
    + bytes((2, 1, 4))
    + b"text"
    + bytes((3, 2, 2))
    + b"xy",
    b"\1\4\2hi\6\x0a" + CLIENT_TEXT + b"\6\x06\x8a\x82\0\0\0\0hi\5\x03\xe8\4done\0\1\2no\x06\x08\x88\x82\0\0\0\0\3\xe8",
    b"\2\x08\1\6\x05\x01\x81\0\0\0\6\x06\x80\x81\0\0\0\0a\7\x09\x0a\x0b\x0c\x0d\x0e\x05\xff\xff\0",
    b"\4\6\x08\x88\x80\0\0\0\0" + b"\0\1\1a\5\3\xe8\0\4\1p\7",
    b"\0\x0b\x10\x20\x0c\x05\x0b\x01\xff\x0b\x80\x80\x0c\x80",
]

MANY = 60  # calls


def prepare(builds: Sequence[Build]) -> Callable[[bytes], None]:
    ends = [End(build) for build in builds]

    def check(data: bytes) -> None:
        first, *others = [end.live(Reader(data)) for end in ends]
        for other in others:
            assert other == first

    return check


class End:
    """The server's end, of one build."""

    def __init__(self, build: Build) -> None:
        module = build.module
        self.engine = module("protocol.websocket.engine")
        self.frames = module("protocol.websocket.frames")
        self.prepared = module("protocol.websocket.prepared").Prepared
        self.messages = module("protocol.websocket.messages")
        self.keepalive = module("protocol.websocket.keepalive")
        self.bucket = module("protocol.bucket").TokenBucket
        self.deflate = module("protocol.websocket.deflate")
        self.errors = module("errors")

    def live(self, reader: Reader) -> list[Any]:
        """Carry out an input's calls; return what came of each."""
        settings = reader.byte()
        deflate = None
        if settings & 4:
            # Of its own: what a compressor makes depends on what it has made before.
            compressors = self.deflate.Compressors(self.deflate.DeflateSettings(min_size=1))
            takes = bool(settings & 8)
            deflate = compressors.deflate(self.deflate.Agreement(15, 15, takes, takes, ""))
        lines: list[str] = []
        engine = self.engine.WebSocket(1_000, False, lines.append if settings & 1 else None, deflate)
        policy = self.keepalive.KeepalivePolicy(5.0, 10.0)
        bucket = self.bucket(100.0, 10.0, 0.0)
        now = heard_at = 0.0
        pinged_at = -1.0
        told: list[Any] = []
        wire = b""
        sent: list[tuple[int, bytes]] = []
        for _ in range(MANY):
            if not reader.has_more:
                break
            call = reader.below(13)
            try:
                if call < 4:
                    # What is sent is text or bytes as an application gives it.
                    is_text = reader.below(2)
                    payload = reader.take(reader.byte()) * (300 if settings & 16 else 1)
                    message: Any = payload.decode("utf-8", "replace") if is_text else bytearray(payload)
                    opcode, payload = self.messages.as_message(message)
                    if call == 0:
                        data = engine.encode(opcode, payload)
                    elif call == 1:
                        data = b"".join(engine.encode_long(opcode, payload))
                    elif call == 2:
                        prepared = self.prepared(opcode, payload, bool(settings & 32))
                        data = engine.frame_of(prepared)
                        assert engine.is_quiet is False or data is prepared.plain
                    else:
                        data = engine.encode_plain(opcode, payload)
                    wire += data
                    sent.append((opcode, payload))
                elif call == 4:
                    engine.ping(reader.take(reader.byte()))
                elif call == 5:
                    code: int | None = reader.word()
                    reason = reader.take(reader.byte()).decode("utf-8", "replace")
                    engine.close(code or None, reason)
                elif call == 6:
                    told.append(engine.receive(reader.take(reader.byte())))
                    heard_at = now
                elif call == 7:
                    engine.receive_eof()
                    told.append(engine.finished)
                elif call == 8:
                    engine.stream_next(bool(reader.below(2)))
                elif call == 9:
                    engine.fail(self.errors.KeepaliveTimeout("late"))
                elif call == 10:
                    told.append(list(engine.messages))
                    engine.messages.clear()
                    engine.settle()
                elif call == 11:
                    now += reader.byte() / 4
                    action, at = policy.judge(heard_at, pinged_at, now)
                    assert at >= now
                    told.append((action.name, at))
                    if action.name == "PING":
                        pinged_at = now
                    told.append(bucket.spend(reader.byte(), now))
                    bucket.earn(reader.byte() / 16)
                else:
                    told.append(raised(engine.closed_error()))
            except (self.errors.ConnectionClosed, self.errors.InvalidState, ValueError) as exc:
                told.append(raised(exc))
            if engine.output:
                wire += b"".join(engine.take_output())
            told.append((engine.state.name, engine.finished, engine.close_code, engine.is_idle, engine.is_quiet))
        if deflate is None:
            read(wire, sent)
        return [told, wire, lines, engine.frames_received, engine.is_clean, engine.ping_payload]


def read(wire: bytes, sent: list[tuple[int, bytes]]) -> None:
    """Have wsproto read what was sent: the same messages, and at most one close frame, behind which is nothing."""
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(wire)
    got: list[tuple[int, bytes]] = []
    parts: list[bytes] = []
    has_closed = False
    for event in client.events():
        assert not has_closed
        if isinstance(event, wsproto.events.CloseConnection):
            has_closed = True
        elif isinstance(event, wsproto.events.TextMessage | wsproto.events.BytesMessage):
            is_text = isinstance(event, wsproto.events.TextMessage)
            parts.append(event.data.encode() if is_text else bytes(event.data))
            if event.message_finished:
                got.append((1 if is_text else 2, b"".join(parts)))
                parts.clear()
    assert got == sent
