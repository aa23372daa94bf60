"""TLS over a stream that takes as many bytes as the test says."""

from __future__ import annotations

import ssl
from typing import Any

import gevent
import pytest
from gevent import get_hub
from support.breaking import TlsClientStream, break_everywhere, ways_to_fail, working
from support.peers import require_module
from support.streams import MemoryStream
from support.websocket_client import close_frame, handshake, text

import uwsgi_ws
from uwsgi_ws.hub.poller import Receiver
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


class Waiting(Receiver):
    """A receiver for which a greenlet waits, as long as a message is wanted."""

    takes_simple = True

    def __init__(self, *, is_wanted: bool) -> None:
        self.is_wanted = is_wanted
        self.taken: list[bytes] = []
        self.received: list[bytes] = []

    def take_if_simple(self, data: bytes) -> Any:
        if not self.is_wanted:
            return None
        self.taken.append(data)
        return "the greenlet"

    def receive(self, data: bytes) -> None:
        self.received.append(data)


def test_a_short_message_goes_straight_to_who_waits_for_it(pair: Pair) -> None:
    receiver = Waiting(is_wanted=True)
    pair.stream.start_receiving(receiver)
    assert pair.stream.take_if_simple(pair.says(b"one")) == "the greenlet"
    assert (receiver.taken, receiver.received) == ([b"one"], [])
    # What may be more than a short message is left as it came, and what nobody takes so, too.
    records = pair.says(b"x" * 300)
    assert pair.stream.take_if_simple(records) is None
    pair.stream.receive(records)
    assert receiver.received == [b"x" * 300]
    other = Waiting(is_wanted=True)
    other.takes_simple = False
    pair.stream.start_receiving(other)
    records = pair.says(b"two")
    assert pair.stream.take_if_simple(records) is None
    pair.stream.receive(records)
    assert other.received == [b"two"]


def test_what_is_decrypted_and_not_as_simple_comes_by_the_hub_in_order(pair: Pair) -> None:
    receiver = Waiting(is_wanted=False)
    pair.stream.start_receiving(receiver)
    hub = get_hub()
    assert pair.stream.take_if_simple(pair.says(b"one ")) is hub
    receiver.is_wanted = True  # but what is before it waits still
    assert pair.stream.take_if_simple(pair.says(b"two ")) is hub
    pair.stream.receive(pair.says(b"three"))
    gevent.sleep(0)
    assert (receiver.taken, b"".join(receiver.received)) == ([], b"one two three")
    # Somebody may ask sooner, or pause.
    receiver.is_wanted = False
    pair.stream.take_if_simple(pair.says(b"four"))
    assert pair.stream.recv_now() == b"four"
    pair.stream.take_if_simple(pair.says(b"five"))
    pair.stream.pause_receiving()
    gevent.sleep(0)
    pair.stream.start_receiving(other := Waiting(is_wanted=False))
    gevent.sleep(0)
    assert other.received == [b"five"]
    pair.stream.take_if_simple(pair.says(b"six"))
    pair.stream.pause_receiving()
    assert pair.stream.recv(None) == b"six"


def test_what_cannot_be_decrypted_is_the_end_there_too(pair: Pair) -> None:
    receiver = Waiting(is_wanted=True)
    pair.stream.start_receiving(receiver)
    assert pair.stream.take_if_simple(b"no record of TLS's") is get_hub()
    gevent.sleep(0)
    assert (receiver.taken, receiver.received) == ([], [b""])


def test_the_last_short_piece_of_a_long_record_brings_all_of_it(pair: Pair) -> None:
    receiver = Waiting(is_wanted=False)
    pair.stream.start_receiving(receiver)
    records = pair.says(b"z" * 10_000)
    pair.stream.receive(records[:-20])
    assert pair.stream.take_if_simple(records[-20:]) is get_hub()
    gevent.sleep(0)
    assert b"".join(receiver.received) == b"z" * 10_000


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
