"""What goes between workers, and through Redis: records, packets, and a channel's messages with their heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fuzz.builds import Build, raised
from fuzz.inputs import Reader, same_for_all_cuts

MEASURED = ("channels/records", "channels/redis/wire", "channels/positions")
VECTORS = None
SEEDS = [
    b"\0\1\1\0\2\0\0\0cab\2\0\0\0\0\0\0",
    b"\1\0\1\0\0\0\0\0c\3\1\0\0\0\0\0c\5\1\0\1\0\0\0cx",
    b"\0\x11\1\0\6\0\0\0c\1\0\0\0ab\x12\1\0\4\0\0\0c\1\0\0\0",
    b"\1\2\0\1\0\0\0\0\xff",
    b"\2\1\x08\1\1\0\2\0\0\0ca\1\x01b\2\x05\2\0\0\0\0\1\x02\0\0\3\2xx",
    b"\3\0ws" + b"t\0wsx",
    b"\3\0wsT" + bytes(16) + b"text",
    b"\3\0wskabc-12 \0wsb\xff",
    b"\3plain text",
    b"\3\0wsg",
    b"\3\0wsx",
    b"\4channel\nabc-12\n",
]
MOST = 1_000


def prepare(builds: Sequence[Build]) -> Callable[[bytes], None]:
    records, wire, positions, errors = (
        builds[0].module(name) for name in ("channels.records", "channels.redis.wire", "channels.positions", "errors")
    )

    def check(data: bytes) -> None:
        reader = Reader(data)
        which = reader.byte() % 5
        if which < 2:
            stream = reader.rest()
            found, fault, is_idle = same_for_all_cuts(stream, partial(decoded, is_of_worker=which == 1))
            again = b"".join(
                records.encode_record(records.encode_name(record.channel), record.opcode, record.payload)
                for record in found
            )
            assert stream.startswith(again)
            assert not (fault is None and is_idle) or again == stream
        elif which == 2:
            packets(reader)
        elif which == 3:
            from_redis(reader.rest())
        else:
            names(reader)

    def decoded(pieces: Sequence[bytes], *, is_of_worker: bool) -> Any:
        decoder = records.Decoder(MOST, is_of_worker=is_of_worker)
        found = []
        for piece in pieces:
            found += decoder.feed(piece)
            if decoder.error is not None:
                try:
                    decoder.feed(b"x")
                    raise AssertionError("it goes on after an error")
                except errors.ChannelError:
                    break
        assert all(len(record.payload) <= MOST + 4 for record in found)
        return found, None if decoder.error is None else raised(decoder.error), decoder.is_idle

    def packets(reader: Reader) -> None:
        assembler = records.Assembler(1, MOST)
        count = 0
        while reader.has_more:
            writer, generation = reader.below(3), reader.below(3)
            body = reader.take(reader.byte())
            found = assembler.feed(records.encode_packet(writer, generation, 1 - (generation == 2), body))
            assert all(len(record.payload) <= MOST for record in found)
            count += 1
        assert assembler.stale + assembler.torn <= 2 * count
        assert len(assembler._streams) <= 3

    def from_redis(data: bytes) -> None:
        try:
            opcode, payload, excluded = wire.decode(data)
        except errors.ChannelError:
            return
        assert len(payload) <= len(data)
        if opcode in (1, 2):
            assert wire.decode(wire.encode(opcode, payload, excluded)) == (opcode, payload, excluded)
        elif opcode == records.PRESENCE:
            assert wire.encode(opcode, payload) == data
        elif opcode == wire.KEPT:
            try:
                position, kept = wire.decode_kept(payload)
            except errors.ChannelError:
                return
            assert positions.parse_position(str(position)) == position
            assert payload.endswith(kept)

    def names(reader: Reader) -> None:
        name = reader.line().decode("utf-8", "surrogateescape")
        assert records.decode_name(records.encode_name(name)) == name
        text = reader.rest().decode("latin-1")
        position = positions.parse_position(text)
        assert position is None or positions.parse_position(str(position)) == position
        keep = positions.keeper([(text, 5, 60), ("*", 0, 1)])(name)
        assert keep is None or keep.messages == 5

    return check
