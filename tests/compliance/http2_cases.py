"""What an HTTP/2 server must do with what a client sends: the cases of ``http2.py``, as data.

The sections are those that the h2spec program tests, and RFC 8441's own. Most cases are a few frames and what must come
back; numbers of sections are RFC 9113's unless another RFC is named. Where an RFC leaves a choice, so does the case:
an endpoint may always treat a stream error as a connection error (5.4.1), which ``broken`` and ``malformed`` say.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hpack import Encoder
from support.http2_client import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from support.websocket_client import close_frame
from support.websocket_client import frame as websocket_frame

__all__ = ["APPLICATION", "CASES", "Case", "Seen", "Until", "Want"]

PADDED, PRIORITY_FLAG = 0x8, 0x20
WHOLE = END_STREAM | END_HEADERS
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 0x1, 0x3, 0x5, 0x6
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 0x7, 0x8, 0x9
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5
ENABLE_CONNECT_PROTOCOL = 8
TEXT, CLOSE = 0x1, 0x8
#: Streams that a server may have open, at most, for the case that opens too many.
MANY = 300

#: Says hello, sends a body back, or shows a variable; and WebSockets.
APPLICATION = """
import gevent
import uwsgi_ws

def application(environ, start_response):
    if "HTTP_UPGRADE" in environ:
        ws = uwsgi_ws.accept(environ)
        for message in ws:
            ws.send(message)
        return []
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/show":
        return [environ.get(environ["QUERY_STRING"], "-").encode("latin-1")]
    if environ["PATH_INFO"] == "/late":
        gevent.sleep(0.3)
    if environ["REQUEST_METHOD"] == "POST":
        return [environ["wsgi.input"].read()]
    return [b"hello"]
"""


@dataclass
class Seen:
    """All that has come from the server.

    Attributes:
        heads: Of each stream: its header blocks' fields.
        pieces: Of each stream: what its DATA frames carry.
        ended: Streams whose server's side has ended.
        resets: Streams, and the error code of their RST_STREAM.
        goodbyes: Of each GOAWAY: its last stream, and its error code.
        is_over: The connection has ended.
    """

    settings: dict[int, int] = field(default_factory=dict)
    settings_acknowledged: int = 0
    pongs: list[bytes] = field(default_factory=list)
    heads: dict[int, list[dict[str, str]]] = field(default_factory=dict)
    pieces: dict[int, list[bytes]] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    resets: dict[int, int] = field(default_factory=dict)
    goodbyes: list[tuple[int, int]] = field(default_factory=list)
    opened: dict[int, int] = field(default_factory=dict)  # bytes of WINDOW_UPDATEs
    is_over: bool = False

    def body(self, stream: int) -> bytes:
        return b"".join(self.pieces.get(stream, []))

    def status(self, stream: int) -> str:
        heads = self.heads.get(stream)
        return heads[-1].get(":status", "") if heads else ""


@dataclass(frozen=True)
class Want:
    """What must come.

    Attributes:
        text: In words.
        holds: Whether it has come.
        ends: The connection must end with it; else it must not.
    """

    text: str
    holds: Callable[[Seen], bool]
    ends: bool = False


@dataclass(frozen=True)
class Until:
    """Wait for this before more is sent."""

    holds: Callable[[Seen], bool]


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        section: The RFC's.
        name: What the client does.
        steps: Bytes to send, and what to wait for between them.
        wants: What must come: one of these.
        greeting: What the connection begins with.
    """

    section: str
    name: str
    steps: tuple[bytes | Until, ...]
    wants: tuple[Want, ...]
    greeting: bytes = PREFACE + frame(SETTINGS)


# What must come


def fails(*codes: int) -> tuple[Want]:
    """A connection error (5.4.1): GOAWAY with one of the codes, and then the end."""

    def holds(seen: Seen) -> bool:
        return seen.is_over and bool(seen.goodbyes) and seen.goodbyes[-1][1] in codes

    return (Want(f"GOAWAY {list(codes)} and the end", holds, ends=True),)


def hangs_up() -> tuple[Want]:
    return (Want("the end of the connection", lambda seen: seen.is_over, ends=True),)


def resets(stream: int, *codes: int) -> tuple[Want]:
    """A stream error (5.4.2); the connection goes on."""
    return (Want(f"RST_STREAM {list(codes)} of stream {stream}", lambda seen: seen.resets.get(stream) in codes),)


def broken(stream: int, *codes: int) -> tuple[Want, ...]:
    """A stream error, or a connection error of the same kind."""
    return (*resets(stream, *codes), *fails(*codes))


def malformed(stream: int = 1) -> tuple[Want, ...]:
    """8.1.1: a stream error of type PROTOCOL_ERROR; an answer may come before it, and here takes its place."""
    refused = Want(f"a 4xx on stream {stream}", lambda seen: seen.status(stream).startswith("4"))
    return (*broken(stream, PROTOCOL_ERROR), refused)


def answers(stream: int = 1, status: str = "200", body: bytes | None = b"hello") -> tuple[Want]:
    def holds(seen: Seen) -> bool:
        is_right = seen.status(stream) == status and (body is None or seen.body(stream) == body)
        return is_right and stream in seen.ended

    return (Want(f"{status} {body!r} on stream {stream}", holds),)


def lives() -> tuple[Want]:
    """The connection goes on, which is asked of every case that does not end it."""
    return (Want("a connection that goes on", lambda seen: True),)


def has(text: str, holds: Callable[[Seen], bool]) -> tuple[Want]:
    return (Want(text, holds),)


# What is sent


def block(*fields: tuple[str, str], huffman: bool = True) -> bytes:
    return Encoder().encode(fields, huffman=huffman)


def pseudo(method: str = "GET", path: str = "/", **others: str) -> list[tuple[str, str]]:
    named = {"method": method, "scheme": "http", "authority": "127.0.0.1", "path": path, **others}
    return [(f":{name}", value) for name, value in named.items()]


