"""HTTP/2's floods and other bad frames: bounded work and memory, and nobody else notices.

The classes are those of CVE-2019-9511 to 9518, CVE-2023-44487 (rapid reset), the CONTINUATION floods of 2024 and
CVE-2025-8671 (made you reset).
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from support.eventually import eventually
from support.http2_client import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Http2Client,
    RawConnection,
    frame,
)
from support.http_client import resident_kib
from support.server import HTTP2_SOCKET, Server

# :method GET, :scheme http, :path /, :authority x (RFC 7541 A); the method POST is 0x83
GET = b"\x82\x86\x84\x41\x01x"
POST = b"\x83\x86\x84\x41\x01x"
LARGE = b"\x82\x86\x44\x06/large\x41\x01x"
WINDOW_OF_ONE = frame(WINDOW_UPDATE, b"\0\0\0\x01", stream=1)
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, COMPRESSION_ERROR = 0x1, 0x3, 0x6, 0x9

APPLICATION = """
def application(environ, start_response):
    if environ["PATH_INFO"] == "/large":
        start_response("200 OK", [])
        return (b"x" * 100_000 for _ in range(100))
    start_response("200 OK", [])
    return [b"hello"]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(APPLICATION, program=HTTP2_SOCKET) as server:
        yield server


@pytest.fixture
def connection(server: Server) -> Iterator[RawConnection]:
    """After the test somebody else must be served as if nothing had been."""
    with RawConnection(server.addresses[0]) as connection:
        yield connection
    with Http2Client(server.addresses[0]) as client:
        assert client.request().body == b"hello"


def resets() -> Iterator[bytes]:
    for number in range(1, 100_000, 2):
        yield frame(HEADERS, GET, flags=END_STREAM | END_HEADERS, stream=number) + frame(
            RST_STREAM, bytes(4), stream=number
        )


def resets_that_we_make() -> Iterator[bytes]:
    """A window that overflows is our reason to reset the stream."""
    for number in range(1, 100_000, 2):
        yield frame(HEADERS, POST, flags=END_HEADERS, stream=number) + frame(
            WINDOW_UPDATE, b"\x7f\xff\xff\xff", stream=number
        )


def malformed() -> Iterator[bytes]:
    """Our reason to reset the stream, too."""
    for number in range(1, 100_000, 2):
        yield frame(HEADERS, GET + b"\x40\x01A\x01b", flags=END_STREAM | END_HEADERS, stream=number)


def too_many_streams() -> Iterator[bytes]:
    yield frame(SETTINGS, struct.pack("!HI", 4, 0))  # no answer ends
    for number in range(1, 100_000, 2):
        yield frame(HEADERS, GET, flags=END_STREAM | END_HEADERS, stream=number)


def after_the_end(late: bytes) -> Callable[[], Iterator[bytes]]:
    """What may still come on a stream that has been reset costs nothing, but is not without end."""

    def flood() -> Iterator[bytes]:
        yield frame(HEADERS, POST, flags=END_HEADERS, stream=1) + frame(RST_STREAM, bytes(4), stream=1)
        while True:
            yield late

    return flood


def empty_data() -> Iterator[bytes]:
    yield frame(HEADERS, POST, flags=END_HEADERS, stream=1)
    while True:
        yield frame(DATA, stream=1)


def always(*frames: bytes) -> Callable[[], Iterator[bytes]]:
    def flood() -> Iterator[bytes]:
        while True:
            yield b"".join(frames)

    return flood


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(always(frame(PING, bytes(8))), id="pings"),
        pytest.param(always(frame(SETTINGS, struct.pack("!HI", 4, 65_535))), id="settings"),
        pytest.param(always(frame(SETTINGS)), id="empty settings"),
        pytest.param(always(frame(PRIORITY, b"\0\0\0\0\x10", stream=1)), id="priorities"),
        pytest.param(always(frame(0xFA, b"x")), id="unknown frames"),
        pytest.param(always(frame(WINDOW_UPDATE, b"\0\0\0\x01")), id="window updates"),
        pytest.param(empty_data, id="empty data"),
        pytest.param(resets, id="rapid resets"),
        pytest.param(resets_that_we_make, id="resets that we are made to do"),
        pytest.param(malformed, id="malformed requests"),
        pytest.param(too_many_streams, id="more streams than there may be"),
        pytest.param(always(frame(PING, bytes(8), flags=ACK)), id="answers to no ping"),
        pytest.param(always(frame(SETTINGS, flags=ACK)), id="acknowledgements of settings"),
        pytest.param(after_the_end(frame(DATA, b"x", stream=1)), id="data of an ended stream"),
        pytest.param(after_the_end(WINDOW_OF_ONE), id="updates of an ended stream"),
        pytest.param(after_the_end(frame(RST_STREAM, bytes(4), stream=1)), id="resets of an ended stream"),
    ],
)
def test_a_flood_is_told_to_be_calm(connection: RawConnection, flood: Callable[[], Iterator[bytes]]) -> None:
    connection.send(b"".join(itertools.islice(flood(), 3_000)))
    assert connection.goodbye() == ENHANCE_YOUR_CALM


