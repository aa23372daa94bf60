"""The engine that takes unmasked frames: the same as ever but for that."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.websocket_client import BINARY, CONTINUATION, PING, TEXT, frame

from uwsgi_ws.errors import HandshakeError
from uwsgi_ws.protocol.websocket.engine import WebSocket
from uwsgi_ws.protocol.websocket.handshake import accept_value, check_request

VECTORS = Path(__file__).parents[3] / "vectors" / "websocket"
#: Those whose only fault is that they are not masked.
UNMASKED = {"unmasked-after-message", "unmasked-close", "unmasked-ping", "unmasked-text"}
LIMIT = 1_048_576
ALL = frozenset(("handshake", "masking", "subprotocol"))

frames = st.lists(
    st.one_of(
        st.tuples(st.just(BINARY), st.binary(max_size=300)),
        st.tuples(st.just(TEXT), st.text(max_size=80).map(str.encode)),
        st.tuples(st.just(PING), st.binary(max_size=125)),
    ),
    max_size=6,
)


def result(engine: WebSocket, pieces: list[bytes]) -> object:
    for piece in pieces:
        engine.receive(piece)
    return list(engine.messages), engine.output, engine.close_code, engine.ending, engine.finished, engine.state


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(frames, st.lists(st.booleans(), min_size=6, max_size=6), st.lists(st.integers(0, 2_000), max_size=5))
def test_unmasked_frames_say_the_same_as_masked_ones_however_they_are_cut(
    sent: list[tuple[int, bytes]], are_masked: list[bool], places: list[int]
) -> None:
    keys = [{} if is_masked else {"key": None} for is_masked in are_masked]
    mixed = b"".join(frame(*each, **key) for each, key in zip(sent, keys, strict=False))  # type: ignore[arg-type]
    engine = WebSocket(LIMIT, True)
    strict = WebSocket(LIMIT)
    assert result(engine, cut(mixed, places)) == result(strict, [b"".join(frame(*each) for each in sent)])
    assert engine.has_unmasked == (False in are_masked[: len(sent)])
    assert not strict.has_unmasked


@given(st.binary(min_size=1, max_size=200_000), st.integers(1, 70_000))
def test_a_message_in_unmasked_fragments_is_joined(payload: bytes, size: int) -> None:
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    opcodes = [BINARY, *[CONTINUATION] * (len(pieces) - 1)]
    sent = [
        frame(opcode, piece, key=None, fin=number == len(pieces) - 1)
        for number, (opcode, piece) in enumerate(zip(opcodes, pieces, strict=True))
    ]
    engine = WebSocket(LIMIT, True)
    engine.receive(b"".join(sent))
    assert list(engine.messages) == [(BINARY, payload)]


def test_a_close_frame_may_come_unmasked() -> None:
    engine = WebSocket(LIMIT, True)
    engine.receive(b"\x88\x02\x03\xe8")
    assert (engine.close_code, engine.finished, engine.has_unmasked) == (1000, True, True)


@pytest.mark.parametrize(
    "path", [each for each in sorted((VECTORS / "invalid").glob("*.bin")) if each.stem not in UNMASKED],
    ids=lambda path: path.stem,
)  # fmt: skip
def test_nothing_else_is_let_in(path: Path) -> None:
    raw = path.read_bytes()
    strict = result(WebSocket(1_000), [raw])
    lenient = result(WebSocket(1_000, True), [raw])
    assert str(lenient) == str(strict)


OPENING = {
    "REQUEST_METHOD": "GET",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "h",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
}
ODD = [
    ({"HTTP_CONNECTION": None}, "handshake"),
    ({"HTTP_CONNECTION": "keep-alive"}, "handshake"),
    ({"HTTP_SEC_WEBSOCKET_VERSION": None}, "handshake"),
    ({"HTTP_SEC_WEBSOCKET_KEY": "haproxy"}, "handshake"),
    ({"HTTP_SEC_WEBSOCKET_KEY": "a2tra2tra2s="}, "handshake"),
    ({"HTTP_SEC_WEBSOCKET_KEY": "x"}, "handshake"),
    ({"HTTP_SEC_WEBSOCKET_KEY": "\xe9\xff" * 100}, "handshake"),
    ({"HTTP_SEC_WEBSOCKET_PROTOCOL": "ocpp 1.6"}, "subprotocol"),
    ({"HTTP_SEC_WEBSOCKET_PROTOCOL": "chat, chat/v2, \xe9"}, "subprotocol"),
]
NEVER = [
    ({"REQUEST_METHOD": "POST"}, 405),
    ({"SERVER_PROTOCOL": "HTTP/1.0"}, 400),
    ({"HTTP_HOST": None}, 400),
    ({"HTTP_UPGRADE": None}, 400),
    ({"HTTP_SEC_WEBSOCKET_VERSION": "8"}, 426),
    ({"HTTP_SEC_WEBSOCKET_VERSION": "13, 13"}, 426),
    ({"HTTP_SEC_WEBSOCKET_KEY": None}, 400),
    ({"HTTP_SEC_WEBSOCKET_KEY": ""}, 400),
    ({"HTTP_SEC_WEBSOCKET_KEY": "a, b"}, 400),
]


def opening(changes: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in {**OPENING, **changes}.items() if value is not None}


@pytest.mark.parametrize(("changes", "word"), ODD)
def test_each_word_lets_in_what_it_names_and_nothing_else(changes: dict[str, str | None], word: str) -> None:
    assert check_request(opening(changes), {word}) == (word,)
    assert check_request(opening(changes), ALL) == (word,)
    for others in ((), ALL - {word}):
        with pytest.raises(HandshakeError):
            check_request(opening(changes), others)


@pytest.mark.parametrize(("changes", "status"), NEVER)
def test_some_things_are_never_let_in(changes: dict[str, str | None], status: int) -> None:
    with pytest.raises(HandshakeError) as caught:
        check_request(opening(changes), ALL)
    assert caught.value.status == status


def test_a_client_to_the_letter_is_forgiven_nothing() -> None:
    assert check_request(OPENING, ALL) == ()
    both = opening({"HTTP_CONNECTION": None, "HTTP_SEC_WEBSOCKET_KEY": "k", "HTTP_SEC_WEBSOCKET_PROTOCOL": "a b"})
    assert check_request(both, ALL) == ("handshake", "subprotocol")


def test_any_key_has_an_answer() -> None:
    assert accept_value("haproxy") != accept_value("\xe9")
