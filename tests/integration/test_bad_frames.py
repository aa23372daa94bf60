"""What RFC 6455 makes a server refuse, sent over a real socket; the server lives, and others do not notice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.eventually import eventually
from support.server import Server, finish
from support.websocket_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RawClient,
    close_frame,
    frame,
    text,
)

APPLICATION = """\
import uwsgi_ws

def application(environ, start_response):
    ws = uwsgi_ws.accept(environ)
    while True:
        ws.send(ws.recv())
"""
LIMIT = 1_048_576  # bytes, uWSGI's default
REASONS = {1002: "protocol error", 1007: "invalid UTF-8", 1009: "message too big"}
INVALID = sorted((Path(__file__).parents[1] / "vectors" / "websocket" / "invalid").glob("*.bin"))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(APPLICATION, "--gevent", "50") as server:
        yield server
        finish(server, allow_traceback=False)


@pytest.fixture
def client(server: Server) -> Iterator[RawClient]:
    with RawClient.open(server.port) as client:
        yield client


def expect_failure(client: RawClient, code: int) -> None:
    client.expect_close(code, REASONS[code])
    client.expect_eof()


def usual_invalid_vectors() -> list[Path]:
    return [path for path in INVALID if "limit" not in json.loads(path.with_suffix(".json").read_text("utf-8"))]


@pytest.mark.parametrize("path", usual_invalid_vectors(), ids=lambda path: path.stem)
def test_invalid_vector_gets_its_close_code_after_the_answers_to_what_came_before(server: Server, path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text("utf-8"))
    with RawClient.open(server.port) as client:
        client.send(path.read_bytes())
        for pong in expected["pongs"]:
            client.expect_pong(bytes.fromhex(pong))
        for message in expected["messages"]:
            client.expect_text(message["text"])
        expect_failure(client, expected["close"])


def test_a_fault_ends_its_own_connection_alone(server: Server, client: RawClient) -> None:
    with RawClient.open(server.port) as other:
        other.send(text("still ", fin=False))
        client.send(frame(3))
        expect_failure(client, 1002)
        other.send(frame(CONTINUATION, b"here"))
        other.expect_text("still here")
        other.finish()


def test_a_fragmented_message_is_echoed_whole(client: RawClient) -> None:
    client.send(text("Hel", fin=False))
    client.send(frame(CONTINUATION, b"", fin=False))
    client.send(frame(CONTINUATION, b"lo"))
    client.expect_text("Hello")
    client.finish()


def test_a_ping_is_answered_with_its_payload(client: RawClient) -> None:
    for payload in (b"", b"Hello", bytes(125)):
        client.send(frame(PING, payload))
        client.expect_pong(payload)
    client.finish()


def test_a_ping_between_fragments_is_answered_before_the_message_is_complete(client: RawClient) -> None:
    client.send(frame(BINARY, b"one ", fin=False) + frame(PING, b"now"))
    client.expect_pong(b"now")
    client.send(frame(CONTINUATION, b"two"))
    client.expect_binary(b"one two")
    client.finish()


def test_an_unsolicited_pong_means_nothing(client: RawClient) -> None:
    client.send(frame(PONG, b"?") + frame(PONG) + text("hi"))
    client.expect_text("hi")
    client.finish()


def test_a_frame_may_come_byte_by_byte(client: RawClient) -> None:
    for byte in text("Grüße"):
        client.send(bytes([byte]))
    client.expect_text("Grüße")
    for byte in frame(PING, b"!"):
        client.send(bytes([byte]))
    client.expect_pong(b"!")
    client.finish()


def test_the_largest_message_passes_and_one_byte_more_is_refused_by_its_header(server: Server) -> None:
    with RawClient.open(server.port) as client:
        client.send(frame(BINARY, b"\xa5" * LIMIT))
        client.expect_binary(b"\xa5" * LIMIT)
        client.send(frame(BINARY, length=LIMIT + 1))
        expect_failure(client, 1009)


def test_the_limit_counts_all_fragments(server: Server) -> None:
    half = LIMIT // 2
    with RawClient.open(server.port) as client:
        client.send(frame(BINARY, bytes(half), fin=False) + frame(CONTINUATION, bytes(half)))
        client.expect_binary(bytes(LIMIT))
        client.send(frame(BINARY, bytes(half), fin=False) + frame(CONTINUATION, bytes(half), fin=False))
        client.send(frame(CONTINUATION, b"x"))
        expect_failure(client, 1009)


@pytest.mark.parametrize(("length", "code"), [(2**63 - 1, 1009), (2**63, 1002), (2**64 - 1, 1002), (2**32, 1009)])
def test_an_absurd_length_is_refused_by_its_header(client: RawClient, length: int, code: int) -> None:
    client.send(frame(BINARY, length=length))
    expect_failure(client, code)


def test_a_refused_client_that_goes_on_sending_still_reads_why(client: RawClient) -> None:
    client.send(frame(BINARY, bytes(LIMIT + 1)))
    expect_failure(client, 1009)


def test_text_that_is_no_utf8_is_refused_before_the_message_ends(client: RawClient) -> None:
    client.send(frame(1, b"so far so good \xed\xa0", length=1_000))
    expect_failure(client, 1007)


def test_fragments_without_end_are_refused_at_the_limit_and_take_no_more_memory(server: Server) -> None:
    def resident() -> int:
        with open(f"/proc/{server.pid}/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    before = resident()
    with RawClient.open(server.port) as client:
        client.send(frame(BINARY, b"", fin=False))
        for _ in range(50):
            client.send(frame(CONTINUATION, b"", fin=False) * 2_000)
        client.send(frame(PING, b"all read?"))
        client.expect_pong(b"all read?")
        assert resident() - before < 16_000_000
        client.finish()


def test_a_connection_inherits_nothing_unfinished_from_another(server: Server) -> None:
    with RawClient.open(server.port) as one:
        one.send(text("secret", fin=False) + frame(PING))
        one.expect_pong(b"")
        with RawClient.open(server.port) as two:
            two.send(text("mine"))
            two.expect_text("mine")
            two.send(frame(CONTINUATION, b"theirs?"))
            expect_failure(two, 1002)
        one.send(frame(CONTINUATION, b"!"))
        one.expect_text("secret!")
        one.send(text("left behind", fin=False))
        one.reset()
    with RawClient.open(server.port) as three:
        three.send(frame(CONTINUATION, b"theirs?"))
        expect_failure(three, 1002)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_the_peer_s_close_code_is_echoed_and_the_server_hangs_up_first(server: Server, code: int) -> None:
    with RawClient.open(server.port) as client:
        client.send(close_frame(code, b"why not"))
        client.expect_close(code)
        client.expect_eof()


def test_an_empty_close_frame_is_answered_by_one(client: RawClient) -> None:
    client.send(close_frame())
    client.expect_close(None)
    client.expect_eof()


def test_what_came_before_the_close_frame_is_answered(client: RawClient) -> None:
    client.send(text("last words") + frame(PING, b"?") + close_frame(1001) + text("ghost") + frame(PING, b"ghost"))
    frames = [client.read_frame() for _ in range(3)]
    assert sorted(opcode for _, opcode, _ in frames) == [1, CLOSE, PONG]
    assert frames[-1] == (True, CLOSE, b"\x03\xe9")
    client.expect_eof()


def test_a_flood_of_pings_is_answered_in_bounded_memory(client: RawClient) -> None:
    client.send(frame(PING, b"flood") * 2_000 + text("after"))
    answers = [client.read_frame() for _ in range(2_001)]
    assert sum(answer == (True, PONG, b"flood") for answer in answers) == 2_000
    assert (True, 1, b"after") in answers
    client.finish()


def test_after_all_this_no_connection_is_left(server: Server) -> None:
    """The last test of the file: each one above has been closed or refused."""

    def sockets() -> int:
        with open(f"/proc/{server.pid}/net/tcp") as table:
            port = f":{server.port:04X}"
            return sum(line.split()[1].endswith(port) and line.split()[3] == "01" for line in table)

    assert eventually(lambda: sockets() == 0)