def request(
    *fields: tuple[str, str],
    method: str = "GET",
    path: str = "/",
    stream: int = 1,
    ends: bool = True,
    without: Iterable[str] = (),
    **others: str,
) -> bytes:
    """A request's HEADERS; ``without`` leaves pseudo-header fields out."""
    head = [(name, value) for name, value in pseudo(method, path, **others) if name[1:] not in without]
    return frame(HEADERS, block(*head, *fields), flags=END_HEADERS | (END_STREAM if ends else 0), stream=stream)


def post(*fields: tuple[str, str], stream: int = 1, path: str = "/") -> bytes:
    return request(*fields, method="POST", path=path, stream=stream, ends=False)


def data(payload: bytes, *, ends: bool = False, stream: int = 1) -> bytes:
    return frame(DATA, payload, flags=END_STREAM if ends else 0, stream=stream)


def setting(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, b"".join(struct.pack("!HI", *pair) for pair in pairs))


def window_update(size: int, stream: int = 0) -> bytes:
    return frame(WINDOW_UPDATE, struct.pack("!I", size), stream=stream)


def reset(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, struct.pack("!I", code), stream=stream)


def priority(stream: int, on: int = 0, weight: int = 15, *, exclusive: bool = False) -> bytes:
    return frame(PRIORITY, struct.pack("!IB", on | (exclusive << 31), weight), stream=stream)


def raw(fields: bytes, *, stream: int = 1) -> bytes:
    """HEADERS of a request whose block ends with these bytes."""
    return frame(HEADERS, GET + fields, flags=WHOLE, stream=stream)


def connect(*fields: tuple[str, str], stream: int = 1, **others: str) -> bytes:
    """An opening handshake (RFC 8441 5)."""
    named: dict[str, str] = {"protocol": "websocket", **others}
    return request(("sec-websocket-version", "13"), *fields, method="CONNECT", stream=stream, ends=False, **named)


def answered(stream: int = 1) -> Until:
    return Until(lambda seen: stream in seen.ended)


def opened(stream: int = 1) -> Until:
    return Until(lambda seen: bool(seen.status(stream)))


GET = block(*pseudo())
POST = block(*pseudo("POST"))
#: :method GET, :scheme http and the authority, by literals that are not added to the table; :path must follow.
PLAIN = b"\x82\x86\x01\x09127.0.0.1"
#: So that an answer's body cannot come, and its stream stays half-closed (remote).
HELD = setting((INITIAL_WINDOW_SIZE, 0))
HALF_CLOSED = HELD + request()
OPAQUE = b"12345678"
PINGED = has("the ping's answer", lambda seen: OPAQUE in seen.pongs)
FIELD = b"\x40\x01a\x01b"  # a: b, literal, with incremental indexing


def echoed(payload: bytes, stream: int = 1) -> tuple[Want]:
    wanted = websocket_frame(TEXT, payload, key=None)
    return has(f"the message {payload!r}", lambda seen: seen.body(stream) == wanted)


