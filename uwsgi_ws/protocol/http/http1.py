"""HTTP/1.0 and HTTP/1.1 requests: bytes in; heads, body pieces or a RequestError out.

The caller pulls: it gives what it read to ``receive`` and asks ``next_head``, then ``next_body``
until ``b""``, then ``next_head`` again. ``None`` always means that more bytes are needed. Requests
sent ahead (pipelining) simply wait in the buffer until they are asked for.

One module because it is one grammar: every part decides where the next message begins. Who decides what:

- The request line is read here, as soon as its line end is in. It must have what llhttp does not
  insist on: exactly two spaces, a method that is a token, HTTP/1, a target in a form that fits its
  method. llhttp gets another line in its place.
- The header fields are llhttp's: a head is given to a fresh parser once its CRLFCRLF is in, never
  a byte more, so that no event of the next message can appear. What llhttp lets pass and we do not
  (Host, Transfer-Encoding, Expect, repeated fields) is checked on its result. A head that comes in
  pieces is looked at before, as far as it has come: it may have ended already as its sender sees
  it, by LF LF, and would be waited for until it is late.
- Bodies never reach llhttp. A declared length is counted off. Chunks are framed here, because
  httptools hides the chunk line, whose length could not be bounded, and does not tell at which byte
  a message ended. Trailers go through llhttp again and are dropped (RFC 9110 6.5.1 allows it).

::

              line in              head in, no body
    LINE ----------------> FIELDS -----------------> LINE
     ^                       |
     |  last byte            | Content-Length                       size line
     +------------ COUNTED <-+-> CHUNK_LINE <----> CHUNK_DATA, CHUNK_END
     |                             |  size 0
     +----------------------- TRAILERS

In place of LINE comes LAST when the connection cannot be used again: later bytes are ignored.

Every stage waits for more bytes or fails at a position that depends on the bytes alone, so where
the network cut them changes nothing. After an error the parser only repeats that error:
what follows a request we could not delimit must never be taken for another (RFC 9112 11.2).

Source: RFC 9110, RFC 9112; CGI names RFC 3875 4.1 and PEP 3333.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from uwsgi_ws.errors import InvalidState, RequestError
from uwsgi_ws.protocol.http.cgi import METHODS, Fields, is_target, method_of, split_target
from uwsgi_ws.protocol.http.grammar import FIELD_VALUE_BYTES, HOST, LENGTH, TCHAR, TEXT, TOKEN

__all__ = ["Head", "Limits", "RequestParser", "expects_100"]

#: Header lines of a request: browsers behind proxies send some 40.
_HEADER_COUNT: Final = 128
#: Bytes of a trailer section. It is dropped, so this only bounds what is kept until its end.
_TRAILER_SIZE: Final = 4_096


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost; every number is in bytes unless its name says otherwise.

    Args:
        head_size: Request line and header fields together, line ends included; past it 431. What
            an unfinished head can hold in memory.
        target_size: The request target; past it 414. RFC 9112 3 recommends to support request
            lines of 8000 bytes at least, and common proxies stop at 8 KiB themselves.
        body_size: Body bytes, declared or counted; past it 413. None is no limit: the application decides.
        underscores: What becomes of fields with ``_`` in their name: ``drop``, ``keep`` or ``refuse``.
        header_count: Header lines; past it 431.
        trailer_size: The trailer section of a chunked body, last line end included; past it 431.
    """

    head_size: int
    target_size: int
    body_size: int | None
    underscores: str
    header_count: int = _HEADER_COUNT
    trailer_size: int = _TRAILER_SIZE

    def check_body(self, length: int) -> None:
        """Raise an error for a body that is longer than it may be.

        Args:
            length: Its bytes, as its sender has declared them or as many as have come.

        Raises:
            RequestError: 413.
        """
        if self.body_size is not None and length > self.body_size:
            raise RequestError(413, "the request body is too big")


