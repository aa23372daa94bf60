"""What a server says: heads of applications, answers of backends, conditional requests, event streams.

The first byte of an input chooses which; each part has an oracle of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from fuzz.builds import Build, raised
from fuzz.inputs import Reader, same_for_all_cuts

MEASURED = (
    "protocol/http/response",
    "protocol/http/grammar",
    "protocol/http/hop_by_hop",
    "protocol/http/conditional",
    "protocol/http/event_stream",
)
VECTORS = None
OK = b"\0HTTP/1.1 200 OK\r\n"
SEEDS = [
    OK + b"Content-Length: 3\r\nConnection: x, close\r\nX: 1\r\n\r\nabc",
    OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
    OK + b"\r\nuntil the end",
    OK + b"Content-Length: 3\r\nContent-Length: 3, 3\r\n\r\nabc",
    OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    b"\0HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 204 No Content\r\nUpgrade: x\r\n\r\n",
    b"\0HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200\r\nContent-Length: 1,1\r\n\r\nx",
    b"\0HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\1a",
    b"\1HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"\2200 OK\nContent-Type: text/plain\nContent-Length: 3\nConnection: close, x\nX: 1",
    b"\2426 Upgrade Required\nUpgrade: websocket\nConnection: Upgrade\nContent-Length: 3, 3\nContent-Length: 3",
    b"\2999\nContent-Length: 3\nContent-Length: 4\nTransfer-Encoding: chunked",
    b"\3GET\nbytes=0-4\n\n\n\n\n\n",
    b'\3GET\nbytes=-5\n"tag"\n\n\n"tag"\n\n',
    b'\3GET\nbytes=90-\nSun, 06 Nov 1994 08:49:37 GMT\nW/"tag", "x"\n\n\nSunday, 06-Nov-94 08:49:37 GMT\n',
    b'\3HEAD\nbytes=5-2\n\n*\nSun Nov  6 08:49:37 1994\n"x"\n\n',
    b"\3GET\nbytes=99999-\n\n\nSun, 06 Nov 9999 08:49:37 GMT\n\n\nTue, 99 Foo 1\n",
    b"\4kind\ndata\r\nof\rlines\n",
    b"\5a - b  c",
]

STATUSES = {200, 206, 304, 412, 416}


def prepare(builds: Sequence[Build]) -> Callable[[bytes], None]:
    ends = [End(build) for build in builds]

    def check(data: bytes) -> None:
        reader = Reader(data)
        which = reader.byte() % 6
        if which < 2:
            same_for_all_cuts(reader.rest(), partial(ends[0].response, is_head=which == 1))
        elif which == 2:
            lines = reader.rest().decode("latin-1").split("\n")
            first, *others = [end.head(lines) for end in ends]
            for other in others:
                assert other == first
        elif which == 3:
            ends[0].conditional(reader)
        else:
            ends[0].events(reader, which)

    return check


class End:
    """The server, of one build."""

    def __init__(self, build: Build) -> None:
        module = build.module
        self.response_ = module("protocol.http.response")
        self.grammar, self.errors = module("protocol.http.grammar"), module("errors")
        self.select = module("protocol.http.conditional").select
        self.event_stream = module("protocol.http.event_stream")

    def response(self, pieces: Iterable[bytes], *, is_head: bool) -> Any:
        parser = self.response_.ResponseParser(is_head=is_head)
        body = rest = b""
        try:
            for piece in (*pieces, b""):
                if parser.is_complete:
                    rest += piece
                    continue
                parser.receive(piece)
                body += parser.take_body()
                rest = parser.rest
        except self.errors.RequestError as exc:
            assert exc.status == 502
            # llhttp tells of each piece as it comes, also of one that has a fault further on.
            return raised(exc)[0]
        head = parser.head
        assert head is not None
        assert parser.is_complete
        assert head.code == 101 or head.code >= 200
        for name, value in head.headers:
            assert not set(name + value) & set("\r\n\0")
        if head.content_length is not None and not is_head and head.code not in (101, 204, 304):
            assert len(body) == head.content_length
        return head, body, rest if head.code == 101 else b""

    def head(self, lines: list[str]) -> Any:
        status, *fields = lines
        headers = [(name, value.strip(" ")) for name, _, value in (field.partition(":") for field in fields)]
        try:
            said, kept, length, dropped = self.grammar.check_head(status, headers)
        except (ValueError, TypeError) as exc:
            return raised(exc)
        out = "".join([said, *(f"{name}: {value}" for name, value in kept)])
        assert not set(out) & set("\r\n\0"), "a head would be split"
        out.encode("latin-1")
        assert len(kept) + len(dropped) <= len(headers) + 1
        assert length is None or length >= 0
        return said, kept, length, dropped

    def conditional(self, reader: Reader) -> None:
        names = ("HTTP_RANGE", "HTTP_IF_RANGE", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_MATCH",
                 "HTTP_IF_UNMODIFIED_SINCE")  # fmt: skip
        variables = {"REQUEST_METHOD": reader.line().decode("latin-1")}
        for name in names:
            value = reader.line()
            if value:
                variables[name] = value.decode("latin-1")
        for size in (0, 100):
            selection = self.select(variables, '"tag"', 784_111_777, size)
            assert selection.status in STATUSES
            assert selection.start + selection.length <= size
            assert selection.status != 206 or selection.length > 0
            if selection.status in (304, 412):
                assert any(name in variables for name in names[2:])

    def events(self, reader: Reader, which: int) -> None:
        event_stream = self.event_stream
        if which == 5:
            text = reader.rest().decode("latin-1")
            for count in range(4):
                ids = event_stream.read_ids(text, count)
                assert len(ids) == count
                if "" not in ids:
                    assert event_stream.read_ids(event_stream.write_ids(ids), count) == ids
            return
        kind = reader.line().decode("ascii", "ignore").translate({0: None, 13: None}).strip(" \t")
        data = reader.rest().decode("utf-8", "ignore").encode()
        sent = event_stream.encode_event(data, kind) + event_stream.encode_id("e-1")
        sent += event_stream.COMMENT + event_stream.encode_retry(5) + event_stream.encode_binary(data) + b"\n"
        size, _, rest = event_stream.chunk(sent).partition(b"\r\n")
        assert rest == sent + b"\r\n"
        assert int(size, 16) == len(sent)
        expected = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode()
        (first_kind, first_data, first_id), (second_kind, _, second_id) = read_events(sent.decode())
        assert (first_kind, first_data, first_id) == (kind or "message", expected, "e-1")
        assert (second_kind, second_id) == ("binary", "e-1")


def read_events(text: str) -> list[tuple[str, str, str]]:
    """Read a stream as the standard has it (HTML 9.2.6): the type, the data and the last id of each event."""
    events = []
    kind, data, last_id = "", "", ""
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                events.append((kind or "message", data[:-1], last_id))
            kind, data = "", ""
        elif name == "event":
            kind = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and colon and "\0" not in value:
            last_id = value
    return events
