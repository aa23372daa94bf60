"""Permessage-deflate: what is agreed on, and what becomes of messages."""

from __future__ import annotations

import gc
import random
import tracemalloc
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.growth import growth

from uwsgi_ws.errors import MessageTooBig
from uwsgi_ws.protocol.websocket import frames
from uwsgi_ws.protocol.websocket.deflate import (
    NAME,
    Agreement,
    Compressors,
    Deflate,
    DeflateSettings,
    Inflater,
    negotiate,
)
from uwsgi_ws.protocol.websocket.engine import WebSocket
from uwsgi_ws.protocol.websocket.frames import BINARY, TEXT
from uwsgi_ws.protocol.websocket.prepared import Prepared

TAIL = b"\x00\x00\xff\xff"
KEY = b"\x01\x02\x03\x04"
PLAIN = DeflateSettings()
TAKEOVER = DeflateSettings(window_bits=12, memory_level=5, has_takeover=True)


def agreed(offer: str, settings: DeflateSettings = PLAIN) -> str | None:
    agreement = negotiate({"HTTP_SEC_WEBSOCKET_EXTENSIONS": offer}, settings)
    return None if agreement is None else agreement.header.removeprefix("permessage-deflate").removeprefix("; ")


NONE = "server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", NONE),
        ("permessage-deflate; client_max_window_bits", NONE),  # Chromium, Firefox
        ("PerMessage-Deflate;server_no_context_takeover", NONE),
        ("permessage-deflate; server_max_window_bits=10", f"{NONE}; server_max_window_bits=10"),
        ('permessage-deflate; server_max_window_bits="10"', f"{NONE}; server_max_window_bits=10"),
        ("permessage-deflate; client_max_window_bits=9", f"{NONE}; client_max_window_bits=9"),
        ("permessage-deflate; client_max_window_bits=8", f"{NONE}; client_max_window_bits=8"),
        ("permessage-deflate; client_max_window_bits=15", NONE),
        ("permessage-deflate; server_max_window_bits=9", f"{NONE}; server_max_window_bits=9"),
        # Declined, the next one taken.
        ("permessage-deflate; x=1, permessage-deflate", NONE),
        ("other,permessage-deflate", NONE),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", NONE),
        ("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits", NONE),
        ('other; a="b, c;d", permessage-deflate', NONE),
        # Declined.
        ("", None),
        ("x-webkit-deflate-frame", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=010", None),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits=", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; ;", None),
        ("permessage-deflate foo", None),
    ],
)
def test_the_first_offer_that_fits_is_agreed_to(offer: str, answer: str | None) -> None:
    assert agreed(offer) == answer


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "server_max_window_bits=12"),
        ("permessage-deflate; client_max_window_bits", "server_max_window_bits=12; client_max_window_bits=12"),
        ("permessage-deflate; server_no_context_takeover", "server_no_context_takeover; server_max_window_bits=12"),
        ("permessage-deflate; client_no_context_takeover", "client_no_context_takeover; server_max_window_bits=12"),
    ],
)
def test_with_takeover_windows_are_small(offer: str, answer: str) -> None:
    assert agreed(offer, TAKEOVER) == answer


def test_without_takeover_the_client_s_window_is_its_own_choice() -> None:
    settings = DeflateSettings(window_bits=12)
    assert agreed("permessage-deflate; client_max_window_bits", settings) == f"{NONE}; server_max_window_bits=12"


def test_no_offer_is_no_agreement() -> None:
    assert negotiate({}, PLAIN) is None


@pytest.mark.parametrize(("server", "client"), [(True, True), (True, False), (False, True), (False, False)])
def test_only_what_keeps_nothing_is_shared(server: bool, client: bool) -> None:
    agreement = Agreement(15, 15, server, client, "")
    compressors = Compressors(PLAIN)
    is_shared = compressors.deflate(agreement) is compressors.deflate(agreement)
    assert is_shared is not (server or client)


@given(st.text(st.characters(codec="latin-1")))
def test_no_header_raises(offer: str) -> None:
    agreed(offer)
    agreed(f"permessage-deflate;{offer}")


def engine(settings: DeflateSettings = PLAIN, limit: int = 1 << 20, offer: str = "permessage-deflate") -> WebSocket:
    agreement = negotiate({"HTTP_SEC_WEBSOCKET_EXTENSIONS": offer}, settings)
    assert agreement is not None
    return WebSocket(limit, deflate=Compressors(settings).deflate(agreement))


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, rsv1: bool = True) -> bytes:
    """A client's frame; its payload is compressed already."""
    first = (frames.FIN if fin else 0) | (frames.RSV1 if rsv1 else 0) | opcode
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else bytes((0xFE,)) + size.to_bytes(2, "big")
    if size > 65_535:
        length = bytes((0xFF,)) + size.to_bytes(8, "big")
    masked = bytes(byte ^ KEY[i & 3] for i, byte in enumerate(payload))
    return bytes((first,)) + length + KEY + masked


