"""HTTP/2 of a client: requests read from any frames, however they are cut, and a whole front over them.

An input is read as frames, well-formed but for what it says, with raw bytes among them; or as raw bytes alone.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import gevent
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from hpack import Encoder
from support.http2_client import DATA, HEADERS, PREFACE, SETTINGS, frame
from support.streams import MemoryStream

from fuzz.builds import Build, PythonBuild, raised
from fuzz.inputs import Reader, cuts, same_for_all_cuts

MEASURED = ("protocol/http/http2", "fronts/http2/engine", "fronts/http2/headers", "fronts/http2/front",
            "fronts/http2/stream", "fronts/http2/request")  # fmt: skip
VECTORS = None


def _block(*fields: tuple[str, str]) -> bytes:
    usual = [(":method", "GET"), (":scheme", "https"), (":path", "/a?b=%20c"), (":authority", "x")]
    names = [name for name, _ in fields]
    return Encoder().encode([*(pair for pair in usual if pair[0] not in names), *fields])


def _frames(*frames: tuple[int, int, int, bytes]) -> bytes:
    """Return the input that is read as these frames: kind, flags, stream, payload."""
    return b"\1" + b"".join(
        bytes((kind, flags, stream, len(payload))) + payload for kind, flags, stream, payload in frames
    )


SEEDS = [
    _frames((1, 5, 1, _block())),
    _frames((1, 4, 1, _block((":method", "POST"), ("content-length", "4"))), (0, 0, 1, b"ab"), (0, 1, 1, b"cd")),
    _frames((1, 4, 1, _block((":method", "CONNECT"), (":protocol", "websocket"))), (0, 0, 1, b"\x81\x80\0\0\0\0")),
    _frames((1, 5, 1, _block(("cookie", "a"), ("cookie", "b"), ("expect", "100-continue"))), (3, 0, 1, b"\0\0\0\x08")),
    _frames((1, 5, 1, _block((":path", "*"), (":method", "OPTIONS"), ("x_y", "1"))), (7, 0, 0, bytes(8))),
    _frames((1, 1, 1, _block()[:4]), (9, 4, 1, _block()[4:]), (8, 0, 0, b"\0\0\1\0"), (8, 0, 1, b"\0\0\0\1")),
    _frames((4, 0, 0, b"\0\4\0\0\0\1"), (1, 5, 1, _block()), (4, 1, 0, b""), (6, 0, 0, bytes(8)), (2, 0, 1, bytes(5))),
    _frames(
        (1, 5, 1, _block((":authority", "a b"))),
        (1, 5, 3, _block((":scheme", "ftp"))),
        (1, 5, 5, _block((":path", "x"))),
    ),
    _frames((1, 5, 1, _block(("content-length", "x"))), (1, 5, 3, _block((":method", "CONNECT"), (":protocol", "x")))),
    _frames(
        (1, 5, 1, _block(("a", "b" * 200))), (1, 5, 3, _block(("expect", "x"))), (1, 5, 5, _block((":method", "PRI")))
    ),
    _frames((1, 4, 1, _block((":method", "PUT"))), (0, 8, 1, b"\2abc\0\0"), (1, 5, 1, Encoder().encode([("x", "y")]))),
    b"\2" + frame(SETTINGS) + frame(HEADERS, _block(), flags=5, stream=1) + frame(DATA, b"x", stream=1),
]


def prepare(builds: Sequence[Build]) -> Callable[[bytes], None]:
    ends = [End(build) for build in builds]
    others = [end for end in ends if not isinstance(end.build, PythonBuild)]

    def check(data: bytes) -> None:
        reader = Reader(data)
        settings = reader.byte()
        sent = frames_of(reader) if settings & 1 else reader.rest()
        if not settings & 8:
            sent = PREFACE + frame(SETTINGS) + sent
        first = same_for_all_cuts(sent, partial(ends[0].outcome, settings=settings), count=1)
        for end in others:
            assert end.outcome([sent], settings) == first
        ends[0].serve(list(cuts(sent, 1))[-1], settings)

    return check


def frames_of(reader: Reader) -> bytes:
    """Return an input's frames as they are on the wire."""
    sent = b""
    while reader.has_more and len(sent) < 8_192:
        kind, flags, stream, size = reader.byte(), reader.byte(), reader.byte(), reader.byte()
        sent += frame(kind, reader.take(size), flags=flags, stream=stream)
    return sent


