"""TLS over a stream that takes as many bytes as the test says."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from gevent import get_hub
from support.breaking import TlsClientStream, break_everywhere, ways_to_fail, working
from support.peers import require_module
from support.streams import MemoryStream
from support.websocket_client import close_frame, handshake, text

import uwsgi_ws
from uwsgi_ws.net.tls import TlsStream


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's, and that of a client that trusts it."""
    authority = require_module("trustme").CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("x.example").configure_cert(server)
    authority.configure_trust(client)
    return server, client


class Pair:
    """A stream under test, and a client of OpenSSL's own that has shaken hands with it."""

    def __init__(self) -> None:
        server, client = contexts()
        self.below = MemoryStream()
        self.stream = TlsStream(self.below, server, get_hub())  # type: ignore[arg-type]
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.incoming, self.outgoing, server_hostname="x.example")
        self.below.recv = self._answer  # type: ignore[method-assign]
        self.stream.handshake(10)
        del self.below.recv
        self.read()

    def _answer(self, timeout: float | None) -> bytes:
        self._carry()
        try:
            self.client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def _carry(self) -> None:
        self.incoming.write(bytes(self.below.sent))
        self.below.sent.clear()

    def read(self) -> bytes:
        """Return what has come to the client."""
        self._carry()
        data = b""
        try:
            while piece := self.client.read(65_536):
                data += piece
        except ssl.SSLWantReadError:
            pass
        return data

    def says(self, data: bytes) -> bytes:
        """Return the records in which the client says it."""
        self.client.write(data)
        return self.outgoing.read()


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_what_is_not_taken_is_held_and_follows_by_itself(pair: Pair) -> None:
    pair.below.room = 1_000
    assert pair.stream.send(b"x" * 100_000) == 100_000
    data = pair.read()
    for _ in range(200):
        pair.below.make_room(1_000)
        data += pair.read()
    assert data == b"x" * 100_000
    assert pair.below.writable is None, "nobody waits any more"


def test_while_something_is_held_nothing_more_is_taken(pair: Pair) -> None:
    pair.below.room = 0
    assert pair.stream.send(b"first") == 5
    assert pair.stream.send(b"second") == 0
    called: list[bool] = []
    pair.stream.when_writable(lambda: called.append(True))
    pair.below.make_room(3)
    assert not called
    pair.below.make_room(1_000)
    assert called
    assert pair.stream.send(b"second") == 6
    pair.stream.stop_writing()
    assert pair.below.writable is None
    assert pair.read() == b"firstsecond"


def test_the_end_comes_after_what_is_held(pair: Pair) -> None:
    pair.below.room = 0
    pair.stream.send(b"last words")
    pair.stream.shutdown()
    assert not pair.below.is_shut
    pair.below.make_room(1_000)
    assert pair.below.is_shut
    assert pair.read() == b"last words"


def test_one_send_takes_no_more_than_it_may_hold(pair: Pair) -> None:
    assert pair.stream.send(bytes(1_000_000)) == 262_144
    assert pair.stream.sendmsg([b"head", bytes(1_000_000)]) == 262_144
    assert pair.stream.sendmsg([b"head", b"", b"tail"]) == 8
    assert pair.read() == bytes(262_144) + b"head" + bytes(262_140) + b"headtail"


def test_held_bytes_go_before_all_that_is_waited_for(pair: Pair) -> None:
    pair.below.room = 0
    pair.stream.send(b"held ")
    pair.stream.send_all(b"and all", None)
    assert pair.read() == b"held and all"


def test_records_are_decrypted_however_they_are_cut(pair: Pair) -> None:
    records = pair.says(b"one") + pair.says(b"y" * 40_000) + pair.says(b"three")
    expected = b"one" + b"y" * 40_000 + b"three"
    for size in (1, 100, 16_384, 1 << 20):
        pair = Pair()
        records = pair.says(b"one") + pair.says(b"y" * 40_000) + pair.says(b"three")
        data = b""
        for start in range(0, len(records), size):
            pair.below.incoming.append(records[start : start + size])
            data += pair.stream.recv_now() or b""
        assert data == expected


def test_nothing_is_left_where_no_event_tells_of_it(pair: Pair) -> None:
    pair.below.incoming.append(b"".join(pair.says(b"%02d" % number) for number in range(50)))
    assert pair.stream.recv(None) == b"".join(b"%02d" % number for number in range(50))
    assert pair.stream.recv_now() is None


def test_the_peers_goodbye_is_the_end_of_the_stream(pair: Pair) -> None:
    record = pair.says(b"bye")
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.unwrap()
    pair.below.incoming.append(record + pair.outgoing.read() + b"what comes after it is nobody's")
    assert pair.stream.recv(None) == b"bye"
    assert pair.stream.recv(None) == b""
    assert pair.stream.recv_now() == b""


def test_a_forged_record_is_an_error(pair: Pair) -> None:
    record = bytearray(pair.says(b"hello"))
    record[-1] ^= 1
    pair.below.incoming.append(bytes(record))
    with pytest.raises(OSError, match=r"(?i)bad record mac|record layer failure"):
        pair.stream.recv(None)


def echo(environ: dict[str, Any], start_response: Any) -> Any:
    if "HTTP_UPGRADE" in environ:
        connection = uwsgi_ws.accept(environ)
        for _ in connection:
            connection.send("z" * 300_000)  # more than the kernel has room for
        return []
    start_response("200 OK", [])
    return [environ["wsgi.input"].read(), b"y" * 300_000]


@ways_to_fail
@pytest.mark.parametrize("last", [[], [handshake(), text("hello"), close_frame(1000)]], ids=["requests", "websocket"])
def test_what_breaks_anywhere_below_leaves_nothing(
    last: list[bytes], how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handshake, HTTP/1.1 above it, and a WebSocket."""
    server, client = contexts()
    monkeypatch.setattr(TlsClientStream, "context", client, raising=False)
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nab"
    with working(echo) as worker:
        front = worker.tls(server)
        stream = break_everywhere(worker, front, post, b"cdef", *last, make=TlsClientStream, room=20_000, **how)
    assert isinstance(stream, TlsClientStream)
    assert b"abcdef" in stream.received
    assert stream.received.count(b"y") == 300_000
    assert (stream.received.count(b"z") > 20_000) == bool(last)