class Client:
    """What a client compresses and inflates, with or without takeover."""

    def __init__(self, *, takeover: bool) -> None:
        self.takeover = takeover
        self.begin()

    def begin(self) -> None:
        self.compressor = zlib.compressobj(wbits=-12)
        self.inflater = zlib.decompressobj(-15)

    def compress(self, payload: bytes) -> bytes:
        if not self.takeover:
            self.begin()
        data = self.compressor.compress(payload) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
        assert data.endswith(TAIL)
        return data[:-4]

    def read(self, data: bytes) -> bytes:
        """Return the payload of the one frame that a server has sent."""
        length, body = data[1], 2
        if length >= 126:
            body = 4 if length == 126 else 10
            length = int.from_bytes(data[2:body], "big")
        assert len(data) == body + length
        if not data[0] & frames.RSV1:
            return data[body:]
        if not self.takeover:
            self.begin()
        return self.inflater.decompress(data[body:] + TAIL)


@pytest.mark.parametrize("settings", [PLAIN, TAKEOVER], ids=["none", "takeover"])
@given(st.lists(st.binary(max_size=3_000) | st.text("ab", max_size=3_000).map(str.encode)), st.randoms())
def test_messages_pass_both_ways_however_they_are_cut(
    settings: DeflateSettings, messages: list[bytes], rng: random.Random
) -> None:
    connection = engine(settings)
    client = Client(takeover=settings.has_takeover)
    stream = bytearray()
    for message in messages:
        compressed = client.compress(message)
        cut = rng.randrange(len(compressed) + 1)
        if rng.randrange(2):
            stream += frame(compressed, BINARY)
        else:
            stream += frame(compressed[:cut], BINARY, fin=False) + frame(b"", frames.PING, rsv1=False)
            stream += frame(compressed[cut:], 0, rsv1=False)
    received = []
    while stream:
        size = rng.randrange(1, 200)
        connection.receive(bytes(stream[:size]))
        del stream[:size]
        while connection.messages:
            received.append(connection.messages.popleft())
    assert connection.cause is None
    assert received == [(BINARY, message) for message in messages]
    for message in messages:
        match rng.randrange(4):
            case 0:
                data = b"".join(connection.encode_long(BINARY, message))
            case 1:
                data = connection.frame_of(Prepared(BINARY, message))
            case 2:
                data = connection.encode_plain(BINARY, message)
            case _:
                data = connection.encode(BINARY, message)
        assert client.read(data) == message


def test_a_message_for_many_is_compressed_once_for_each_window() -> None:
    prepared = Prepared(TEXT, b"hello " * 100)
    settings = DeflateSettings()
    compressors = Compressors(settings)
    connections = []
    for offer in ("", "; server_max_window_bits=10", "; server_max_window_bits=10", ""):
        agreement = negotiate({"HTTP_SEC_WEBSOCKET_EXTENSIONS": f"permessage-deflate{offer}"}, settings)
        assert agreement is not None
        connections.append(WebSocket(1 << 20, deflate=compressors.deflate(agreement)))
    sent = [connection.frame_of(prepared) for connection in connections]
    assert sent[0] is sent[3]
    assert sent[1] is sent[2]
    assert len(sent[0]) < 40
    assert WebSocket(1 << 20).frame_of(prepared) == frames.encode(TEXT, b"hello " * 100)
    secret = Prepared(TEXT, b"hello " * 100, may_compress=False)
    assert connections[0].frame_of(secret) == secret.plain
    assert connections[0].deflate is connections[3].deflate, "what keeps nothing is shared"


def test_what_would_get_no_shorter_goes_as_it_is() -> None:
    noise = random.Random(1).randbytes(1_000)
    for settings in (PLAIN, TAKEOVER):
        connection = engine(settings)
        client = Client(takeover=settings.has_takeover)
        for message in (b"ab" * 200, noise, b"short", b"ab" * 200, noise, b"ab" * 200):
            data = connection.encode(BINARY, message)
            assert bool(data[0] & frames.RSV1) == (message[:2] == b"ab")
            assert client.read(data) == message
        assert connection.frame_of(Prepared(BINARY, noise))[0] == 0x82


def own_deflate(*, takeover: bool, min_size: int = 128) -> Deflate:
    return Deflate(Agreement(12, 15, takeover, False, ""), Compressors(TAKEOVER._replace(min_size=min_size)))


@pytest.mark.parametrize("takeover", [False, True])
def test_a_message_is_compressed_from_the_least_size_on(takeover: bool) -> None:
    deflate = own_deflate(takeover=takeover)
    assert deflate.compress(b"a" * 127) is None
    assert deflate.compress(b"a" * 128) is not None