class Head:
    """One parsed request head.

    Args:
        variables: CGI names to native strings (latin-1, as PEP 3333 has it): REQUEST_METHOD,
            REQUEST_URI (as sent), PATH_INFO (percent-decoded; empty for ``OPTIONS *``),
            QUERY_STRING, SERVER_PROTOCOL; CONTENT_TYPE and CONTENT_LENGTH only if sent; HTTP_* for
            the other fields. A repeated field is joined with ``", "`` (Cookie with ``"; "``).
            Fields with an underscore in their name are missing, unless ``Limits.underscores`` says
            otherwise: in CGI form nobody could tell them from those with a hyphen. The dict is the
            caller's to keep and change.
        size: Bytes of the head, its last line end included.
        keep_alive: Whether the connection may be used again after this request.
        expects_continue: The client waits for ``100 Continue`` before it sends the body.
        upgrade: ``"websocket"`` if the Upgrade field lists it, else None: every other upgrade is
            ignored and the request served as it is.
        content_length: The Content-Length, or None if not sent.
        chunked: The body comes in chunks.
    """

    __slots__ = ("chunked", "content_length", "expects_continue", "keep_alive", "size", "upgrade", "variables")

    def __init__(
        self,
        variables: dict[str, str],
        size: int,
        keep_alive: bool,
        expects_continue: bool,
        upgrade: str | None,
        content_length: int | None,
        chunked: bool,
    ) -> None:
        self.variables = variables
        self.size = size
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.upgrade = upgrade
        self.content_length = content_length
        self.chunked = chunked


# What ends a request line of a version that we speak, and that version. RFC 9110 6.2: a later one of the same major
# version is to be "processed as if it were in the highest minor version ... to which the recipient is conformant".
_VERSIONS: Final = {f"HTTP/1.{minor}\r\n": f"HTTP/1.{min(minor, 1)}" for minor in range(10)}
# What llhttp reads in the place of a request line, whose method and target it would judge by a list and in ASCII.
_LLHTTP_LINES: Final = {version: f"GET / {version}\r\n".encode() for version in ("HTTP/1.0", "HTTP/1.1")}
_VERSION: Final = re.compile(r"HTTP/[0-9]\.[0-9]")

# A line holds this much beside its target: "UNSUBSCRIBE", two spaces, "HTTP/1.1", CR and some room.
_LINE_ROOM: Final = 32

# RFC 9112 7.1, 7.1.1 as llhttp reads it: no white space anywhere. 16 digits are 64 bits.
_QUOTED: Final = rf"\"(?:[\t !#-\[\]-~\x80-\xff]|\\{TEXT})*\""
_CHUNK_LINE: Final = re.compile(rf"([0-9A-Fa-f]{{1,16}})(?:;{TCHAR}+(?:=(?:{TCHAR}+|{_QUOTED}))?)*\r\n")
# Line end included. No client in use sends extensions; a signature of 64 digits would still fit.
_CHUNK_LINE_SIZE: Final = 256

# No further byte makes a request line of what has one of these; its own line end comes off before.
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
# What may still become a chunk's size line.
_CHUNK_LINE_BEGINNING: Final = re.compile(rf"[0-9A-Fa-f]{{1,16}}(?:;{TEXT}*)?\r?".encode())

# The parts of a field line, for heads and trailers that come in pieces.
_NAME: Final = re.compile(TCHAR.encode() + b"*")
_AT_START: Final = 0  # of a line
_IN_NAME: Final = 1
_IN_VALUE: Final = 2
_BEHIND_CR: Final = 3

# Brings llhttp into its trailer state, where it also refuses what must not be there.
_BEFORE_TRAILERS: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"

# A client's next request has mostly the fields of its last, so they are compared before they are parsed. Longer ones
# are not: an idle connection keeps them.
_KNOWN_SIZE: Final = 2_048

_LINE: Final = 0
_FIELDS: Final = 1
_LAST: Final = 2
_COUNTED: Final = 3  # from here on: inside a body
_CHUNK_SIZE: Final = 4
_CHUNK_DATA: Final = 5
_CHUNK_END: Final = 6
_TRAILERS: Final = 7