def test_a_window_that_opens_by_the_byte_is_told_to_be_calm(connection: RawConnection) -> None:
    """CVE-2019-9511 and 9517: a body in frames of one byte each costs us more than the client."""
    connection.send(frame(SETTINGS, struct.pack("!HI", 4, 1)))
    connection.send(frame(HEADERS, LARGE, flags=END_STREAM | END_HEADERS, stream=1))
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(3_000):
        came = connection.sock.recv(65_536)
        if ENHANCE_YOUR_CALM.to_bytes(4, "big") in came or not connection.send(WINDOW_OF_ONE):
            return
    pytest.fail("it was sent byte by byte")


def test_rapid_resets_run_few_applications(serve: Callable[..., Server]) -> None:
    server = serve(APPLICATION, program=HTTP2_SOCKET)
    with RawConnection(server.addresses[0]) as connection:
        connection.send(b"".join(itertools.islice(resets(), 5_000)))
        assert connection.goodbye() == ENHANCE_YOUR_CALM
    server.wait_for_log("too many frames that carry nothing")
    assert server.log.count("GET /") < 1_100


def test_who_does_not_read_our_answers_is_not_read_from(serve: Callable[..., Server]) -> None:
    """100 bodies of 10 MB. Heads, which no window slows down, have a test of the front's own."""
    server = serve(APPLICATION, program=HTTP2_SOCKET)
    with Http2Client(server.addresses[0], window=2**31 - 1) as client, Http2Client(server.addresses[0]) as witness:
        before = resident_kib(server.pid)
        client.h2.increment_flow_control_window(2**30)
        for _ in range(100):
            client.start(path="/large")
        for _ in range(10):
            witness.request()
        assert resident_kib(server.pid) - before < 30_000


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param(
            frame(HEADERS, GET, flags=END_STREAM, stream=1) + frame(CONTINUATION, b"", stream=1) * 1_000,
            PROTOCOL_ERROR,
            id="continuations without end",
        ),
        pytest.param(frame(HEADERS, b"", stream=1) + frame(PING, bytes(8)), PROTOCOL_ERROR, id="a frame inside a head"),
        pytest.param(
            # The largest table entry, then thousands of references to it: 4 KB that unpack to megabytes.
            frame(HEADERS, GET + b"\x40\x01a\x7f\xc1\x1e" + b"x" * 4_000 + b"\xbe" * 10_000, flags=5, stream=1),
            ENHANCE_YOUR_CALM,
            id="a bomb of header fields",
        ),
        pytest.param(frame(HEADERS, b"\xff" * 20, flags=5, stream=1), COMPRESSION_ERROR, id="broken HPACK"),
        pytest.param(frame(HEADERS, GET, flags=5, stream=2), PROTOCOL_ERROR, id="an even stream"),
        pytest.param(frame(HEADERS, GET, flags=5, stream=0), PROTOCOL_ERROR, id="headers of no stream"),
        pytest.param(frame(DATA, b"x", stream=1), PROTOCOL_ERROR, id="data of an idle stream"),
        pytest.param(frame(WINDOW_UPDATE, bytes(4)), PROTOCOL_ERROR, id="a window update of nothing"),
        pytest.param(frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff") * 2, FLOW_CONTROL_ERROR, id="too large a window"),
        pytest.param(
            frame(SETTINGS, struct.pack("!HI", 4, 2**31)), FLOW_CONTROL_ERROR, id="too large an initial window"
        ),
        pytest.param(frame(SETTINGS, struct.pack("!HI", 5, 10)), PROTOCOL_ERROR, id="too small a frame size"),
        pytest.param(frame(PING, bytes(7)), FRAME_SIZE_ERROR, id="a short ping"),
        pytest.param(frame(DATA, bytes(20_000), stream=1), FRAME_SIZE_ERROR, id="too large a frame"),
    ],
)
def test_what_h2_forbids_ends_the_connection_with_a_reason(connection: RawConnection, frames: bytes, code: int) -> None:
    connection.send(frames)
    assert connection.goodbye() == code


def test_who_does_not_speak_http2_is_not_waited_for(server: Server) -> None:
    with socket.create_connection(server.addresses[0], 10) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while sock.recv(65_536):
            pass


def test_our_table_of_sent_fields_does_not_grow_with_the_peers_wish(server: Server) -> None:
    """SETTINGS_HEADER_TABLE_SIZE of 4 GB would have each new response field kept for ever."""
    with RawConnection(server.addresses[0]) as connection:
        connection.send(frame(SETTINGS, struct.pack("!HI", 1, 2**32 - 1)))
        connection.send(frame(HEADERS, GET, flags=END_STREAM | END_HEADERS, stream=1))
        connection.sock.shutdown(socket.SHUT_WR)
        assert any(kind == HEADERS for kind, *_ in connection.frames())
    eventually(lambda: "GET /" in server.log)
