"""Clients that break HTTP, by mistake or on purpose: each gets its status, the connection ends, the server stays."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, Response, chunked, fetch, request_bytes, resident_kib
from support.server import Server

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "http1"

# Reads the body unless told not to; a request that an attacker has smuggled in shows in the access log.
APPLICATION = """
def application(environ, start_response):
    path = environ["PATH_INFO"]
    size = 0
    if path == "/caught":
        try:
            environ["wsgi.input"].read()
        except OSError as exc:
            start_response("200 OK", [])
            return [("%s %s" % (type(exc).__name__, exc)).encode()]
    elif path == "/large":
        start_response("200 OK", [])
        return [b"x" * 100_000]
    elif path != "/unread":
        size = len(environ["wsgi.input"].read())
    start_response("200 OK", [])
    return [b"%d" % size]
"""

SMUGGLED = request_bytes("GET", "/smuggled")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(APPLICATION, "--gevent", "200", "--buffer-size", "8192") as server:
        open_before = open_files(server)
        yield server
        # Whatever came, it is as it was: alive, no descriptor left, no traceback.
        assert fetch(address(server)).status == 200
        eventually(lambda: open_files(server) <= open_before)
        assert server.stop() == 0
        assert "Traceback" not in server.log
        assert "/smuggled" not in server.log


@pytest.fixture(scope="module")
def hasty_server() -> Iterator[Server]:
    """Its clients have half a second, 4 KiB for a head and 1,000 bytes for a body."""
    options = ("--socket-timeout", "0.5", "--http-timeout", "20", "--buffer-size", "4096", "--limit-post", "1000")
    with Server(APPLICATION, *options) as server:
        yield server
        assert fetch(address(server)).status == 200
        assert server.stop() == 0
        assert "Traceback" not in server.log


def address(server: Server) -> tuple[str, int]:
    return "127.0.0.1", server.port


def open_files(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def talk(server: Server, raw: bytes) -> list[Response]:
    """Send bytes and the end of the stream; return every answer until the server closes."""
    with HttpClient(address(server)) as client:
        client.send(raw)
        client.end_sending()
        return answers(client)


def answers(client: HttpClient) -> list[Response]:
    """Every answer until the server closes."""
    rest = client.read_to_end()
    assert not client.was_reset
    found = []
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        assert lines[0].startswith("HTTP/1.1 "), lines[0]
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines[1:])]
        response = Response(int(lines[0][9:12]), lines[0][13:], headers)
        length = response.get("Content-Length")
        if response.status >= 200:
            assert length is not None, "all answers here are of known length"
            response.body, rest = rest[: int(length)], rest[int(length) :]
            assert len(response.body) == int(length)
            found.append(response)
    return found


def refused(server: Server, raw: bytes) -> int:
    """Send a request and one smuggled behind it; return the status of the only answer."""
    responses = talk(server, raw + SMUGGLED)
    assert len(responses) == 1, [response.status for response in responses]
    assert responses[0].says_close
    return responses[0].status


# The engine's own vectors, over a socket


def vectors(kind: str) -> list[Any]:
    """Those with the limits of the server below: 8 KiB for a target is the engine's default too."""
    found = []
    for path in sorted((VECTORS / kind).glob("*.http")):
        expected = json.loads(path.with_suffix(".json").read_text())
        # The server's limits are its own, and it goes on with no connection that has asked for a WebSocket.
        if (
            "limits" not in expected
            and "rest" not in expected
            and path.stem != "upgrade-websocket-refused-then-request"
        ):
            found.append(pytest.param(path.read_bytes(), expected, id=path.stem))
    return found


@pytest.mark.parametrize(("raw", "expected"), vectors("invalid"))
def test_what_the_parser_refuses_is_answered_once_and_the_connection_ends(
    server: Server, raw: bytes, expected: dict[str, Any]
) -> None:
    with HttpClient(address(server)) as client:
        client.send(raw)
        responses = answers(client)  # it closes although we have not
    # One for each head, the last of which may have had a bad body, and one where no head could be read.
    assert len(responses) in (expected["heads"], expected["heads"] + 1)
    assert responses[-1].status == expected["status"]
    assert responses[-1].says_close
    assert all(response.status == 200 for response in responses[:-1])


@pytest.mark.parametrize(("raw", "expected"), vectors("valid"))
def test_what_the_parser_accepts_is_answered(server: Server, raw: bytes, expected: dict[str, Any]) -> None:
    responses = talk(server, raw)
    assert len(responses) == len(expected["requests"])
    for response, request in zip(responses, expected["requests"], strict=True):
        variables = request["variables"]
        if "websocket" in variables.get("HTTP_UPGRADE", "").lower() and variables["SERVER_PROTOCOL"] == "HTTP/1.1":
            assert response.status in (200, 400, 405, 426)  # admission's to judge
        elif variables["SERVER_PROTOCOL"] == "HTTP/1.1":
            assert response.status == 200
            if variables["REQUEST_METHOD"] != "HEAD":
                assert int(response.body) == len(request["body"])