def _cases() -> list[Case]:
    cases: list[Case] = []

    def case(
        section: str, name: str, *steps: bytes | Until, wants: tuple[Want, ...], greeting: bytes | None = None
    ) -> None:
        options = {} if greeting is None else {"greeting": greeting}
        cases.append(Case(section, name, steps, wants, **options))

    # 3 Starting HTTP/2
    has_settings = has("SETTINGS and its acknowledgement", lambda s: bool(s.settings) and s.settings_acknowledged == 1)
    case("3.4", "the connection preface", wants=has_settings)
    case("3.4", "a wrong connection preface", wants=hangs_up(), greeting=b"INVALID CONNECTION PREFACE\r\n\r\n")
    case("3.4", "HTTP/1.1", wants=hangs_up(), greeting=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    case("3.4", "a preface without SETTINGS", wants=fails(PROTOCOL_ERROR), greeting=PREFACE + frame(PING, OPAQUE))
    case(
        "3.4",
        "an acknowledgement for SETTINGS",
        wants=fails(PROTOCOL_ERROR),
        greeting=PREFACE + frame(SETTINGS, flags=ACK),
    )
    case("3.4", "a request at once with the preface", wants=answers(), greeting=PREFACE + frame(SETTINGS) + request())

    # 4 HTTP frames
    case("4.1", "a frame of unknown type", frame(0xFF, bytes(8)), frame(PING, OPAQUE), wants=PINGED)
    case("4.1", "undefined flags", frame(PING, OPAQUE, flags=0x16), wants=PINGED)
    case("4.1", "the reserved bit", frame(PING, OPAQUE, stream=1 << 31), wants=PINGED)
    case("4.1", "the reserved bit of a stream", frame(HEADERS, GET, flags=WHOLE, stream=1 | 1 << 31), wants=answers())
    largest = b"x" * 16_384
    case("4.2", "DATA of 2^14 bytes", post(), data(largest, ends=True), wants=answers(body=largest))
    case("4.2", "DATA of 2^14 + 1 bytes", post(), data(largest + b"x", ends=True), wants=broken(1, FRAME_SIZE_ERROR))
    big = frame(HEADERS, GET + FIELD * 4_000, flags=WHOLE, stream=1)
    case("4.2", "HEADERS of more than 2^14 bytes", big, wants=fails(FRAME_SIZE_ERROR))
    case("4.2", "SETTINGS of more than 2^14 bytes", setting(*[(99, 1)] * 2_800), wants=fails(FRAME_SIZE_ERROR))
    case(
        "4.3",
        "a broken header block",
        frame(HEADERS, b"\xff" * 20, flags=WHOLE, stream=1),
        wants=fails(COMPRESSION_ERROR),
    )
    cut = frame(HEADERS, b"\x40\x7f\x01", flags=WHOLE, stream=1)
    case("4.3", "a header block that ends too early", cut, wants=fails(COMPRESSION_ERROR))
    begun = frame(HEADERS, GET, flags=END_STREAM, stream=1)
    case("4.3", "PRIORITY inside a header block", begun, priority(1), wants=fails(PROTOCOL_ERROR))
    case("4.3", "HEADERS of another stream inside a block", begun, request(stream=3), wants=fails(PROTOCOL_ERROR))
    case(
        "4.3",
        "fields added by a malformed request are in the table",
        raw(b"\x40\x01b\x01c\x40\x01A\x01d"),
        frame(HEADERS, PLAIN + b"\x04\x0c/show?HTTP_B\xbf", flags=WHOLE, stream=3),
        wants=(*answers(3, body=b"c"), *fails(PROTOCOL_ERROR)),
    )

    # 5 Streams and multiplexing
    for kind, sent in {
        "DATA": data(b"test", ends=True),
        "RST_STREAM": reset(1),
        "WINDOW_UPDATE": window_update(100, 1),
        "CONTINUATION": frame(CONTINUATION, GET, flags=END_HEADERS, stream=1),
    }.items():
        case("5.1", f"idle: {kind}", sent, wants=fails(PROTOCOL_ERROR))
    case("5.1", "idle: PRIORITY", priority(1), frame(PING, OPAQUE), wants=PINGED)
    case("5.1", "half-closed (remote): DATA", HALF_CLOSED, data(b"test"), wants=broken(1, STREAM_CLOSED))
    case("5.1", "half-closed (remote): HEADERS", HALF_CLOSED, request(), wants=broken(1, STREAM_CLOSED))
    continuation = frame(CONTINUATION, GET, flags=END_HEADERS, stream=1)
    naked = fails(STREAM_CLOSED, PROTOCOL_ERROR)
    case("5.1", "half-closed (remote): CONTINUATION", HALF_CLOSED, continuation, wants=naked)
    goes_on = window_update(100, 1)
    case("5.1", "half-closed (remote): WINDOW_UPDATE", HALF_CLOSED, goes_on, wants=answers())
    case("5.1", "half-closed (remote): PRIORITY", HALF_CLOSED, priority(1), goes_on, wants=answers())
    case("5.1", "half-closed (remote): RST_STREAM", HALF_CLOSED, reset(1), wants=lives())
    for state, before in {
        "closed by RST_STREAM": (HALF_CLOSED, reset(1)),
        "closed by END_STREAM": (request(), answered()),
    }.items():
        case("5.1", f"{state}: DATA", *before, data(b"test"), wants=broken(1, STREAM_CLOSED))
        case("5.1", f"{state}: HEADERS", *before, request(), wants=broken(1, STREAM_CLOSED))
        case("5.1", f"{state}: CONTINUATION", *before, continuation, wants=naked)
        case("5.1", f"{state}: PRIORITY", *before, priority(1), frame(PING, OPAQUE), wants=PINGED)
        case("5.1", f"{state}: WINDOW_UPDATE", *before, goes_on, frame(PING, OPAQUE), wants=PINGED)
        case("5.1", f"{state}: RST_STREAM", *before, reset(1), frame(PING, OPAQUE), wants=PINGED)
    case("5.1.1", "an even number", request(stream=2), wants=fails(PROTOCOL_ERROR))
    case(
        "5.1.1",
        "a number below the last",
        request(stream=5),
        answered(5),
        request(stream=3),
        wants=fails(PROTOCOL_ERROR),
    )
    case("5.1.1", "numbers left out", request(stream=77), wants=answers(77))
    many = b"".join(request(stream=2 * number + 1) for number in range(MANY))
    refused = has(
        "RST_STREAM of streams too many",
        lambda s: bool(s.resets) and {*s.resets.values()} <= {PROTOCOL_ERROR, REFUSED_STREAM},
    )
    case("5.1.2", "more streams than SETTINGS_MAX_CONCURRENT_STREAMS", HELD, many, wants=refused)
    case(
        "5.1.2",
        "a stream once others have ended",
        HELD + many,
        Until(lambda seen: bool(seen.resets)),
        reset(1) + setting((INITIAL_WINDOW_SIZE, 65_535)) + request(stream=2 * MANY + 1),
        wants=answers(2 * MANY + 1),
    )
    itself = frame(HEADERS, struct.pack("!IB", 1, 15) + GET, flags=WHOLE | PRIORITY_FLAG, stream=1)
    case("5.3", "HEADERS that depend on their own stream", itself, wants=(*broken(1, PROTOCOL_ERROR), *answers()))
    case("5.3", "PRIORITY that depends on its own stream", priority(1, 1), wants=(*broken(1, PROTOCOL_ERROR), *lives()))
    case(
        "5.3", "PRIORITY of a later stream, then a request before it", priority(5), request(stream=3), wants=answers(3)
    )
    for name, weight in {"the least": 0, "the greatest": 255}.items():
        case("5.3", f"PRIORITY with {name} weight", priority(1, 0, weight), request(), wants=answers())
    case("5.3", "PRIORITY on another stream", priority(1, 3), request(), wants=answers())
    case("5.3", "an exclusive PRIORITY", priority(1, 3, exclusive=True), request(), wants=answers())
    case("5.4.1", "a connection error is told and ends it", frame(PING, OPAQUE, stream=3), wants=fails(PROTOCOL_ERROR))
    last = Want(
        "GOAWAY of the last stream", lambda s: s.is_over and [last for last, _ in s.goodbyes][-1:] == [3], ends=True
    )
    case(
        "5.4.1",
        "a connection error names the last stream",
        request(stream=3),
        answered(3),
        frame(PING, bytes(7)),
        wants=(last,),
    )
    case("5.5", "an extension's frame", frame(0x16, b"test"), frame(PING, OPAQUE), wants=PINGED)
    case(
        "5.5",
        "an extension's frame in a stream",
        post(),
        frame(0x16, b"test", stream=1),
        data(b"x", ends=True),
        wants=answers(body=b"x"),
    )
    case(
        "5.5",
        "an extension's frame inside a header block",
        begun,
        frame(0x16, b"test", stream=1),
        wants=fails(PROTOCOL_ERROR),
    )

    # 6 Frame definitions
    case("6.1", "one DATA frame", post(), data(b"test", ends=True), wants=answers(body=b"test"))
    case(
        "6.1",
        "several DATA frames",
        post(),
        data(b"te"),
        data(b"st"),
        data(b"", ends=True),
        wants=answers(body=b"test"),
    )
    padded = frame(DATA, b"\x06test" + bytes(6), flags=END_STREAM | PADDED, stream=1)
    case("6.1", "padded DATA", post(), padded, wants=answers(body=b"test"))
    only_padding = frame(DATA, b"\xff" + bytes(255), flags=PADDED, stream=1)
    case("6.1", "DATA of padding alone", post(), only_padding, data(b"x", ends=True), wants=answers(body=b"x"))
    case("6.1", "DATA of stream 0", data(b"test", stream=0), wants=fails(PROTOCOL_ERROR))
    too_padded = frame(DATA, b"\x05test", flags=END_STREAM | PADDED, stream=1)
    case("6.1", "DATA with more padding than payload", post(), too_padded, wants=fails(PROTOCOL_ERROR))
    unpadded = frame(DATA, b"", flags=END_STREAM | PADDED, stream=1)
    case("6.1", "padded DATA without a byte", post(), unpadded, wants=broken(1, PROTOCOL_ERROR, FRAME_SIZE_ERROR))
    case("6.2", "one HEADERS frame", request(), wants=answers())
    padded = frame(HEADERS, b"\x06" + GET + bytes(6), flags=WHOLE | PADDED, stream=1)
    case("6.2", "padded HEADERS", padded, wants=answers())
    with_priority = frame(HEADERS, struct.pack("!IB", 0, 255) + GET, flags=WHOLE | PRIORITY_FLAG, stream=1)
    case("6.2", "HEADERS with priority", with_priority, wants=answers())
    both = frame(
        HEADERS, b"\x02" + struct.pack("!IB", 0, 255) + GET + bytes(2), flags=WHOLE | PRIORITY_FLAG | PADDED, stream=1
    )
    case("6.2", "padded HEADERS with priority", both, wants=answers())
    case("6.2", "PRIORITY after HEADERS without END_HEADERS", begun, priority(3), wants=fails(PROTOCOL_ERROR))
    case("6.2", "HEADERS of stream 0", request(stream=0), wants=fails(PROTOCOL_ERROR))
    too_padded = frame(HEADERS, b"\xff" + GET, flags=WHOLE | PADDED, stream=1)
    case("6.2", "HEADERS with more padding than payload", too_padded, wants=fails(PROTOCOL_ERROR))
    case(
        "6.2",
        "HEADERS too short for their priority",
        frame(HEADERS, b"\0\0", flags=WHOLE | PRIORITY_FLAG, stream=1),
        wants=fails(FRAME_SIZE_ERROR, PROTOCOL_ERROR),
    )
    case("6.3", "PRIORITY of stream 0", priority(0), wants=fails(PROTOCOL_ERROR))
    case("6.3", "PRIORITY of 4 bytes", post(), frame(PRIORITY, bytes(4), stream=1), wants=broken(1, FRAME_SIZE_ERROR))
    case("6.3", "PRIORITY of 6 bytes", post(), frame(PRIORITY, bytes(6), stream=1), wants=broken(1, FRAME_SIZE_ERROR))
    case("6.4", "RST_STREAM", post(), reset(1), frame(PING, OPAQUE), wants=PINGED)
    case("6.4", "RST_STREAM of stream 0", reset(0), wants=fails(PROTOCOL_ERROR))
    case("6.4", "RST_STREAM of an idle stream", reset(3), wants=fails(PROTOCOL_ERROR))
    case("6.4", "RST_STREAM of 3 bytes", post(), frame(RST_STREAM, bytes(3), stream=1), wants=fails(FRAME_SIZE_ERROR))
    case("6.4", "RST_STREAM of 5 bytes", post(), frame(RST_STREAM, bytes(5), stream=1), wants=fails(FRAME_SIZE_ERROR))
    acknowledged = has("its acknowledgement", lambda seen: seen.settings_acknowledged == 2)
    case("6.5", "SETTINGS", setting((MAX_CONCURRENT_STREAMS, 10)), wants=acknowledged)
    case(
        "6.5", "an acknowledgement with a payload", frame(SETTINGS, bytes(6), flags=ACK), wants=fails(FRAME_SIZE_ERROR)
    )
    case(
        "6.5", "SETTINGS of a stream", frame(SETTINGS, struct.pack("!HI", 3, 10), stream=1), wants=fails(PROTOCOL_ERROR)
    )
    case("6.5", "SETTINGS of 3 bytes", frame(SETTINGS, bytes(3)), wants=fails(FRAME_SIZE_ERROR))
    case("6.5.2", "SETTINGS_ENABLE_PUSH of 2", setting((ENABLE_PUSH, 2)), wants=fails(PROTOCOL_ERROR))
    case("6.5.2", "SETTINGS_ENABLE_PUSH of 0 and 1", setting((ENABLE_PUSH, 0), (ENABLE_PUSH, 1)), wants=acknowledged)
    case(
        "6.5.2",
        "SETTINGS_INITIAL_WINDOW_SIZE of 2^31",
        setting((INITIAL_WINDOW_SIZE, 2**31)),
        wants=fails(FLOW_CONTROL_ERROR),
    )
    case(
        "6.5.2",
        "SETTINGS_INITIAL_WINDOW_SIZE of 2^31 - 1",
        setting((INITIAL_WINDOW_SIZE, 2**31 - 1)),
        request(),
        wants=answers(),
    )
    case("6.5.2", "SETTINGS_MAX_FRAME_SIZE of 16,383", setting((MAX_FRAME_SIZE, 16_383)), wants=fails(PROTOCOL_ERROR))
    case("6.5.2", "SETTINGS_MAX_FRAME_SIZE of 2^24", setting((MAX_FRAME_SIZE, 2**24)), wants=fails(PROTOCOL_ERROR))
    case(
        "6.5.2", "SETTINGS_MAX_FRAME_SIZE of 2^24 - 1", setting((MAX_FRAME_SIZE, 2**24 - 1)), request(), wants=answers()
    )
    case("6.5.2", "SETTINGS_HEADER_TABLE_SIZE of 0", setting((HEADER_TABLE_SIZE, 0)), request(), wants=answers())
    case("6.5.2", "an unknown setting", setting((0xFF, 1)), wants=acknowledged)
    one_byte = has("a DATA frame of one byte", lambda seen: [len(piece) for piece in seen.pieces.get(1, [])] == [1])
    twice = setting((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1))
    case("6.5.3", "a setting twice in one frame: the last counts", twice, request(), wants=one_byte)
    case("6.5.3", "settings in turn", setting((INITIAL_WINDOW_SIZE, 9)), twice, request(), wants=one_byte)
    promise = frame(PUSH_PROMISE, struct.pack("!I", 2) + GET, flags=END_HEADERS, stream=1)
    case("6.6", "PUSH_PROMISE", post(), promise, wants=fails(PROTOCOL_ERROR))
    case("6.7", "PING", frame(PING, OPAQUE), wants=PINGED)
    unasked = has("no answer", lambda seen: OPAQUE not in seen.pongs)
    case("6.7", "an answer to no PING", frame(PING, OPAQUE, flags=ACK), wants=unasked)
    case("6.7", "PING of a stream", frame(PING, OPAQUE, stream=1), wants=fails(PROTOCOL_ERROR))
    case("6.7", "PING of 6 bytes", frame(PING, bytes(6)), wants=fails(FRAME_SIZE_ERROR))
    case("6.7", "PING of 9 bytes", frame(PING, bytes(9)), wants=fails(FRAME_SIZE_ERROR))
    case("6.8", "GOAWAY of a stream", frame(GOAWAY, bytes(8), stream=1), wants=fails(PROTOCOL_ERROR))
    case("6.8", "GOAWAY while no stream is open", frame(GOAWAY, bytes(8)), wants=hangs_up())
    farewell = has("the answer, then the end", lambda seen: seen.body(1) == b"hello" and 1 in seen.ended)
    ended = Want(farewell[0].text, lambda seen: farewell[0].holds(seen) and seen.is_over, ends=True)
    case("6.8", "GOAWAY while a stream is open", HALF_CLOSED + frame(GOAWAY, bytes(8)) + goes_on, wants=(ended,))
    case("6.9", "WINDOW_UPDATE of the connection", window_update(100), request(), wants=answers())
    case("6.9", "WINDOW_UPDATE of a stream", post(), goes_on, data(b"x", ends=True), wants=answers(body=b"x"))
    case("6.9", "WINDOW_UPDATE of 0", window_update(0), wants=fails(PROTOCOL_ERROR))
    case("6.9", "WINDOW_UPDATE of 0 in a stream", post(), window_update(0, 1), wants=broken(1, PROTOCOL_ERROR))
    case("6.9", "WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, bytes(3)), wants=fails(FRAME_SIZE_ERROR))
    case("6.9.1", "a window of 1", setting((INITIAL_WINDOW_SIZE, 1)), request(), wants=one_byte)
    case("6.9.1", "windows beyond 2^31 - 1", window_update(2**31 - 1) * 2, wants=fails(FLOW_CONTROL_ERROR))
    beyond = post() + window_update(2**31 - 1, 1) * 2
    case("6.9.1", "a stream's window beyond 2^31 - 1", beyond, wants=broken(1, FLOW_CONTROL_ERROR))
    over = data(largest) * 9  # our window of a stream is 128 KiB, that of the connection larger
    flooded = frame(SETTINGS) + post(path="/late") + over
    case("6.9.1", "more DATA than the window allows", HELD + flooded, wants=broken(1, FLOW_CONTROL_ERROR))
    held = has("no DATA", lambda seen: 1 in seen.heads and not seen.pieces.get(1))
    case("6.9.2", "a window of 0", HALF_CLOSED, opened(), wants=held)
    larger = setting((INITIAL_WINDOW_SIZE, 1))
    case("6.9.2", "a larger initial window, after HEADERS", HALF_CLOSED, opened(), larger, wants=one_byte)
    three = has("three bytes, then one", lambda seen: [len(piece) for piece in seen.pieces.get(1, [])] == [3, 1])
    case(
        "6.9.2",
        "a window that is negative for a while",
        setting((INITIAL_WINDOW_SIZE, 3)) + request(),
        Until(lambda seen: seen.body(1) == b"hel"),
        setting((INITIAL_WINDOW_SIZE, 2)) + window_update(1, 1) + window_update(1, 1),
        wants=three,
    )
    overflown = setting((INITIAL_WINDOW_SIZE, 2**31))
    case(
        "6.9.2", "an initial window beyond 2^31 - 1, after HEADERS", post(), overflown, wants=fails(FLOW_CONTROL_ERROR)
    )
    grown = post() + window_update(2**31 - 1 - 65_535, 1) + setting((INITIAL_WINDOW_SIZE, 65_536))
    case("6.9.2", "an initial window that makes a stream's overflow", grown, wants=fails(FLOW_CONTROL_ERROR))
    pieces = [GET[:1], GET[1:4], GET[4:]]
    head = frame(HEADERS, pieces[0], flags=END_STREAM, stream=1)
    middle = frame(CONTINUATION, pieces[1], stream=1)
    tail = frame(CONTINUATION, pieces[2], flags=END_HEADERS, stream=1)
    case("6.10", "one CONTINUATION", begun, frame(CONTINUATION, FIELD, flags=END_HEADERS, stream=1), wants=answers())
    case("6.10", "several CONTINUATIONs", head, middle, tail, wants=answers())
    case("6.10", "an empty CONTINUATION", begun, frame(CONTINUATION, flags=END_HEADERS, stream=1), wants=answers())
    case("6.10", "HEADERS after CONTINUATION", head, middle, request(stream=3), wants=fails(PROTOCOL_ERROR))
    case("6.10", "DATA after CONTINUATION", head, middle, data(b"x"), wants=fails(PROTOCOL_ERROR))
    other = frame(CONTINUATION, pieces[1], stream=3)
    case("6.10", "CONTINUATION of another stream", head, other, wants=fails(PROTOCOL_ERROR))
    zero = frame(CONTINUATION, pieces[1], stream=0)
    case("6.10", "CONTINUATION of stream 0", head, zero, wants=fails(PROTOCOL_ERROR))
    field_block = frame(CONTINUATION, FIELD, flags=END_HEADERS, stream=1)
    case("6.10", "CONTINUATION after END_HEADERS", post(), field_block, wants=fails(PROTOCOL_ERROR))
    case("6.10", "CONTINUATION after CONTINUATION with END_HEADERS", head, middle, tail, field_block, wants=naked)
    case("6.10", "CONTINUATION after DATA", post(), data(b"x"), field_block, wants=fails(PROTOCOL_ERROR))

    # 7 Error codes
    unknown = frame(GOAWAY, struct.pack("!II", 0, 0xFF))
    case("7", "GOAWAY with an unknown code", unknown, wants=hangs_up())
    case("7", "RST_STREAM with an unknown code", post(), reset(1, 0xFF), frame(PING, OPAQUE), wants=PINGED)

    # 8 Expressing HTTP semantics in HTTP/2
    case("8.1", "GET", request(), wants=answers())
    nothing = has("200 without DATA", lambda seen: seen.status(1) == "200" and 1 in seen.ended and not seen.body(1))
    case("8.1", "HEAD", request(method="HEAD"), wants=nothing)
    case("8.1", "POST", post(), data(b"test", ends=True), wants=answers(body=b"test"))
    trailers = frame(HEADERS, block(("x-trailer", "test")), flags=WHOLE, stream=1)
    case("8.1", "POST with trailers", post(), data(b"test"), trailers, wants=answers(body=b"test"))
    unended = frame(HEADERS, block(("x-trailer", "test")), flags=END_HEADERS, stream=1)
    case("8.1", "trailers without END_STREAM", post(), data(b"test"), unended, wants=malformed())
    case("8.1", "END_STREAM in an empty DATA frame", post(), data(b"", ends=True), wants=answers(body=b""))
    interim = has("100, then 200", lambda s: [head[":status"] for head in s.heads.get(1, [])] == ["100", "200"])
    waiting = Until(lambda seen: seen.status(1) == "100")
    case("8.1", "Expect: 100-continue", post(("expect", "100-continue")), waiting, data(b"x", ends=True), wants=interim)
    case(
        "8.1.1",
        "a malformed request leaves other streams alone",
        HALF_CLOSED + request(("A", "b"), stream=3) + goes_on,
        wants=answers(),
    )
    case(
        "8.1.1",
        "a Content-Length of more than DATA",
        post(("content-length", "5")),
        data(b"test", ends=True),
        wants=malformed(),
    )
    case(
        "8.1.1",
        "a Content-Length of less than DATA",
        post(("content-length", "3")),
        data(b"test", ends=True),
        wants=malformed(),
    )
    case(
        "8.1.1",
        "a Content-Length of less than several",
        post(("content-length", "3")),
        data(b"te"),
        data(b"st", ends=True),
        wants=malformed(),
    )
    case("8.1.1", "a Content-Length of a request without DATA", request(("content-length", "1")), wants=malformed())
    case(
        "8.1.1",
        "two Content-Lengths that differ",
        post(("content-length", "4"), ("content-length", "5")),
        data(b"test", ends=True),
        wants=malformed(),
    )
    case(
        "8.1.1",
        "a Content-Length that is no number",
        post(("content-length", "+4")),
        data(b"test", ends=True),
        wants=malformed(),
    )
    ends = frame(HEADERS, block(("x-trailer", "test")), flags=WHOLE, stream=1)
    promised = post(("content-length", "5"))
    case(
        "8.1.1", "a Content-Length of more than DATA before trailers", promised, data(b"test"), ends, wants=malformed()
    )
    again = frame(HEADERS, block(("content-length", "4")), flags=WHOLE, stream=1)
    case("8.1.1", "a Content-Length that trailers change", promised, data(b"test"), again, wants=malformed())
    case("8.1.1", "a Content-Length of nothing", request(("content-length", "0")), wants=answers())
    case(
        "8.1.1",
        "a Content-Length that is right",
        post(("content-length", "4")),
        data(b"test", ends=True),
        wants=answers(body=b"test"),
    )
    for name, text in {
        "upper case": "X-Test",
        "a blank": "x test",
        "a control": "x\x01",
        "beyond ASCII": "x\x80",
        "a colon": "x:y",
    }.items():
        case("8.2.1", f"a name with {name}", request((text, "test")), wants=malformed())
    case("8.2.1", "an empty name", request(("", "test")), wants=malformed())
    for name, text in {
        "NUL": "a\0b",
        "a line feed": "a\nb",
        "a carriage return": "a\rb",
        "a blank first": " a",
        "a blank last": "a ",
        "a tab last": "a\t",
    }.items():
        case("8.2.1", f"a value with {name}", request(("x-test", text)), wants=malformed())
        case("8.2.1", f":path with {name}", request(path="/" + text), wants=malformed())
    case(
        "8.2.1",
        "a field that would end a head of HTTP/1.1",
        request(("x", "a\r\n\r\nGET /b HTTP/1.1")),
        wants=malformed(),
    )
    case(
        "8.2.1",
        "an upper case name in trailers",
        post(),
        frame(HEADERS, block(("X-Test", "a")), flags=WHOLE, stream=1),
        wants=malformed(),
    )
    for name, value in {
        "connection": "keep-alive",
        "keep-alive": "timeout=5",
        "proxy-connection": "keep-alive",
        "transfer-encoding": "chunked",
        "upgrade": "h2c",
        "te": "trailers, deflate",
    }.items():
        case("8.2.2", f"{name}: {value}", request((name, value)), wants=malformed())
    case("8.2.2", "te: trailers", request(("te", "trailers")), wants=answers())
    crumbs = request(("cookie", "a=b"), ("cookie", "c=d"), path="/show?HTTP_COOKIE")
    case("8.2.3", "cookies in several fields", crumbs, wants=answers(body=b"a=b; c=d"))
    case("8.3", "an unknown pseudo-header field", request(test="test"), wants=malformed())
    case("8.3", "a response's pseudo-header field", request(status="200"), wants=malformed())
    in_trailers = frame(HEADERS, block((":method", "GET")), flags=WHOLE, stream=1)
    case("8.3", "a pseudo-header field in trailers", post(), data(b"x"), in_trailers, wants=malformed())
    behind = frame(HEADERS, block(("x", "y"), *pseudo()), flags=WHOLE, stream=1)
    case("8.3", "a pseudo-header field behind others", behind, wants=malformed())
    for name in ("method", "scheme", "path"):
        case("8.3.1", f"no :{name}", request(without=[name]), wants=malformed())
    case("8.3.1", "no :authority and no host", request(without=["authority"]), wants=malformed())
    case(
        "8.3.1",
        "host for :authority",
        request(("host", "a"), path="/show?HTTP_HOST", without=["authority"]),
        wants=answers(body=b"a"),
    )
    case("8.3.1", ":authority and the same host", request(("host", "a"), authority="a"), wants=answers())
    case("8.3.1", ":authority and another host", request(("host", "a"), authority="b"), wants=malformed())
    case("8.3.1", "an :authority with userinfo", request(authority="user@a"), wants=malformed())
    case("8.3.1", "an :authority with a path", request(authority="a/b"), wants=malformed())
    case("8.3.1", "an empty :path", request(path=""), wants=malformed())
    case("8.3.1", "a :path without a slash", request(path="x"), wants=malformed())
    case("8.3.1", "a :path with a blank", request(path="/a b"), wants=malformed())
    case("8.3.1", "OPTIONS of *", request(method="OPTIONS", path="*"), wants=answers(body=None))
    case("8.3.1", "a method that is no token", request(method="GE T"), wants=malformed())
    case("8.3.1", "an empty method", request(method=""), wants=malformed())
    for name in ("method", "scheme", "path", "authority"):
        pairs = pseudo()
        again = next(pair for pair in pairs if pair[0] == f":{name}")
        twice_sent = frame(HEADERS, block(*pairs, again), flags=WHOLE, stream=1)
        case("8.3.1", f":{name} twice", twice_sent, wants=malformed())
    no_tunnel = has("no tunnel", lambda s: s.status(1)[:1] in ("4", "5") or 1 in s.resets)
    plain = request(method="CONNECT", without=["scheme", "path"], ends=False)
    case("8.5", "CONNECT", plain, wants=no_tunnel)
    case("8.5", "CONNECT with :scheme and :path", request(method="CONNECT", ends=False), wants=malformed())
    case(
        "8.5",
        "CONNECT without :authority",
        request(method="CONNECT", without=["scheme", "path", "authority"]),
        wants=malformed(),
    )

    # RFC 7541
    show = block(*pseudo(path="/show?HTTP_X_TEST"))

    def shows(name: str, section: str, fields: bytes, want: bytes = b"a") -> None:
        case(section, name, frame(HEADERS, show + fields, flags=WHOLE, stream=1), wants=answers(body=want))

    shows("a field of the static table", "RFC 7541 6.1", b"\x90", b"-")
    shows("a literal with incremental indexing, new name", "RFC 7541 6.2.1", b"\x40\x06x-test\x01a")
    shows("the same, Huffman-coded", "RFC 7541 6.2.1", block(("x-test", "a")))
    shows(
        "a literal with incremental indexing, indexed name", "RFC 7541 6.2.1", b"\x40\x06x-test\x01b\x7e\x01a", b"b, a"
    )
    shows("a literal without indexing, new name", "RFC 7541 6.2.2", b"\x00\x06x-test\x01a")
    shows("a literal without indexing, indexed name", "RFC 7541 6.2.2", b"\x40\x06x-test\x01b\x0f\x2f\x01a", b"b, a")
    shows("a literal never indexed, new name", "RFC 7541 6.2.3", b"\x10\x06x-test\x01a")
    shows("a literal never indexed, indexed name", "RFC 7541 6.2.3", b"\x40\x06x-test\x01b\x1f\x2f\x01a", b"b, a")
    shows("an indexed field of the dynamic table", "RFC 7541 6.1", b"\x40\x06x-test\x01a\xbe", b"a, a")
    shows("an empty value", "RFC 7541 6.2.1", b"\x40\x06x-test\x00", b"")
    smaller = frame(HEADERS, b"\x20" + show + b"\x00\x06x-test\x01a", flags=WHOLE, stream=1)
    case("RFC 7541 4.2", "a table of size 0", smaller, wants=answers(body=b"a"))
    two = frame(HEADERS, b"\x20\x3f\xe1\x1f" + show + b"\x40\x06x-test\x01a\xbe", flags=WHOLE, stream=1)
    case("RFC 7541 4.2", "two sizes at the beginning of a block", two, wants=answers(body=b"a, a"))
    first = frame(HEADERS, show + b"\x40\x06x-test\x01a", flags=WHOLE, stream=1)
    case(
        "RFC 7541 2.3.2",
        "a field of an earlier block",
        first,
        frame(HEADERS, PLAIN + b"\x04\x11/show?HTTP_X_TEST\xbe", flags=WHOLE, stream=3),
        wants=answers(3, body=b"a"),
    )
    case(
        "RFC 7541 2.3.2",
        "an entry that the table's size evicted",
        first,
        frame(HEADERS, b"\x20" + PLAIN + b"\x84\xbe", flags=WHOLE, stream=3),
        wants=fails(COMPRESSION_ERROR),
    )
    case("RFC 7541 2.3.3", "an index beyond both tables", raw(b"\xc6"), wants=fails(COMPRESSION_ERROR))
    case(
        "RFC 7541 2.3.3",
        "a literal whose name's index is beyond both",
        raw(b"\x7f\x07\x01a"),
        wants=fails(COMPRESSION_ERROR),
    )
    case("RFC 7541 4.2", "a size at the end of a block", raw(b"\x20"), wants=fails(COMPRESSION_ERROR))
    case(
        "RFC 7541 5.1", "an integer without end", raw(b"\xff" + b"\x80" * 100 + b"\x01"), wants=fails(COMPRESSION_ERROR)
    )
    case(
        "RFC 7541 5.2",
        "Huffman padding of more than 7 bits",
        raw(b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"),
        wants=fails(COMPRESSION_ERROR),
    )
    case(
        "RFC 7541 5.2",
        "Huffman padding of zeros",
        raw(b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"),
        wants=fails(COMPRESSION_ERROR),
    )
    case(
        "RFC 7541 5.2",
        "Huffman's EOS",
        raw(b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f"),
        wants=fails(COMPRESSION_ERROR),
    )
    case("RFC 7541 6.1", "index 0", raw(b"\x80"), wants=fails(COMPRESSION_ERROR))
    case(
        "RFC 7541 6.3",
        "a size beyond SETTINGS_HEADER_TABLE_SIZE",
        frame(HEADERS, b"\x3f\xe2\x1f" + GET, flags=WHOLE, stream=1),
        wants=fails(COMPRESSION_ERROR),
    )

    # RFC 8441
    def eight(name: str, *steps: bytes | Until, wants: tuple[Want, ...], section: str = "5") -> None:
        case(f"RFC 8441 {section}", name, *steps, wants=wants)

    told = has("SETTINGS_ENABLE_CONNECT_PROTOCOL of 1", lambda seen: seen.settings.get(ENABLE_CONNECT_PROTOCOL) == 1)
    eight("what the server says", wants=told, section="3")
    eight(
        "a client's SETTINGS_ENABLE_CONNECT_PROTOCOL of 2",
        setting((ENABLE_CONNECT_PROTOCOL, 2)),
        wants=fails(PROTOCOL_ERROR),
        section="3",
    )
    masked = websocket_frame(TEXT, b"hello")
    eight("a message", connect(), opened(), data(masked), wants=echoed(b"hello"))
    eight("a message before the answer", connect() + data(masked), wants=echoed(b"hello"))
    eight(
        "a message in DATA of one byte each",
        connect(),
        *[data(masked[n : n + 1]) for n in range(len(masked))],
        wants=echoed(b"hello"),
    )
    eight(
        "a message in padded DATA",
        connect(),
        frame(DATA, b"\x09" + masked + bytes(9), flags=PADDED, stream=1),
        wants=echoed(b"hello"),
    )
    plain_answer = has(
        "200 without Sec-WebSocket-Accept, Upgrade and Connection",
        lambda s: s.status(1) == "200" and not {"sec-websocket-accept", "upgrade", "connection"} & {*s.heads[1][-1]},
    )
    eight("what the answer has", connect(), wants=plain_answer)
    eight("https for wss", connect(scheme="https"), data(masked), wants=echoed(b"hello"))
    eight(
        "a Sec-WebSocket-Key all the same",
        connect(("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")),
        data(masked),
        wants=echoed(b"hello"),
    )
    eight(":protocol without CONNECT", request(protocol="websocket"), wants=malformed(), section="4")
    for name in ("scheme", "path", "authority"):
        missing = request(
            ("sec-websocket-version", "13"), method="CONNECT", ends=False, without=[name], protocol="websocket"
        )
        eight(f"no :{name}", missing, wants=malformed(), section="4")
    eight("another scheme than http and https", connect(scheme="wss"), wants=malformed())
    eight(":protocol of something else", connect(protocol="connect-udp"), wants=no_tunnel, section="4")
    eight(
        ":protocol twice",
        frame(
            HEADERS,
            block(*pseudo("CONNECT"), (":protocol", "websocket"), (":protocol", "websocket")),
            flags=END_HEADERS,
            stream=1,
        ),
        wants=malformed(),
        section="4",
    )
    eight("Connection and Upgrade", connect(("connection", "upgrade"), ("upgrade", "websocket")), wants=malformed())
    refused_version = has("a 4xx", lambda seen: seen.status(1).startswith("4"))
    eight(
        "another version",
        request(("sec-websocket-version", "8"), method="CONNECT", ends=False, protocol="websocket"),
        wants=refused_version,
    )
    ended_too = has("END_STREAM", lambda seen: 1 in seen.ended and seen.status(1) == "200")
    eight("END_STREAM without a close frame", connect(), opened(), data(b"", ends=True), wants=ended_too)
    eight(
        "END_STREAM with the opening handshake",
        request(("sec-websocket-version", "13"), method="CONNECT", protocol="websocket"),
        wants=(*ended_too, *malformed()),
    )
    closed = has(
        "a close frame, and END_STREAM", lambda seen: seen.body(1)[:1] == bytes([0x80 | CLOSE]) and 1 in seen.ended
    )
    eight("the closing handshake", connect(), opened(), data(close_frame(1000)), wants=closed)
    eight("RST_STREAM", connect(), opened(), reset(1), request(stream=3), wants=answers(3))
    eight(
        "RST_STREAM in the middle of a message",
        connect(),
        opened(),
        data(masked[:4]),
        reset(1),
        request(stream=3),
        wants=answers(3),
    )
    eight(
        "a frame that is not masked",
        connect(),
        opened(),
        data(websocket_frame(TEXT, b"x", key=None)),
        request(stream=3),
        wants=closed,
    )
    eight(
        "trailers",
        connect(),
        opened(),
        frame(HEADERS, block(("x-trailer", "a")), flags=WHOLE, stream=1),
        wants=(*ended_too, *malformed()),
    )
    eight(
        "HEADERS without END_STREAM in a tunnel",
        connect(),
        opened(),
        frame(HEADERS, block(("x", "a")), flags=END_HEADERS, stream=1),
        wants=malformed(),
    )
    eight(
        "a WebSocket beside a request",
        connect() + request(stream=3) + data(masked),
        wants=has("both", lambda s: bool(s.body(1)) and s.body(3) == b"hello"),
    )
    long = websocket_frame(TEXT, b"x" * 200_000)
    eight(
        "a message larger than the window",
        connect() + b"".join(data(long[n : n + 16_384]) for n in range(0, 114_688, 16_384)),
        Until(lambda seen: seen.opened.get(1, 0) > 60_000),
        *[data(long[n : n + 16_384]) for n in range(114_688, 163_840, 16_384)],
        Until(lambda seen: seen.opened.get(1, 0) > 110_000),
        *[data(long[n : n + 16_384]) for n in range(163_840, len(long), 16_384)],
        window_update(1 << 20) + window_update(1 << 20, 1),
        wants=has("the message", lambda seen: len(seen.body(1)) > 200_000),
    )
    small = has("as much as the window allows", lambda seen: len(seen.body(1)) == 3)
    eight("a client's window of 3", setting((INITIAL_WINDOW_SIZE, 3)), connect(), opened(), data(masked), wants=small)
    eight(
        "a client's window that opens later",
        HELD,
        connect(),
        opened(),
        data(masked),
        window_update(100, 1),
        wants=echoed(b"hello"),
    )
    return cases


CASES = _cases()