@pytest.mark.parametrize("takeover", [False, True])
def test_a_message_that_would_be_as_long_goes_as_it_is(takeover: bool) -> None:
    """Some of these messages are as long compressed."""
    rng = random.Random(3)
    lengths = set()
    for size in range(10, 200):
        payload = rng.randbytes(size - 7) + b"abcabca"
        compressed = own_deflate(takeover=takeover, min_size=1).compress(payload)
        raw = zlib.compressobj(6, zlib.DEFLATED, -12, 5)
        lengths.add(len((raw.compress(payload) + raw.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)) - size)
        assert compressed is None or len(compressed) < size
    assert 0 in lengths


@pytest.mark.parametrize("takeover", [False, True])
def test_the_first_message_refers_to_none_and_so_does_one_after_forgetting(takeover: bool) -> None:
    deflate = own_deflate(takeover=takeover)
    for _ in range(2):
        payload = b"XXXX" * 50
        compressed = deflate.compress(payload)
        assert compressed is not None
        assert zlib.decompressobj(-12).decompress(compressed + TAIL) == payload
        deflate.forget_sent()


def test_takeover_makes_a_message_shorter_that_is_like_an_earlier_one() -> None:
    connection = engine(TAKEOVER)
    message = random.Random(2).randbytes(300).hex().encode()
    first, second = (len(connection.encode(TEXT, message)) for _ in range(2))
    assert second < first / 5
    connection.frame_of(Prepared(TEXT, message))
    assert len(connection.encode(TEXT, message)) == first, "the peer has something between that we have not"


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_bomb_costs_no_more_than_the_limit(pieces: int) -> None:
    limit = 10_000
    bomb = Client(takeover=False).compress(bytes(20_000_000))
    assert len(bomb) < 25_000
    connection = engine(limit=limit)
    data = frame(bomb, BINARY)
    for part in range(pieces):
        connection.receive(data[part * len(data) // pieces : (part + 1) * len(data) // pieces])
    assert connection.cause is not None
    assert connection.cause.close_code == 1009
    assert not connection.messages
    fits = engine(limit=limit)
    fits.receive(frame(Client(takeover=False).compress(bytes(limit)), BINARY))
    assert fits.messages.popleft() == (BINARY, bytes(limit))
    over = engine(limit=limit)
    over.receive(frame(Client(takeover=False).compress(bytes(limit + 1)), BINARY))
    assert over.cause is not None


@pytest.mark.parametrize("settings", [PLAIN, TAKEOVER], ids=["none", "takeover"])
@pytest.mark.parametrize("fragments", [1, 9])
def test_a_bomb_takes_no_more_memory_than_its_own_bytes_and_a_largest_message(
    settings: DeflateSettings, fragments: int
) -> None:
    """A thousand times the limit, whole and in fragments, as the first message and after others."""
    limit = 50_000
    client = Client(takeover=True)
    harmless = frame(client.compress(bytes(limit)), BINARY)
    client.takeover = settings.has_takeover
    bomb = client.compress(bytes(1_000 * limit))
    assert len(bomb) < 1_000 * limit / 900
    cuts = [number * len(bomb) // fragments for number in range(fragments + 1)]
    pieces = [
        frame(bomb[begin:end], BINARY if not begin else 0, fin=end == len(bomb), rsv1=not begin)
        for begin, end in pairwise(cuts)
    ]
    connection = engine(settings, limit)

    def peak_of(*data: bytes) -> int:
        gc.collect()
        tracemalloc.start()
        try:
            for each in data:
                connection.receive(each)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    connection.receive(harmless)
    assert connection.messages.popleft() == (BINARY, bytes(limit))
    # A few copies: of what came, while it is unmasked and cut; of what it stands for, while zlib's pieces are joined.
    assert peak_of(*pieces) < 4 * (len(bomb) + limit)
    assert connection.cause is not None
    assert connection.cause.close_code == 1009


@pytest.mark.parametrize(("settings", "most"), [(PLAIN, 64), (TAKEOVER, 2 * 4_096 + 512)], ids=["none", "takeover"])
def test_a_connection_keeps_two_windows_with_takeover_and_nothing_without(settings: DeflateSettings, most: int) -> None:
    offer = "permessage-deflate; client_max_window_bits"
    client = Client(takeover=settings.has_takeover)
    agreement = negotiate({"HTTP_SEC_WEBSOCKET_EXTENSIONS": offer}, settings)
    assert agreement is not None
    compressors = Compressors(settings)
    message = frame(client.compress(b"of thirty bytes, many of them " * 500))

    def talk() -> Deflate:
        connection = WebSocket(1 << 20, deflate=compressors.deflate(agreement))
        connection.receive(message)
        connection.encode(*connection.messages.popleft())
        assert connection.deflate is not None
        return connection.deflate

    talk()
    tracemalloc.start()
    try:
        kept = [talk() for _ in range(50)]
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] / len(kept) < most
    finally:
        tracemalloc.stop()


def test_long_offers_take_linear_time() -> None:
    def check(size: int) -> None:
        for value in (
            NAME + "".join(f";a{number:x}" for number in range(size // 6)),
            f"{NAME};a=1," * (size // 24),
            NAME + ";" + " " * size + "=",
            NAME + '; a="' + "b" * size,
            "," * size,
        ):
            agreed(value)

    assert growth(check, 20_000, 320_000) < 40


def test_no_more_is_inflated_than_is_allowed() -> None:
    class Counting:
        eof = False
        unused_data = b""

        def decompress(self, data: bytes, most: int) -> bytes:
            asked.append(most)
            return bytes(60)

    asked: list[int] = []
    inflater = Inflater(Counting(), 100)
    inflater.inflate(b"x")
    with pytest.raises(MessageTooBig, match="100 allowed") as caught:
        inflater.inflate(b"y")
    assert (caught.value.size, caught.value.limit) == (101, 100)
    assert asked == [101, 41]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"\xff\xff"), 1007),
        (frame(b"\xff\xff", fin=False), 1007),
        (frame(Client(takeover=False).compress(b"\xff")), 1007),
        (frame(Client(takeover=False).compress("é".encode()[:1])), 1007),
        (frame(b"", frames.PING), 1002),
        (frame(b"\x00", fin=False) + frame(b"", 0), 1002),
        (b"\xa1\x80", 1002),
        (b"\xd1\x80", 1002),
    ],
    ids=["garbage", "begun", "not UTF-8", "half a character", "ping", "continuation", "RSV2", "RSV1 and RSV3"],
)
def test_what_breaks_the_extension_fails_the_connection(data: bytes, code: int) -> None:
    connection = engine()
    connection.receive(data)
    assert connection.cause is not None
    assert connection.cause.close_code == code
    assert connection.finished


def test_without_an_agreement_the_bit_is_reserved() -> None:
    connection = WebSocket(100)
    connection.receive(frame(b"\x00"))
    assert connection.cause is not None
    assert connection.cause.close_code == 1002


@pytest.mark.parametrize(
    ("compressed", "message"),
    [
        # RFC 7692 7.2.3: its examples.
        ("f248cdc9c90700", b"Hello"),
        ("000500faff48656c6c6f00", b"Hello"),
        ("f348cdc9c9070000", b"Hello"),
        ("f248050000 00ffff cac9c90700", b"Hello"),
        ("f348cdc9c907 00f248cdc9c90700", b"HelloHello"),
        ("00", b""),
        ("", b""),
    ],
    ids=["fixed", "not compressed", "final block", "two blocks", "a final block before another", "empty", "nothing"],
)
def test_the_examples_of_the_rfc(compressed: str, message: bytes) -> None:
    connection = engine()
    connection.receive(frame(bytes.fromhex(compressed)))
    assert connection.cause is None
    assert connection.messages.popleft() == (TEXT, message)


def test_the_end_that_a_message_lacks_is_its_end() -> None:
    """RFC 7692 7.2.2: also where a block has been cut short by a peer that counts on it."""
    inflater = Inflater(zlib.decompressobj(-15), 100)
    assert inflater.inflate(bytes.fromhex("000900f6ff48656c6c6f")) + inflater.finish() == b"Hello\0\0\xff\xff"


def test_a_streamed_message_is_inflated_as_it_comes() -> None:
    connection = engine()
    connection.stream_next(True)
    data = frame(Client(takeover=False).compress(bytes(range(256)) * 400), BINARY)
    pieces = []
    for start in range(0, len(data), 50):
        connection.receive(data[start : start + 50])
        while connection.messages:
            pieces.append(connection.messages.popleft())
    assert len(pieces) > 2
    assert [piece[2] for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert b"".join(piece[1] for piece in pieces) == bytes(range(256)) * 400


def test_what_crosses_our_close_frame_is_not_inflated() -> None:
    connection = engine()
    connection.close()
    bomb = frame(Client(takeover=False).compress(bytes(5_000_000)))
    connection.receive(bomb + bomb[:100])
    connection.receive(bomb[100:])
    assert not connection.messages
    assert connection.cause is None


def test_an_agreement_says_what_it_is() -> None:
    agreement = negotiate({"HTTP_SEC_WEBSOCKET_EXTENSIONS": "permessage-deflate; client_max_window_bits"}, TAKEOVER)
    assert negotiate({"HTTP_SEC_WEBSOCKET_EXTENSIONS": NAME}, PLAIN) == Agreement(
        15, 15, False, False, f"{NAME}; {NONE}"
    )
    assert agreement == Agreement(
        12, 12, True, True, "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"
    )
