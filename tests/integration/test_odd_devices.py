"""``--websockets-lenient``: devices whose WebSockets are not to the letter, over every carrier of our own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.carriers import CARRIERS, Carrier
from support.server import Server
from support.websocket_client import BINARY, CLOSE, NONCE, PING, TEXT, RawClient, frame, handshake, text

APPLICATION = """
import uwsgi


def application(environ, start_response):
    uwsgi.websocket_handshake()
    while True:
        message = uwsgi.websocket_recv()
        uwsgi.websocket_send(message)
"""
Start = Callable[..., Server]

OWN = [carrier for carrier in CARRIERS if carrier.__name__ in ("http1", "tls", "uwsgi", "http2")]
ODD: dict[str, tuple[dict[str, Any], str]] = {
    "no Connection": ({"without": ["Connection"]}, "handshake"),
    "Connection: keep-alive": ({"headers": [("Connection", "keep-alive")]}, "handshake"),
    "no version": ({"without": ["Sec-WebSocket-Version"]}, "handshake"),
    "a key of 8 bytes": ({"headers": [("Sec-WebSocket-Key", base64.b64encode(b"k" * 8).decode())]}, "handshake"),
    "a key of 32 bytes": ({"headers": [("Sec-WebSocket-Key", base64.b64encode(b"k" * 32).decode())]}, "handshake"),
    "a key that is no base64": ({"headers": [("Sec-WebSocket-Key", "haproxy")]}, "handshake"),
    "a subprotocol with a space": ({"headers": [("Sec-WebSocket-Protocol", "ocpp 1.6, b")]}, "subprotocol"),
    "a subprotocol with a slash": ({"headers": [("Sec-WebSocket-Protocol", "v10/stomp")]}, "subprotocol"),
}


@pytest.mark.parametrize("word", ["handshake", "subprotocol"])
@pytest.mark.parametrize("carrier", [each for each in OWN if each.__name__ != "http2"], ids=lambda each: each.__name__)
def test_odd_handshakes_are_let_in_by_their_word_and_refused_without(
    serve: Start, tmp_path: Path, carrier: Any, word: str
) -> None:
    others = {"handshake", "masking", "subprotocol"} - {word}
    for words in ({word}, others):

        def start(*options: str, words: set[str] = words) -> Server:
            return serve(APPLICATION, "--websockets-lenient", ",".join(words), *options)

        folder = tmp_path / str(len(words))
        folder.mkdir()
        with carrier(start, folder) as way:
            for what, (changes, needed) in ODD.items():
                if needed == word:
                    knock(way, what, changes, is_let_in=words == {word})
            if words == {word}:
                way.server.wait_for_log(rf"closed 1000, lenient {word}$")


def knock(way: Carrier, what: str, changes: dict[str, Any], *, is_let_in: bool) -> None:
    given = dict(changes.get("headers", ()))
    with RawClient(way.connect()) as client:
        # The first frame comes along with the handshake: what follows the head must be taken for frames.
        client.send(way.wire(handshake("/", **changes) + text("early")))
        response = client.read_response()
        if not is_let_in:
            assert response.status == (426 if what == "no version" else 400), what
            return
        assert response.status == 101, what
        key = given.get("Sec-WebSocket-Key", NONCE)
        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        assert response.headers["sec-websocket-accept"] == base64.b64encode(digest).decode()
        offered = given.get("Sec-WebSocket-Protocol")
        assert response.headers.get("sec-websocket-protocol") == (offered and offered.split(",")[0])
        client.expect_text("early")
        client.finish()


@pytest.mark.parametrize("mode", ["--gevent", "--threads"])
@pytest.mark.parametrize("carrier", OWN, ids=lambda each: each.__name__)
def test_unmasked_frames_are_taken_where_they_may(serve: Start, tmp_path: Path, carrier: Any, mode: str) -> None:
    def start(*options: str) -> Server:
        return serve(APPLICATION, mode, "10", "--websockets-lenient", "masking", *options)

    with carrier(start, tmp_path) as way:
        unmasked(way)
        way.server.wait_for_log(r"closed 1000, lenient masking$")


def unmasked(way: Carrier) -> None:
    with way.open("/") as client:
        client.send(frame(TEXT, b"plain", key=None))
        client.expect_text("plain")
        client.send_text("masked")
        client.expect_text("masked")
        for size in (0, 125, 126, 65_536, 200_000):
            client.send(frame(BINARY, b"x" * size, key=None))
            client.expect(TEXT, b"x" * size)
        client.send(frame(PING, b"beat", key=None))
        client.expect_pong(b"beat")
        client.send(frame(TEXT, b"one ", key=None, fin=False) + frame(0, b"two", key=None))
        client.expect_text("one two")
        client.send(frame(CLOSE, b"\x03\xe8", key=None))
        client.expect_close(1000)


@pytest.mark.parametrize("words", [[], ["handshake"], ["handshake,subprotocol"]])
def test_without_the_word_an_unmasked_frame_fails_the_connection(serve: Start, words: list[str]) -> None:
    options = [option for word in words for option in ("--websockets-lenient", word)]
    server = serve(APPLICATION, *options)
    with RawClient.open(server.port) as client:
        client.send(frame(PING, b"", key=None))
        client.expect_close(1002, "protocol error")
    server.wait_for_log(r"closed 1002$")


def test_the_words_add_up_and_a_client_to_the_letter_is_not_marked(serve: Start) -> None:
    options = ["--websockets-lenient", "handshake", "--websockets-lenient", "masking, subprotocol"]
    server = serve(APPLICATION, *options, "--log-format", "%(uri) %(websocket.lenient)")
    with RawClient.open(server.port, "/right") as client:
        client.send_text("x")
        client.expect_text("x")
        client.finish()
    server.wait_for_log("^/right -$")
    with RawClient(server.port) as client:
        client.send(handshake("/odd", [("Sec-WebSocket-Protocol", "a b")], without=["Connection"]))
        assert client.read_response().status == 101
        client.send(frame(CLOSE, b"", key=None))
        client.expect_close(None)
    server.wait_for_log("^/odd handshake,subprotocol,masking$")


def test_an_unknown_word_is_told(serve: Start) -> None:
    with pytest.raises(AssertionError, match="--websockets-lenient: 'all' is none of handshake, masking, subprotocol"):
        serve(APPLICATION, "--websockets-lenient", "handshake,all")