class RequestParser:
    """The requests of one connection, one after the other.

    Holds at most one unfinished head (``Limits.head_size``), trailer section or chunk line, and
    what else ``receive`` was given and nobody has asked for: who does not read the body must not
    go on receiving. Not for use by two threads at once; never blocks or switches.

    Args:
        limits: What one request may cost.
        given: CGI variables that every request has besides those that its head says; never ``HTTP_*``.

    Attributes:
        dropped_names: Of fields that were dropped for an underscore in them, since the caller has set it to None.
    """

    __slots__ = (
        "_authority",
        "_blank_seen",
        "_body_left",
        "_body_size",
        "_buffer",
        "_checked",
        "_checked_lines",
        "_checked_part",
        "_error",
        "_given",
        "_head_limit",
        "_keep_alive",
        "_known",
        "_known_fields",
        "_limits",
        "_line",
        "_line_limit",
        "_line_size",
        "_pos",
        "_scanned",
        "_stage",
        "_target_limit",
        "dropped_names",
    )

    def __init__(self, limits: Limits, given: dict[str, str] | None = None) -> None:
        self._limits = limits
        self._given = given or {}
        # As numbers of their own, which every request is measured by.
        self._head_limit = limits.head_size
        self._target_limit = limits.target_size
        self._line_limit = min(limits.target_size + _LINE_ROOM, limits.head_size)
        self._buffer: bytes | bytearray = b""
        self._pos = 0  # bytes of the buffer already used
        self._scanned = 0  # no end of the present line or section starts before this index
        self._stage = _LINE
        self._blank_seen = False  # the one empty line before a request line was skipped
        self._line: tuple[str, ...] = ()  # what the request line says, while the fields are awaited
        self._line_size = 0  # its bytes
        self._authority = ""  # of a request target in absolute form
        self._known_fields: bytes | bytearray = b""  # as sent with the last request of the simplest kind
        self._known: dict[str, str] = {}  # and that request's variables
        self._keep_alive = True
        self._body_left = 0  # bytes of the body or chunk still to come
        self._body_size = 0  # bytes of all chunks so far
        self._error: RequestError | None = None
        # How far an unfinished head or trailer section has been looked at, counted from _pos; 0 for not at all.
        self._checked = 0
        self._checked_lines = 0
        self._checked_part = _AT_START
        self.dropped_names: list[bytes] | None = None

    @classmethod
    def of_body(cls, limits: Limits, head: Head) -> RequestParser:
        """Return a parser for the body behind a head that came in another protocol, and for nothing after it."""
        parser = cls(limits)
        parser._keep_alive = False
        parser._body_left = head.content_length or 0
        parser._stage = _CHUNK_SIZE if head.chunked else _COUNTED if parser._body_left else _LAST
        return parser

    def receive(self, data: bytes) -> None:
        """Add bytes from the peer; they are kept, not copied, when nothing else is held.

        Args:
            data: Never empty. The end of the stream is not told to this class: ``has_partial``
                and the stage the caller is in say what it means.

        Raises:
            InvalidState: ``data`` is empty.
            RequestError: This parser has failed before.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        if not data:
            raise InvalidState("the end of the stream is not for the request parser")
        buffer, pos = self._buffer, self._pos
        if pos == len(buffer):
            self._buffer = data
            self._pos = self._scanned = 0
            return
        # A bytearray grows and loses its front without copying what it keeps, so that a head that
        # comes byte by byte costs linear time.
        if isinstance(buffer, bytearray):
            del buffer[:pos]
        else:
            self._buffer = buffer = bytearray(memoryview(buffer)[pos:])
        self._scanned = max(self._scanned - pos, 0)
        self._pos = 0
        buffer += data

    def next_head(self) -> Head | None:
        """Return the head of the next request, or None: more bytes are needed.

        None for ever after a request with ``keep_alive`` False and after ``take_rest``; bytes
        received then are dropped.

        Raises:
            InvalidState: The former request's body was not read to its end.
            RequestError: It cannot be served. 400 malformed, 413 body too big, 414 request line
                too long, 417 unknown expectation, 431 head too big, 501 unknown method or
                transfer coding, 505 another HTTP version. The connection must be closed.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        try:
            if self._stage == _LINE and not self._read_line():
                return None
            if self._stage == _FIELDS:
                return self._read_fields()
        except RequestError as error:
            raise self._fail(error)
        if self._stage == _LAST:
            self._drop()
            return None
        raise InvalidState("the former request's body was not read to its end")

    def next_body(self) -> bytes | None:
        """Return the next piece of the current body, b"" at its end, None: more bytes are needed.

        A request without a body is at its end at once; asking again at the end is allowed.

        Raises:
            RequestError: 400 malformed chunk or trailer, 413 more than ``Limits.body_size``,
                431 trailers too big. The connection must be closed.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._stage == _COUNTED:
            piece = self._take_data()
            if piece is not None and not self._body_left:
                self._end_message(self._pos)
            return piece
        if self._stage < _COUNTED:
            return b""
        try:
            return self._read_chunked()
        except RequestError as error:
            raise self._fail(error)

    @property
    def has_partial(self) -> bool:
        """Whether some bytes of an unfinished head are held: a timeout then is a 408.

        False inside a body and after an error.
        """
        return self._stage == _FIELDS or (self._stage == _LINE and self._pos < len(self._buffer))

    def take_rest(self) -> bytes:
        """Return every byte not parsed yet and be done with HTTP.

        After a 101 they belong to the WebSocket. The parser is empty then and gives no more heads.

        Raises:
            RequestError: This parser has failed before.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        rest = bytes(self._buffer[self._pos :])
        self._drop()
        self._stage = _LAST
        return rest

    # -- the buffer ------------------------------------------------------------------------------

    def _drop(self) -> None:
        self._buffer = b""
        self._pos = self._scanned = 0

    def _fail(self, error: RequestError) -> RequestError:
        """Keep the error and nothing of the peer's: no buffer, no traceback with frames that hold it."""
        self._error = error.with_traceback(None)
        self._drop()
        self._line = ()
        self._stage = _LAST
        return error

    def _advance(self, pos: int, stage: int) -> None:
        self._pos = self._scanned = pos
        self._stage = stage
        self._checked = self._checked_lines = 0
        self._checked_part = _AT_START

    def _find(self, mark: bytes) -> int:
        """Return the index after ``mark``, or -1; looks at no byte twice."""
        at = self._buffer.find(mark, self._scanned)
        if at >= 0:
            return at + len(mark)
        self._scanned = max(self._scanned, len(self._buffer) - len(mark) + 1)
        return -1

    def _take_data(self) -> bytes | None:
        """Return what is there of ``_body_left``, or None."""
        buffer, pos = self._buffer, self._pos
        end = min(len(buffer), pos + self._body_left)
        if end == pos:
            return None
        self._body_left -= end - pos
        self._pos = self._scanned = end
        return bytes(buffer[pos:end])  # the same object if it is all of a bytes buffer

    # -- the head --------------------------------------------------------------------------------

    def _read_line(self) -> bool:
        """Read the request line; False if more bytes are needed."""
        pos = self._pos
        end = self._find(b"\n")
        words = [] if end < 0 else self._buffer[pos:end].decode("latin-1").split(" ")
        if len(words) != 3:
            return self._no_line(end)
        name, target, ending = words
        method, version = METHODS.get(name), _VERSIONS.get(ending)
        if version is None or not is_target(target) or (method is None and not TOKEN.fullmatch(name)):
            return self._no_line(end)
        if end - pos > self._line_limit:
            raise _too_long(self._buffer[pos : pos + _LINE_ROOM])
        if method is None:
            method = method_of(name) or name
        if len(target) > self._target_limit:
            raise RequestError(414, "the request target is too long")
        path, query = target, ""
        self._authority = ""
        if target[0] != "/" or "?" in target or "%" in target:
            self._authority, path, query = split_target(method, target)
        self._line = (method, target, path, query, version)
        # The line end is the first half of CRLFCRLF when no field follows.
        self._pos, self._scanned, self._stage = pos, end - 2, _FIELDS
        self._line_size = end - pos
        return True

    def _no_line(self, end: int) -> bool:
        """Say why there is no request line up to ``end`` (-1: not ended); False if it may still come."""
        buffer, pos = self._buffer, self._pos
        size = len(buffer) - pos
        if buffer[pos : pos + 1] == b"\r" and not self._blank_seen:
            # RFC 9112 2.2: "SHOULD ignore at least one empty line (CRLF) received prior to the
            # request-line". One is what we ignore: the end of an old client's POST.
            if size == 1:
                return False
            if buffer[pos + 1] == 0x0A:
                self._blank_seen = True
                self._advance(pos + 2, _LINE)
                return self._read_line()
        if not size:
            return False
        # A TLS hello, a WebSocket frame, an HTTP/0.9 guess: no need to wait for a line end.
        if not TOKEN.match(chr(buffer[pos])):
            raise RequestError(400, "the first byte is not that of an HTTP request")
        limit = self._line_limit
        length = end - pos if end >= 0 else size
        # Its own line end is none of them; the CR may be the last byte so far.
        ending = buffer[max(pos, pos + length - 2) : pos + length]
        text_end = pos + length - (2 if ending == b"\r\n" else 1 if end < 0 and ending[-1:] == b"\r" else 0)
        checked = pos + self._checked
        text_end = min(text_end, pos + limit)
        if _CONTROL.search(buffer, checked, text_end):
            raise RequestError(400, "the request line is malformed")
        self._checked = max(text_end, checked) - pos
        if length > limit:
            raise _too_long(buffer[pos : pos + _LINE_ROOM])
        if end < 0:
            return False
        words = buffer[pos:end].decode("latin-1").split(" ")
        if len(words) == 3 and words[2].endswith("\r\n"):
            version = words[2][:-2]
            if TOKEN.fullmatch(words[0]) and _VERSION.fullmatch(version) and not version.startswith("HTTP/1."):
                raise RequestError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        raise RequestError(400, "the request line is malformed")

    def _read_fields(self) -> Head | None:
        """Read the header fields; None if more bytes are needed."""
        buffer, pos = self._buffer, self._pos
        begin = pos + self._line_size
        target, version = self._line[1], self._line[4]
        # Another form of target is llhttp's to judge, and in HTTP/1.0 the same fields mean something else.
        is_usual = target[0] == "/" and version == "HTTP/1.1"
        known = self._known_fields
        is_known = bool(is_usual and known and buffer.startswith(known, begin))
        end = begin + len(known) if is_known else self._find(b"\r\n\r\n")
        if (end if end >= 0 else len(buffer)) - pos > self._head_limit:
            self._check_fields(begin, pos + self._head_limit, self._limits.header_count)
            raise RequestError(431, "the request head is too big")
        if end < 0:
            self._check_fields(begin, len(buffer), self._limits.header_count)
            return None
        variables = self._known.copy() if is_known else self._given.copy()
        variables["REQUEST_METHOD"] = self._line[0]
        variables["REQUEST_URI"] = target
        variables["PATH_INFO"] = self._line[2]
        variables["QUERY_STRING"] = self._line[3]
        variables["SERVER_PROTOCOL"] = version
        self._line = ()
        if is_known:
            self._end_message(end)
            return Head(variables, end - pos, True, False, None, None, False)
        fields = buffer[begin:end]
        if fields.count(b"\r\n") > self._limits.header_count + 1:
            self._check_fields(begin, end, self._limits.header_count)
            raise AssertionError("it has counted them, too")
        listener = Fields(variables, self._limits.underscores)
        error = _parse(_LLHTTP_LINES[version] + fields, listener)
        if error is not None:
            self._check_fields(begin, end, self._limits.header_count)  # what it finds comes first, as in pieces
            raise error
        if listener.dropped is not None:
            self.dropped_names = listener.dropped
        head = _head(variables, self._authority, end - pos)
        length = head.content_length
        if length is not None:
            self._limits.check_body(length)
        self._keep_alive = head.keep_alive
        if head.chunked:
            self._body_size = 0
            self._advance(end, _CHUNK_SIZE)
        elif length:
            self._body_left = length
            self._advance(end, _COUNTED)
        else:
            self._end_message(end)
            if is_usual and length is None and head.upgrade is None and len(fields) <= _KNOWN_SIZE:
                self._known_fields = fields
                self._known = variables.copy()
        return head

    def _check_fields(self, begin: int, end: int, most: int) -> None:
        """Look at the fields of a section that is not in yet, each byte once: what is wrong is wrong already.

        Args:
            begin: Where they begin in the buffer.
            end: How far to look.
            most: Lines that there may be.

        Raises:
            RequestError: 400, no further byte can make fields of it; 431, there are too many.
        """
        buffer, pos = self._buffer, self._pos
        at = max(begin, pos + self._checked)
        part = self._checked_part
        while at < end:
            if part == _IN_VALUE:
                at = _end_of(FIELD_VALUE_BYTES, buffer, at, end)
            elif part == _IN_NAME:
                at = _end_of(_NAME, buffer, at, end)
            if at == end:
                break
            byte = buffer[at]
            if part == _AT_START and (byte == 0x0D or _end_of(_NAME, buffer, at, at + 1) > at):
                part = _BEHIND_CR if byte == 0x0D else _IN_NAME
            elif part == _IN_NAME and byte == 0x3A:
                part = _IN_VALUE
            elif part == _IN_VALUE and byte == 0x0D:
                part = _BEHIND_CR
            elif part == _BEHIND_CR and byte == 0x0A:
                part = _AT_START
                self._checked_lines += 1
                if self._checked_lines > most:
                    raise RequestError(431, "the request has too many header fields")
            else:
                raise RequestError(400, "a header field is malformed")
            at += 1
        self._checked = at - pos
        self._checked_part = part

    def _end_message(self, pos: int) -> None:
        self._blank_seen = False
        self._advance(pos, _LINE if self._keep_alive else _LAST)

    # -- chunks ----------------------------------------------------------------------------------

    def _read_chunked(self) -> bytes | None:
        """Return the next piece, b"" after the trailers, None if more bytes are needed."""
        while True:
            if self._stage == _CHUNK_DATA:
                piece = self._take_data()
                if piece is not None and not self._body_left:
                    self._stage = _CHUNK_END
                return piece
            if self._stage == _TRAILERS:
                return self._read_trailers()
            if self._stage == _CHUNK_END:
                pos = self._pos
                ending = self._buffer[pos : pos + 2]
                if ending != b"\r\n":
                    if b"\r\n".startswith(ending):
                        return None
                    raise RequestError(400, "a chunk does not end where its size says")
                self._advance(pos + 2, _CHUNK_SIZE)
            if not self._read_chunk_line():
                return None

    def _read_chunk_line(self) -> bool:
        """Read a chunk's size; False if more bytes are needed."""
        buffer, pos = self._buffer, self._pos
        end = self._find(b"\n")
        is_too_long = (end if end >= 0 else len(buffer)) - pos > _CHUNK_LINE_SIZE
        if end < 0 or is_too_long:
            if pos < len(buffer) and not _CHUNK_LINE_BEGINNING.fullmatch(buffer, pos, pos + _CHUNK_LINE_SIZE):
                raise RequestError(400, "a chunk's size line is malformed")
            if is_too_long:
                raise RequestError(400, "a chunk's size line is too long")
            return False
        match = _CHUNK_LINE.fullmatch(buffer[pos:end].decode("latin-1"))
        if not match:
            raise RequestError(400, "a chunk's size line is malformed")
        size = int(match[1], 16)
        self._body_size += size
        self._limits.check_body(self._body_size)
        self._body_left = size
        self._advance(end, _CHUNK_DATA if size else _TRAILERS)
        return True

    def _read_trailers(self) -> bytes | None:
        """Return b"" once the trailers, usually none, are in; None if more bytes are needed."""
        buffer, pos = self._buffer, self._pos
        if buffer[pos : pos + 2] == b"\r\n":
            self._end_message(pos + 2)
            return b""
        end = self._find(b"\r\n\r\n")
        limit = self._limits.trailer_size
        if (end if end >= 0 else len(buffer)) - pos > limit:
            self._check_fields(pos, pos + limit, limit)
            raise RequestError(431, "the trailers are too big")
        if end < 0:
            self._check_fields(pos, len(buffer), limit)
            return None
        error = _parse(_BEFORE_TRAILERS + buffer[pos:end], Fields({}))
        if error is not None:
            self._check_fields(pos, end, limit)
            raise error
        self._end_message(end)
        return b""


