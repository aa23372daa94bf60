"""What becomes of a line on its way to a logger."""

from __future__ import annotations

import gzip
import json
import time
import zlib

import pytest

from uwsgi_ws.log.encoders import encoder
from uwsgi_ws.loggers import LogEncoder


def encoded(kind: str, text: str, line: bytes) -> bytes:
    return encoder(LogEncoder(kind, "", text))(line)


@pytest.mark.parametrize(
    ("kind", "text", "line", "expected"),
    [
        ("prefix", "P: ", b"a\n", b"P: a\n"),
        ("suffix", " S", b"a\n", b"a\n S"),
        ("nl", "", b"a", b"a\n"),
        ("format", "[${msg}|${msgnl}|$x|${unfinished", b"a\n", b"[a|a\n|$x|${unfinished"),
        ("format", "no variable", b"a\n", b"no variable"),
        ("json", '{"text":"${msg}"}', b'say "x"\t\\ \x01\n', b'{"text":"say \\"x\\"\\t\\\\ \\u0001"}'),
        ("json", "${msgnl}", b"a\n", b"a\\n"),
        ("json", "${msg}é", "é".encode(), "éé".encode()),
        ("json", "${msg}", b"\xff", b"\\\\xff"),
        ("format", "${msg}\udcff", b"\xff", b"\xff\xff"),
    ],
)
def test_it_is_as_uwsgi_makes_it(kind: str, text: str, line: bytes, expected: bytes) -> None:
    assert encoded(kind, text, line) == expected


def test_any_bytes_are_valid_json() -> None:
    line = bytes(range(256)) + "\u2028\U0001f600".encode()
    assert json.loads(encoded("json", '"${msg}"', line))


def test_the_time_is_that_of_the_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 784_111_777.9)
    monkeypatch.setattr(time, "time_ns", lambda: 784_111_777_123_456_789)
    assert encoded("format", "${unix} ${micros}", b"") == b"784111777 784111777123456"
    assert encoded("format", "${strftime:%Y-%%}", b"") == time.strftime("%Y-%%").encode()


def test_what_is_compressed_is_a_whole_each_time() -> None:
    assert gzip.decompress(encoded("gzip", "", b"a\n")) == b"a\n"
    assert zlib.decompress(encoded("compress", "", b"a\n")) == b"a\n"
