"""HTTP/1 requests, heads and bodies: each build gives the same of them however they are cut, and nothing undocumented.

The last byte of an input chooses the limits; what is before it comes from the peer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from fuzz.builds import Build, raised
from fuzz.inputs import same_for_all_cuts

MEASURED = ("protocol/http/http1", "protocol/http/cgi", "protocol/http/grammar")
VECTORS = ("http1", "http")
SEEDS: list[bytes] = []

STATUSES = {400, 413, 414, 417, 431, 501, 505}
#: Limits of heads, targets, bodies, header lines and trailers; those of most vectors first.
LIMITS = (
    (65_536, 8_192, None, 128, 4_096),
    (200, 60, 20, 5, 40),
    (65_536, 100, 3, 128, 100),
    (120, 8_192, None, 3, 4_096),
)
UNDERSCORES = ("drop", "keep", "refuse", "drop")
BODY_ALONE = 16


def prepare(builds: Sequence[Build]) -> Callable[[bytes], None]:
    ends = [End(build) for build in builds]

    def check(data: bytes) -> None:
        settings, data = data[-1] if data else 0, data[:-1]
        same_for_all_cuts(data, *(partial(end.outcome, settings=settings) for end in ends))

    return check


class End:
    """The server's end, of one build."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.http1 = build.module("protocol.http.http1")
        self.errors = build.module("errors")

    def outcome(self, pieces: Iterable[bytes], settings: int) -> tuple[Any, ...]:
        head_size, target_size, body_size, count, trailers = LIMITS[settings & 3]
        underscores = UNDERSCORES[settings >> 2 & 3]
        limits = self.http1.Limits(head_size, target_size, body_size, underscores, count, trailers)
        heads: list[Any] = []
        bodies: list[bytes] = []
        error = None
        if settings & BODY_ALONE:
            length = None if settings & 32 else settings >> 6
            head = self.http1.Head({}, 0, True, False, None, length, length is None)
            parser = self.http1.RequestParser.of_body(limits, head)
            heads.append(())
            bodies.append(b"")
            has_ended = False
        else:
            parser = self.http1.RequestParser(limits, {"GIVEN": "1"})
            has_ended = True
        try:
            for piece in pieces:
                parser.receive(piece)
                while True:
                    if has_ended:
                        head = parser.next_head()
                        if head is None:
                            break
                        assert head.size <= head_size
                        assert len(head.variables["REQUEST_URI"]) <= target_size
                        heads.append([getattr(head, name) for name in self.http1.Head.__slots__])
                        bodies.append(b"")
                    else:
                        body = parser.next_body()
                        if body is None:
                            break
                        bodies[-1] += body
                        assert body_size is None or len(bodies[-1]) <= body_size or settings & BODY_ALONE
                    has_ended = not has_ended if has_ended else not body
        except self.errors.RequestError as exc:
            assert exc.status in STATUSES
            error = (exc.status, exc.reason, exc.headers, raised(exc))
            for call in (parser.next_head, parser.next_body, parser.take_rest):
                try:
                    call()
                    raise AssertionError("it goes on after an error")
                except self.errors.RequestError as again:
                    assert again is exc
        rest = None if error else parser.take_rest()
        names = parser.dropped_names
        partial = parser.has_partial
        return heads, bodies, has_ended, error, rest if has_ended and not heads else None, names, partial