def _too_long(start: bytes | bytearray) -> RequestError:
    """Return the error for an endless request line: RFC 9112 3 asks for 501 if the method is too long."""
    method, space, _ = start.decode("latin-1").partition(" ")
    if not TOKEN.fullmatch(method):
        return RequestError(400, "the request line is malformed")
    if not space:
        return RequestError(501, "the request method is not implemented")
    return RequestError(414, "the request line is too long")


def _end_of(part: re.Pattern[bytes], buffer: bytes | bytearray, at: int, end: int) -> int:
    match = part.match(buffer, at, end)
    assert match is not None, "it may be empty"
    return match.end()


def _parse(data: bytes | bytearray, listener: Fields) -> Exception | None:
    """Give ``data``, which ends with its head or trailers, to llhttp, which calls ``listener``; return what is wrong.

    What is returned has no traceback, which would keep the peer's bytes alive.
    """
    try:
        HttpRequestParser(listener).feed_data(data)
        return None
    except HttpParserUpgrade:
        return None  # whatever the upgrade is: the head is complete, and nothing follows it in data
    except HttpParserCallbackError as exc:
        cause = exc.__context__
        assert cause is not None, "httptools sets the context of a callback's error"
    except HttpParserError as exc:
        # llhttp's reasons are its own constants, never the peer's text.
        cause = RequestError(400, f"the request is malformed: {exc}")
    cause.__context__ = None
    if not isinstance(cause, Exception):
        raise cause.with_traceback(None)
    return cause.with_traceback(None)


