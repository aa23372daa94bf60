"""The companion protocol: vector files both ways, any bytes cut anywhere, and the peer of the tests."""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import companion

from uwsgi_ws.companions import records
from uwsgi_ws.companions.records import Decoder
from uwsgi_ws.errors import RecordError

VECTORS = Path(__file__).parents[2] / "vectors" / "companion"
LIMIT = 1_048_576


def vectors(kind: str, sender: str) -> list[Any]:
    found = [(path.stem, json.loads(path.read_text())) for path in sorted((VECTORS / kind).glob("*.json"))]
    return [pytest.param(vector, id=name) for name, vector in found if vector["from"] == sender]


def as_vector(kind: int, value: Any) -> dict[str, Any]:
    """Return a record in the terms of the vectors."""
    letter = chr(kind)
    match letter:
        case "V":
            fields: dict[str, Any] = {"version": value[0], "largest": value[1]}
        case "B" | "T" | "D":
            fields = {"data": value.decode("latin-1")}
        case "J" | "L" | "I" | "O":
            fields = {"data": value.encode().decode("latin-1")}
        case "R":
            fields = {"size": value}
        case "S":
            fields = {"pairs": [[":status", value[0]], *map(list, value[1])]}
        case "H":
            given = zip((":key", ":origin", ":protocol"), value[:3], strict=True)
            fields = {"pairs": [[name, text] for name, text in given if text] + [list(each) for each in value.headers]}
        case "C":
            fields = {"code": value[0], "reason": value[1]}
        case "P":
            fields = {"number": value}
        case "U":
            fields = {
                "channel": value.channel,
                "opcode": "TD"[value.opcode - 1],
                "flags": int(value.is_for_others),
                "data": value.payload.decode("latin-1"),
            }
        case "N":
            fields = {"tag": value[0], "channel": value[1]}
        case _:
            fields = {"text": value}
    return {"type": letter, **fields}


@pytest.mark.parametrize("vector", vectors("valid", "companion"))
def test_a_companions_records_mean_what_the_vectors_say(vector: Any) -> None:
    decoder = Decoder(LIMIT)
    came = decoder.feed(bytes.fromhex(vector["hex"]))
    assert decoder.error is None
    limit = 0xFFFFFFFF
    assert [as_vector(*each) for each in came] == vector["records"], limit


@pytest.mark.parametrize("vector", vectors("invalid", "companion"))
def test_nonsense_of_a_companion_is_refused_and_kept_for_the_log(vector: Any) -> None:
    data = bytes.fromhex(vector["hex"])
    decoder = Decoder(vector.get("limit", LIMIT))
    assert decoder.feed(data) == []
    assert isinstance(decoder.error, RecordError)
    assert data.startswith(decoder.error.said)
    assert 0 < len(decoder.error.said) <= 60
    assert decoder.feed(b"T\0\0\0\0") == []


@pytest.mark.parametrize("vector", vectors("valid", "worker"))
def test_a_worker_writes_what_the_vectors_say(vector: Any) -> None:
    assert b"".join(map(written, vector["records"])) == bytes.fromhex(vector["hex"])


def written(fields: dict[str, Any]) -> bytes:
    data = fields.get("data", "").encode("latin-1")
    match fields["type"]:
        case "V":
            return records.encode_version(fields["largest"])
        case "Q":
            return records.encode_request([(name, value) for name, value in fields["variables"]], fields["modifier1"])
        case "B":
            return records.encode_body(data)
        case "F":
            return records.encode_failed_body(fields["text"])
        case "H":
            return records.encode_handshake_result(fields["text"])
        case "T" | "D":
            return records.encode_message_head("_TD".index(fields["type"]), len(data)) + data
        case "C":
            return records.encode_close(fields["code"], fields["reason"])
        case "P":
            seconds = fields["seconds"]
            return records.encode_ping_result(fields["number"], float("nan") if seconds is None else seconds)
        case "M":
            return records.encode_message(fields["channel"].encode(), "_TD".index(fields["opcode"]), data)
        case "N":
            return records.encode_number(fields["tag"], fields["number"])
    raise AssertionError(fields)


@pytest.mark.parametrize("vector", [*vectors("valid", "worker"), *vectors("invalid", "worker")])
def test_the_companion_of_the_tests_reads_as_the_vectors_say(vector: Any) -> None:
    data = bytes.fromhex(vector["hex"])
    came = []
    if "records" in vector:
        while data:
            size = struct.unpack(">I", data[1:5])[0]
            came.append({"type": chr(data[0]), **companion.meaning(chr(data[0]), data[5 : 5 + size])})
            data = data[5 + size :]
        assert came == vector["records"]
    elif "limit" not in vector:
        with pytest.raises((ValueError, struct.error)):
            companion.meaning(chr(data[0]), data[5:])


@given(
    st.lists(st.tuples(st.sampled_from("BTDEG"), st.binary(max_size=300)), max_size=8), st.lists(st.integers(0, 900))
)
def test_a_stream_may_be_cut_anywhere(sent: list[tuple[str, bytes]], cuts: list[int]) -> None:
    stream = b"".join(companion.record(kind, payload) for kind, payload in sent)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    whole, pieces = Decoder(LIMIT), Decoder(LIMIT)
    came = []
    for begin, end in pairwise(edges):
        came += pieces.feed(stream[begin:end])
    assert came == whole.feed(stream)
    assert [chr(kind) for kind, _ in came] == [kind for kind, _ in sent]


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_any_bytes_give_records_or_a_documented_error(pieces: list[bytes]) -> None:
    decoder = Decoder(1_000)
    for piece in pieces:
        for kind, _ in decoder.feed(piece):
            assert chr(kind) in "VBCDEGHIJLNOPRSTU"


def test_records_before_an_error_count() -> None:
    decoder = Decoder(LIMIT)
    assert decoder.feed(companion.record("T", b"good") + b"?" + bytes(100)) == [(records.TEXT_MESSAGE, b"good")]
    assert decoder.error is not None
    assert decoder.error.said == b"?" + bytes(59)


@pytest.mark.parametrize("kind", ["J", "N"])
def test_a_channels_name_has_bounds_and_is_utf_8(kind: str) -> None:
    tag = bytes(4) if kind == "N" else b""
    for name in (b"x" * 65_536, b"\xff"):
        decoder = Decoder(LIMIT)
        assert decoder.feed(companion.record(kind, tag + name)) == []
        assert "name" in str(decoder.error)


def test_what_a_companion_logs_may_be_any_bytes() -> None:
    assert Decoder(LIMIT).feed(companion.record("G", b"a\xff")) == [(records.LOG, "a\\xff")]
