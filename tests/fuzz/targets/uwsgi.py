"""uwsgi packets: each cut gives the same request, what is made is read again, and a plain reader agrees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fuzz.builds import Build, raised
from fuzz.inputs import cuts

MEASURED = ("protocol/uwsgi",)
VECTORS = ("uwsgi", "bin")
SEEDS: list[bytes] = []


def prepare(builds: Sequence[Build]) -> Callable[[bytes], None]:
    uwsgi, http1, errors = (builds[0].module(name) for name in ("protocol.uwsgi", "protocol.http.http1", "errors"))
    limits = http1.Limits(65_536, 8_192, 1_000, "drop")

    def outcome(pieces: Iterable[bytes]) -> Any:
        parser = uwsgi.PacketParser(limits)
        head = None
        for piece in pieces:
            parser.receive(piece)
            if head is None:
                try:
                    head = parser.next_head()
                except errors.RequestError as exc:
                    assert exc.status in (400, 413, 501)
                    return raised(exc), exc.status
        if head is None:
            assert parser.has_partial or not pieces
            return None
        fields = [getattr(head, name) for name in http1.Head.__slots__]
        return fields, parser.contradicted, parser.modifier1, parser.take_rest()

    def check(data: bytes) -> None:
        data = data[:-1]
        first: Any = None
        for pieces in cuts(data):
            got = outcome(pieces)
            if first is None:
                first = got
            assert got == first or isinstance(got[0], tuple), pieces
            assert (got is None) == (first is None)
        if first is not None and len(first) == 4:
            round_trip(data, first)

    def round_trip(data: bytes, first: Any) -> None:
        pairs = list(block(data[4 : 4 + data[1] + data[2] * 256]))
        packet = uwsgi.encode_packet(pairs, data[0], data[3])
        assert data.startswith(packet)
        variables = first[0][list(http1.Head.__slots__).index("variables")]
        names = [name for name, _ in pairs]
        for name, value in pairs:
            if names.count(name) == 1 and name not in ("SCRIPT_NAME", "PATH_INFO"):
                assert variables[name] == value

    return check


def block(data: bytes) -> Iterable[tuple[str, str]]:
    """Read a packet's variables as simply as can be."""
    while data:
        size = data[0] + data[1] * 256
        name, data = data[2 : 2 + size], data[2 + size :]
        size = data[0] + data[1] * 256
        value, data = data[2 : 2 + size], data[2 + size :]
        yield name.decode("latin-1"), value.decode("latin-1")