class End:
    """The server's end, of one build."""

    def __init__(self, build: Build) -> None:
        module = build.module
        self.build = build
        self.engine, self.http2 = module("fronts.http2.engine"), module("protocol.http.http2")
        self.limits = module("protocol.http.http1").Limits
        self.errors = module("errors")
        self.front = module("fronts.http2.front").Http2Front
        self.peer = module("fronts.peer")

    def limits_of(self, settings: int) -> Any:
        size, count = (2_000, 10) if settings & 4 else (65_536, 128)
        return self.limits(
            size, size // 8, 5 if settings & 16 else None, ("drop", "keep", "refuse")[settings >> 5 & 1], count
        )

    def outcome(self, pieces: Iterable[bytes], settings: int) -> list[Any]:
        """Return the requests, the bodies and the fault in some bytes."""
        limits = self.limits_of(settings)
        engine = self.engine.Engine(limits.head_size)
        told: list[Any] = []
        bodies: dict[int, bytes] = {}
        for piece in pieces:
            try:
                events = engine.receive_data(piece)
            except ProtocolError as exc:
                assert self.engine.what(exc).isprintable()
                told.append(("fault", self.engine.what(exc)))
                break
            for event in events:
                if isinstance(event, RequestReceived):
                    told.append(self.head(event, limits))
                elif isinstance(event, DataReceived):
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + (event.data or b"")
                elif isinstance(event, StreamEnded | StreamReset):
                    told.append((type(event).__name__, event.stream_id))
        # Of what was sent together with a fault h2 tells nothing.
        faults = [each for each in told if each[0] == "fault"]
        return faults or [told, bodies]

    def head(self, event: RequestReceived, limits: Any) -> Any:
        key = base64.b64encode(bytes(16)).decode()
        try:
            head = self.http2.read_head(event.headers, key, limits)
        except self.errors.RequestError as exc:
            assert exc.status in (400, 413, 414, 417, 431, 501)
            return ("refused", exc.status, raised(exc))
        assert head.size <= limits.head_size
        for name, value in head.variables.items():
            assert name == "PATH_INFO" or not set(value) & set("\0\r\n"), name  # that is decoded, as WSGI has it
        return [getattr(head, name) for name in self.http2.Head.__slots__]

    def serve(self, pieces: Sequence[bytes], settings: int) -> None:
        """Have a front serve the bytes, whose streams, greenlets and timers end with it."""
        stream = MemoryStream(room=100 if settings & 64 else 1 << 20)
        served: list[Any] = []

        def answer(request: Any) -> None:
            served.append(request.environ["REQUEST_URI"])
            try:
                if settings & 128:
                    request.read_body()
                if len(served) % 3 == 2:
                    request.abandon()
                    return
                request.write_head("200 OK", [("X-Long", "x" * 100)], None if settings & 64 else 3)
                request.write_body(b"abc")
                request.finish()
            except (self.errors.RequestError, self.errors.ClientGone):
                request.abandon()

        hub: Any = gevent.get_hub()

        def tell(callback: Callable[..., object], *args: Any) -> None:
            # As in a worker it is the hub that calls: a greenlet that this wakes goes back there when it waits again.
            hub.loop.run_callback(callback, *args)
            gevent.sleep(0)

        failed: list[BaseException] = []
        hub.handle_error = lambda context, kind, value, traceback: failed.append(value)
        helpers: list[Any] = []

        def spawn(worker: Any) -> bool:
            helpers.append(gevent.spawn(worker.run))
            return True

        try:
            peer_settings = self.peer.StreamSettings(self.limits_of(settings), 10, 10, 10)
            front = self.front(stream, peer_settings, self.peer.Peer("", "", "x", "80"), 0, answer, spawn, hub)
            greenlet = gevent.spawn(front.run)
            gevent.sleep(0)
            for piece in pieces:
                if stream.receiver is None:
                    break
                tell(stream.receiver.receive, piece)
            if stream.writable is not None:
                stream.room = 1 << 20
                tell(stream.writable)
            assert len(stream.sent) < 1 << 20
            if stream.receiver is not None:
                tell(stream.receiver.receive, b"")
            for each in (*helpers, greenlet):
                gevent.sleep(0)
                if not each.ready():
                    each.kill()
        finally:
            del hub.handle_error
        for exc in failed:
            if not isinstance(exc, gevent.GreenletExit):
                raise exc