# What each mistake gets (RFC 9110, RFC 9112)

HOST = b"Host: test.example\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
WEBSOCKET = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
BAD = {
    "no method": (400, b" / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "no target": (400, b"GET HTTP/1.1\r\n" + HOST + b"\r\n"),
    "two spaces": (400, b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a tab": (400, b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    "trailing space": (400, b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n"),
    "HTTP/0.9": (400, b"GET /\r\n" + HOST + b"\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\n" + HOST + b"\r\n"),
    "HTTP/2 preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "http in lower case": (400, b"GET / http/1.1\r\n" + HOST + b"\r\n"),
    "CONNECT": (501, b"CONNECT a.example:443 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "authority as target": (400, b"GET a.example:80 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "asterisk as target": (400, b"GET * HTTP/1.1\r\n" + HOST + b"\r\n"),
    "relative target": (400, b"GET index.html HTTP/1.1\r\n" + HOST + b"\r\n"),
    "fragment in target": (400, b"GET /#a HTTP/1.1\r\n" + HOST + b"\r\n"),
    "NUL in target": (400, b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, GET + HOST + b"\r\n"),
    "bad Host": (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    "Host is a list": (400, b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    "Host with user": (400, b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    "line ends in LF": (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    "field ends in LF": (400, GET + b"A: b\nC: d\r\n\r\n"),
    "bare CR in a field": (400, GET + b"A: b\rC: d\r\n\r\n"),
    "space before colon": (400, GET + b"A : b\r\n\r\n"),
    "space before name": (400, b"GET / HTTP/1.1\r\n A: b\r\n" + HOST + b"\r\n"),
    "obs-fold": (400, GET + b"A: b\r\n c\r\n\r\n"),
    "name is empty": (400, GET + b": b\r\n\r\n"),
    "name without colon": (400, GET + b"A\r\n\r\n"),
    "name with NUL": (400, GET + b"A\0: b\r\n\r\n"),
    "value with NUL": (400, GET + b"A: b\0\r\n\r\n"),
    "value with a control": (400, GET + b"A: b\x08\r\n\r\n"),
    "two Content-Types": (400, GET + b"Content-Type: a/b\r\ncontent-type: a/b\r\n\r\n"),
    "expectation": (417, POST + b"Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32))),
    "head ends in LF LF": (400, b"GET / HTTP/1.1\r\nHost: x\n\n"),
    "head ends in CRLF LF": (400, GET + b"\n"),
    "backslash in the path": (400, b"GET /a\\b HTTP/1.1\r\n" + HOST + b"\r\n"),
    "SSH": (400, b"SSH-2.0-OpenSSH_9.2\r\n"),
    "uwsgi packet": (400, b"\x00\x0c\x00\x00\x03\x00KEY\x05\x00VALUE"),
    "WebSocket frame": (400, b"\x81\x85\x01\x02\x03\x04hello"),
    # Framing, and with it smuggling
    "length and coding": (400, POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "coding and length": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    "two lengths": (400, POST + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n"),
    "two equal lengths": (400, POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n"),
    "list of lengths": (400, POST + b"Content-Length: 0, 0\r\n\r\n"),
    "length with sign": (400, POST + b"Content-Length: +0\r\n\r\n"),
    "negative length": (400, POST + b"Content-Length: -1\r\n\r\n"),
    "length with underscore": (400, POST + b"Content-Length: 0_0\r\n\r\n"),
    "length in hexadecimal": (400, POST + b"Content-Length: 0x0\r\n\r\n"),
    "length in other digits": (400, POST + b"Content-Length: \xb2\r\n\r\n"),
    "length past 64 bits": (400, POST + b"Content-Length: 18446744073709551616\r\n\r\n"),
    "length of zeros": (400, POST + b"Content-Length: " + b"0" * 5_000 + b"\r\n\r\n"),
    "length is empty": (400, POST + b"Content-Length: \r\n\r\n"),
    "unknown coding": (400, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "coding before chunked": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunked not last": (400, POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    "chunked twice": (400, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunked with a tab": (400, POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    "chunked in HTTP/1.0": (400, b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "websocket with a body": (400, GET + WEBSOCKET + b"Content-Length: 5\r\n\r\nhello"),
    "chunk size with sign": (400, CHUNKED + b"+1\r\nx\r\n0\r\n\r\n"),
    "chunk size 0x": (400, CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n"),
    "chunk size past 64 bits": (400, CHUNKED + b"10000000000000000\r\n"),
    "chunk line ends in LF": (400, CHUNKED + b"1\nx\r\n0\r\n\r\n"),
    "chunk too long": (400, CHUNKED + b"1\r\nxy\r\n0\r\n\r\n"),
    "bare CR in an extension": (400, CHUNKED + b"1;a\rb\r\nx\r\n0\r\n\r\n"),
    "endless extension": (400, CHUNKED + b"1;a=" + b"b" * 1_000),
    "trailer with NUL": (400, CHUNKED + b"0\r\nA: \0\r\n\r\n"),
    "endless trailers": (431, CHUNKED + b"0\r\n" + b"A: b\r\n" * 1_000),
}  # fmt: skip


@pytest.mark.parametrize(("status", "raw"), BAD.values(), ids=BAD.keys())
def test_a_mistake_gets_its_status_and_the_smuggled_request_nothing(server: Server, status: int, raw: bytes) -> None:
    assert refused(server, raw) == status


def test_a_mistake_after_good_requests_is_answered_in_its_turn(server: Server) -> None:
    responses = talk(server, request_bytes() + request_bytes("POST", body=b"four") + b"BAD\r\n\r\n" + SMUGGLED)
    assert [response.status for response in responses] == [200, 200, 400]


def test_an_unread_body_that_is_malformed_ends_the_connection_after_the_answer(server: Server) -> None:
    raw = request_bytes("POST", "/unread", [("Transfer-Encoding", "chunked")], b"nonsense\r\n")
    assert [response.status for response in talk(server, raw + SMUGGLED)] == [200]


def test_the_application_may_answer_for_a_malformed_body_itself(server: Server) -> None:
    raw = request_bytes("POST", "/caught", [("Transfer-Encoding", "chunked")], b"nonsense\r\n")
    (response,) = talk(server, raw + SMUGGLED)
    assert response.status == 200
    assert response.text == "BodyError a chunk's size line is malformed"
    assert response.says_close


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_cut_short_is_an_error_not_an_end(server: Server, framing: str) -> None:
    headers = [("Content-Length", "10")] if framing == "length" else [("Transfer-Encoding", "chunked")]
    body = b"12345" if framing == "length" else b"a\r\n12345"
    (response,) = talk(server, request_bytes("POST", "/", headers, body))
    assert response.status == 400
    (response,) = talk(server, request_bytes("POST", "/caught", headers, body))
    assert response.text == "BodyError the request's body was cut short"


def test_names_with_underscores_cannot_pass_for_others(server: Server) -> None:
    (response,) = talk(server, request_bytes("POST", "/", [("Content_Length", "5"), ("Content-Length", "2")], b"12"))
    assert response.body == b"2"


# Limits


def test_a_head_at_its_limit_passes_and_a_byte_more_does_not(hasty_server: Server) -> None:
    for excess, status in ((0, 200), (1, 431)):
        head = request_bytes("GET", "/", [("X", "")])
        head = request_bytes("GET", "/", [("X", "x" * (4_096 - len(head) + excess))])
        assert len(head) == 4_096 + excess
        assert [response.status for response in talk(hasty_server, head)] == [status]


@pytest.mark.parametrize(
    ("status", "raw"),
    [
        (414, b"GET /" + b"x" * 5_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
        (414, b"GET /" + b"x" * 5_000),
        (501, b"G" * 5_000),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 5_000),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 300 + b"\r\n"),
        (413, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n"),
        (413, request_bytes("POST", "/", [("Transfer-Encoding", "chunked")], chunked(b"x" * 600, b"x" * 401))),
    ],
)
def test_too_much_of_anything_has_its_own_status(hasty_server: Server, status: int, raw: bytes) -> None:
    with HttpClient(address(hasty_server)) as client:
        client.send(raw)
        assert [response.status for response in answers(client)] == [status]


def test_bodies_at_the_limit_pass(hasty_server: Server) -> None:
    raw = request_bytes("POST", "/", body=b"x" * 1_000)
    raw += request_bytes("POST", "/", [("Transfer-Encoding", "chunked")], chunked(b"x" * 600, b"x" * 400))
    assert [response.text for response in talk(hasty_server, raw)] == ["1000", "1000"]


# Slow clients


def drip(client: HttpClient, pause: float = 0.1, limit: float = 10) -> float:
    """Send a byte now and then until an answer comes; return the seconds it took."""
    begun = time.monotonic()
    while time.monotonic() - begun < limit:
        client.send(b"x")
        if not client.is_silent(pause):
            break
    return time.monotonic() - begun


def test_a_head_that_comes_too_slowly_gets_408(hasty_server: Server) -> None:
    with HttpClient(address(hasty_server)) as client:
        client.send(b"GET / HTTP/1.1\r\nX: ")
        assert 0.4 < drip(client) < 2
        (response,) = answers(client)
        assert response.status == 408
        assert response.says_close


@pytest.mark.parametrize("framing", [("Content-Length", "100"), ("Transfer-Encoding", "chunked")])
def test_a_body_that_does_not_come_gets_408_when_it_is_read(hasty_server: Server, framing: tuple[str, str]) -> None:
    for path, text in (("/", "408"), ("/caught", "BodyError the request's body did not come in time")):
        with HttpClient(address(hasty_server)) as client:
            client.send_request("POST", path, [framing])
            begun = time.monotonic()
            (response,) = answers(client)
            assert 0.4 < time.monotonic() - begun < 2
            assert response.text.startswith(text)
            assert response.says_close


def test_many_slow_clients_keep_nobody_waiting(hasty_server: Server) -> None:
    slow = [HttpClient(address(hasty_server)) for _ in range(100)]
    try:
        for number, client in enumerate(slow):
            client.send(b"GET / HTTP/1.1\r\nX: "[: number % 20])
        begun = time.monotonic()
        assert fetch(address(hasty_server)).status == 200
        assert time.monotonic() - begun < 0.4
        for number, client in enumerate(slow):
            assert [response.status for response in answers(client)] == ([408] if number % 20 else [])
    finally:
        for client in slow:
            client.close()


# Resources


def test_endless_input_is_bounded_in_memory(server: Server) -> None:
    fetch(address(server))
    before = resident_kib(server.pid)
    blob = b"x" * 65_536
    openings = (
        b"GET /" + blob,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + blob,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a=" + blob,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + blob,
    )
    for opening in openings:
        with HttpClient(address(server)) as client:
            client.send(opening)
            for _ in range(200):
                try:
                    client.send(blob)
                except OSError:
                    break  # it has stopped to read
            client.close()
    assert fetch(address(server)).status == 200
    assert resident_kib(server.pid) - before < 5_000


def test_a_flood_of_pipelined_requests_waits_in_the_kernel(server: Server) -> None:
    fetch(address(server))
    before = resident_kib(server.pid)
    burst = request_bytes("GET", "/large", [("X", "x" * 4_000)]) * 10
    with HttpClient(address(server)) as client:
        client.sock.settimeout(0.3)
        sent = 0
        try:
            while sent < 10_000:
                client.send(burst)
                sent += 10
        except TimeoutError:
            pass  # it answers nobody who does not read, and reads nothing more
        assert sent < 10_000
        assert resident_kib(server.pid) - before < 5_000
        client.sock.settimeout(10)
        for _ in range(sent):
            assert client.read_response().body == b"x" * 100_000


def test_clients_that_vanish_leave_nothing_behind(server: Server) -> None:
    before = open_files(server)
    openings = (
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: a",
        request_bytes("POST", "/", [("Content-Length", "100")], b"part"),
        request_bytes("POST", "/unread", [("Content-Length", "100")], b"part"),
        request_bytes("POST", "/", [("Transfer-Encoding", "chunked")], b"5\r\nab"),
        request_bytes("POST", "/", [("Content-Length", "100"), ("Expect", "100-continue")]),
        b"BAD\r\n\r\n",
    )
    for opening in openings:
        for leave in (HttpClient.close, HttpClient.reset):
            for _ in range(5):
                client = HttpClient(address(server))
                client.send(opening)
                leave(client)
    eventually(lambda: open_files(server) <= before)


def test_noise_is_refused(server: Server) -> None:
    chance = random.Random(9112)
    pieces = b"GET |/| HTTP/1.1|\r\n|\r\n\r\n|\n|\r|Host: a|Content-Length: 3|\0|:|0|3\r\nabc|%|?| |\xff".split(b"|")
    pieces += [b"Transfer-Encoding: chunked", WEBSOCKET]
    for _ in range(100):
        raw = b"".join(chance.choices(pieces, k=chance.randrange(1, 20)))
        for response in talk(server, raw + chance.randbytes(chance.randrange(20))):
            assert response.status in (200, 400, 405, 426, 431, 501, 505), raw


# The log


def test_nobody_writes_his_own_lines_into_the_log(server: Server) -> None:
    forged = "[pid: 1|app: 0|req: 1/1] forged"
    (good, bad) = talk(
        server,
        request_bytes("GET", "/log?\x7f".replace("\x7f", "%0a") + forged.replace(" ", "%20"))
        + f"GET /log\r{forged} HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    )
    assert (good.status, bad.status) == (200, 400)
    eventually(lambda: "/log?" in server.log)
    assert not any(line.startswith(forged) for line in server.log.splitlines())
    assert "\r" not in server.log
