"""HTTP/1.x responses, as a backend sends them: bytes in; a head, pieces of body and their end out.

The grammar is llhttp's. What it leaves to its user is here: a bound for the head, responses that have no body, bodies
that end with the connection, and the bytes behind a 101, which are no HTTP any more.

Source: RFC 9112 4, 6 and 9; uWSGI's backends answer in HTTP/1.0 or 1.1, whatever they are asked in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from weakref import proxy

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from uwsgi_ws.errors import RequestError
from uwsgi_ws.protocol.http.grammar import DIGITS, LENGTH
from uwsgi_ws.protocol.http.hop_by_hop import end_to_end

__all__ = ["ResponseHead", "ResponseParser"]

#: Bytes of a head, interim ones (100, 103) included.
_HEAD_SIZE: Final = 65_536
#: A Content-Length field that may list its number more than once.
_LENGTHS: Final = re.compile(
    rf"(?i)\r\ncontent-length:[ \t]*({DIGITS}(?:[ \t]*,[ \t]*{DIGITS})*)[ \t]*(?=\r\n)".encode()
)

#: llhttp passes over what stands before a status line.
_BLANK_LINES: Final = re.compile(rb"[\r\n]*")


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A final response's head.

    Args:
        code: The status code.
        reason: The words behind it, often none.
        headers: In order, as they came, without those that concern the backend's connection only.
        content_length: Bytes of the body; None when it is chunked or ends with the connection.
    """

    code: int
    reason: str
    headers: list[tuple[str, str]]
    content_length: int | None


class ResponseParser:
    """One response.

    Attributes:
        head: None until it is in.
        is_complete: Nothing more will come.
        rest: What came behind a 101.

    Args:
        is_head: The request was a HEAD: there is no body, whatever the head says.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_fields",
        "_held",
        "_is_doubtful",
        "_is_head",
        "_parser",
        "_reason",
        "head",
        "is_complete",
        "rest",
    )

    def __init__(self, *, is_head: bool = False) -> None:
        self._is_head = is_head
        self._parser = HttpResponseParser(_Events(proxy(self)))  # no cycle: nothing here waits for the collector
        self._reason = b""
        self._fields: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._held = bytearray()  # the head so far
        self._is_doubtful = False  # llhttp has refused its Content-Length
        self.head: ResponseHead | None = None
        self.is_complete = False
        self.rest = b""

    def receive(self, data: bytes) -> None:
        """Take bytes from the backend; ``b""`` is the end of its stream.

        Raises:
            RequestError: 502, they are no HTTP response, or it has ended too early.
        """
        if self.is_complete:
            return  # RFC 9112 6.3: what comes behind the response, on a connection for one request, means nothing
        if not data:
            self._end()
            return
        if self.head is not None:
            self._feed(data)
            return
        self._held += data
        if not self._is_doubtful:
            self._feed(data)
        if self._is_doubtful:
            self._begin_again()
        if self.head is not None:
            if self.head.code == 101:
                # Not what llhttp says: without an upgrade in its Connection field it takes the rest for a response.
                _, end = _final_head(self._held)
                self.rest = bytes(self._held[end:])
            self._held.clear()
        elif len(self._held) > _HEAD_SIZE:
            raise RequestError(502, "the head of the backend's response is too long")

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            pass  # ``receive`` sees to what follows
        except HttpParserError as exc:
            if self.is_complete:
                return
            if self.head is None and not self._is_doubtful and "Content-Length" in str(exc):
                self._is_doubtful = True
                return
            raise RequestError(502, "the backend's response is malformed") from exc

    def _begin_again(self) -> None:
        """Once the head is whole, read it anew with one Content-Length, if all that it has are equal."""
        held = bytes(self._held)
        begin, end = _final_head(held)
        if end < 0:
            return
        head = held[begin : end - 2]
        numbers = {int(number) for field in _LENGTHS.findall(head) for number in field.split(b",")}
        if len(numbers) != 1:
            raise RequestError(502, "the backend's response has no proper Content-Length")
        self._parser = HttpResponseParser(_Events(proxy(self)))
        self._fields.clear()
        one = b"\r\nContent-Length: %d" % numbers.pop()
        self._feed(held[:begin] + _LENGTHS.sub(b"", head)[:-2] + one + held[end - 4 :])

    def take_body(self) -> bytes:
        """Return what has come of the body, and forget it."""
        body = b"".join(self._body)
        self._body.clear()
        return body

    def _end(self) -> None:
        if self.head is None or self.head.content_length is not None or self._is_chunked():
            raise RequestError(502, "the backend ended its response too early")
        self.is_complete = True

    def _is_chunked(self) -> bool:
        return any(name.lower() == "transfer-encoding" for name, _ in self._fields)

    def _end_head(self) -> None:
        code = self._parser.get_status_code()
        if code < 100:
            raise ValueError("a status code below 100")  # RFC 9110 15; to llhttp three digits will do
        if code < 200 and code != 101:
            self._fields.clear()  # an interim response: the one that counts is still to come
            return
        length: int | None = None
        for name, value in self._fields:
            if name.lower() == "content-length":
                # llhttp has let digits pass only, and one length only, but any number of zeros before it.
                if not LENGTH.fullmatch(value):
                    raise ValueError("a Content-Length of too many digits")
                length = int(value)
        headers = end_to_end(self._fields, code)
        self.head = ResponseHead(code, self._reason.decode("latin-1"), headers, length)
        if self._is_head:
            self.is_complete = True


def _final_head(held: bytes | bytearray) -> tuple[int, int]:
    """Return where the head that counts begins and ends, behind those of interim responses; (0, -1) if it is not whole.

    An interim response, "HTTP/1.1 1xx", has come through before.
    """
    end = 0
    while True:
        begin = _BLANK_LINES.match(held, end).end()  # type: ignore[union-attr]  # it matches nothing as well
        end = held.find(b"\r\n\r\n", begin) + 4
        if end < 4:
            return 0, -1
        if held[begin + 9 : begin + 10] != b"1" or held.startswith(b"101", begin + 9):
            return begin, end


class _Events:
    """What llhttp calls; apart, so that the parser's own names stay its own."""

    __slots__ = ("_of",)

    def __init__(self, parser: ResponseParser) -> None:
        self._of = parser

    def on_message_begin(self) -> None:
        self._of._reason = b""

    def on_status(self, reason: bytes) -> None:
        self._of._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._of.head is None:  # else it is a trailer, which goes no further (RFC 9110 6.5.1)
            self._of._fields.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if self._of.head is None:
            self._of._end_head()

    def on_body(self, data: bytes) -> None:
        if not self._of.is_complete:
            self._of._body.append(data)

    def on_message_complete(self) -> None:
        if self._of.head is not None:
            self._of.is_complete = True