def _head(variables: dict[str, str], authority: str, size: int) -> Head:
    """Check what llhttp lets pass and put the head together.

    Source: RFC 9112 3.2 (Host), 6 (framing), 9.3 (persistence); RFC 9110 7.8 (Upgrade), 10.1.1 (Expect).
    """
    get = variables.get
    modern = variables["SERVER_PROTOCOL"] == "HTTP/1.1"
    host = get("HTTP_HOST")
    if host is None:
        if modern:
            raise RequestError(400, "the Host header field is missing")
    elif not HOST.fullmatch(host):
        raise RequestError(400, "the Host header field is invalid")
    if authority:
        # RFC 9112 3.2.2: "MUST ignore the received Host header field (if any) and instead replace
        # it with the host information of the request-target".
        variables["HTTP_HOST"] = authority

    length: int | None = None
    declared = get("CONTENT_LENGTH")
    if declared is not None:
        if not LENGTH.fullmatch(declared):
            raise RequestError(400, "the Content-Length has too many digits")
        length = int(declared)
    codings = get("HTTP_TRANSFER_ENCODING")
    if codings is not None:
        _check_codings(codings, modern)

    keep_alive = modern
    connection = get("HTTP_CONNECTION")
    if connection is not None:
        options = _items(connection)
        keep_alive = "close" not in options and (modern or "keep-alive" in options)

    expects_continue = False
    if modern:  # RFC 9110 10.1.1: "MUST ignore" it in an HTTP/1.0 request
        expectation = get("HTTP_EXPECT")
        if expectation is not None:
            expects_continue = expects_100(expectation) and (bool(length) or codings is not None)

    upgrade: str | None = None
    if modern:  # RFC 9110 7.8: "MUST ignore" it in an HTTP/1.0 request
        protocols = get("HTTP_UPGRADE")
        if protocols is not None and "websocket" in _items(protocols):
            upgrade = "websocket"
            # To switch protocols before such a body's end would be to read it as frames, and a
            # proxy in front might disagree about where they start.
            if length or codings is not None:
                raise RequestError(400, "a WebSocket handshake has no body")
    return Head(variables, size, keep_alive, expects_continue, upgrade, length, codings is not None)


def expects_100(expectation: str) -> bool:
    """Return whether an Expect field asks for ``100 Continue``; one without a member asks for nothing.

    Raises:
        RequestError: 417, it asks for anything else.
    """
    members = {member for member in _items(expectation) if member}
    if members - {"100-continue"}:
        raise RequestError(417, "the expectation cannot be met")
    return bool(members)


def _check_codings(codings: str, modern: bool) -> None:
    """Accept ``chunked`` and nothing else (RFC 9112 6.1, 6.3)."""
    if not modern:
        raise RequestError(400, "HTTP/1.0 has no Transfer-Encoding")
    if codings.lower() == "chunked":
        return
    *others, last = _items(codings)
    if last == "chunked" and "chunked" not in others and all(map(TOKEN.fullmatch, others)):
        raise RequestError(501, "the transfer coding is not implemented")
    raise RequestError(400, "the Transfer-Encoding is invalid")


def _items(value: str) -> list[str]:
    """Return a list field's items in lower case (latin-1 has no letter that becomes an ASCII one)."""
    return [item.strip(" \t") for item in value.lower().split(",")]
