"""The uwsgi protocol: bytes in, a request's head or a RequestError out; and packets to forward requests.

A packet opens a connection and is all the framing there is::

    offset 0  modifier1   1 byte                  what kind of request it is
           1  datasize    2 bytes, little endian  bytes of the variables
           3  modifier2   1 byte                  what it means depends on modifier1
           4  variables   name, value, name, value, ..., each with its length in 2 bytes before it
           4 + datasize   the request's body, or what a WebSocket's client sent early

Answers are HTTP's bytes; after a 101 the connection carries WebSocket frames both ways.

There is no authentication in it: a client that may connect can say what it likes, about REMOTE_ADDR or HTTPS too. A
front server is trusted with that, and with its own mistakes: of two values for a variable the last counts, as in
uWSGI. It is not trusted to agree with us about where a request ends, so what frames a request is checked here as
strictly as in ``http1``.

Source: uWSGI's docs/Protocol.rst, proto/uwsgi.c and core/protocol.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from uwsgi_ws.errors import RequestError
from uwsgi_ws.protocol.http.grammar import LENGTH, SPLITTERS, TOKEN
from uwsgi_ws.protocol.http.http1 import Head, Limits
from uwsgi_ws.protocol.websocket.handshake import is_websocket

__all__ = ["PacketParser", "encode_packet"]

_HEADER_SIZE: Final = 4
_LARGEST_PACKET: Final = 65_535  #: bytes of variables; datasize can say no more
#: WSGI and PSGI requests, to which uWSGI's Python and Perl plugins listen; they do not look at modifier2. Among the
#: others are "run this code" (22), "manage yourself" (10) and "call this symbol" (18).
_REQUESTS: Final = (0, 5, 30)
#: A WSGI request whose PATH_INFO still has SCRIPT_NAME in it, as nginx files before ``manage-script-name`` have it.
#: (uWSGI 2.0 accepts it, and under Python 3 forgets to act on it.)
_MANAGE_PATH_INFO: Final = 30
_HTTP: Final = re.compile(rb"[A-Z]{2,}[A-Z ]")

#: Printable ASCII. uWSGI takes any bytes; nobody means them.
_NAME: Final = re.compile(rb"[!-~]+")
#: Fields of which a request has one. Other fields' lines make a list (RFC 9110 5.3): nginx joins them since 1.23.
_SINGLE: Final = frozenset(("HTTP_HOST", "HTTP_CONTENT_TYPE"))
#: Two that differ could make two servers see two requests.
_FRAMING: Final = frozenset(("CONTENT_LENGTH", "HTTP_CONTENT_LENGTH"))


class _Names(dict[bytes, str]):
    """Names as sent to names as text, one object each for all environs; starts over when full."""

    CAPACITY: Final = 1_024
    LONGEST: Final = 64  # bytes; longer names are not worth keeping

    def __missing__(self, name: bytes) -> str:
        """Check and keep a name not seen so far."""
        if not _NAME.fullmatch(name):
            raise RequestError(400, "the uwsgi packet has a variable without a proper name")
        text = name.decode("ascii")
        if len(name) <= self.LONGEST:
            if len(self) >= self.CAPACITY:
                self.clear()
            self[name] = text
        return text


_names = _Names()


class PacketParser:
    """The packet that opens a connection.

    Args:
        limits: Of the request; its ``body_size`` is all that counts here, datasize bounds the rest.

    Attributes:
        contradicted: Names of variables that came with several values, of which the last counts.
        modifier1: What kind of request it is.
    """

    __slots__ = ("_buffer", "_limits", "contradicted", "modifier1")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self.contradicted: tuple[str, ...] = ()
        self.modifier1 = 0

    def receive(self, data: bytes) -> None:
        """Add bytes from the peer."""
        self._buffer += data

    @property
    def has_partial(self) -> bool:
        """Whether part of a packet is held: a timeout then is a 408."""
        return bool(self._buffer)

    def next_head(self) -> Head | None:
        """Return the request's head, or None: more bytes are needed.

        Raises:
            RequestError: It cannot be served: 400 malformed, 413 body too big, 501 a modifier or transfer coding that
                is not spoken here. The connection must be closed.
        """
        buffer = self._buffer
        if len(buffer) < _HEADER_SIZE:
            return None
        modifier1, datasize, modifier2 = buffer[0], buffer[1] | buffer[2] << 8, buffer[3]
        if modifier1 not in _REQUESTS:
            if _HTTP.match(buffer):
                raise RequestError(400, "this is HTTP, and uwsgi is spoken here")
            # uWSGI's words, and the number that it leaves out.
            raise RequestError(501, f"unavailable modifier requested: {modifier1} (modifier2 {modifier2})")
        end = _HEADER_SIZE + datasize
        if len(buffer) < end:
            return None
        packet = bytes(buffer[:end])
        del buffer[:end]
        self.modifier1 = modifier1
        variables, self.contradicted = _variables(packet)
        if modifier1 == _MANAGE_PATH_INFO:
            _take_script_name_off(variables)
        return self._head(variables, end)

    def take_rest(self) -> bytes:
        """Return the bytes behind the packet, and forget them."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _head(self, variables: dict[str, str], size: int) -> Head:
        """Check what the server relies on, and fill in what a front server may leave out."""
        method = variables.get("REQUEST_METHOD")
        if not method:
            raise RequestError(400, "the uwsgi packet has no REQUEST_METHOD")
        if not TOKEN.fullmatch(method):
            raise RequestError(400, "the REQUEST_METHOD is malformed")
        path = variables.setdefault("PATH_INFO", "")
        query = variables.setdefault("QUERY_STRING", "")
        variables.setdefault("REQUEST_URI", f"{path}?{query}" if query else path)
        variables.setdefault("SERVER_PROTOCOL", "HTTP/1.0")  # uWSGI's choice
        variables.setdefault("SCRIPT_NAME", "")

        length: int | None = None
        chunked = False
        # The client's own field, beside what the front makes of it.
        if told := variables.get("HTTP_CONTENT_LENGTH"):
            if not LENGTH.fullmatch(told):
                raise RequestError(400, "the HTTP_CONTENT_LENGTH is not a length")
            if (declared := variables.get("CONTENT_LENGTH")) and declared != told:
                raise RequestError(400, "CONTENT_LENGTH and HTTP_CONTENT_LENGTH differ")
        # nginx always gives a length, an empty one when there is no body.
        if declared := variables.get("CONTENT_LENGTH"):
            if not LENGTH.fullmatch(declared):
                raise RequestError(400, "the CONTENT_LENGTH is not a length")
            length = int(declared)
            self._limits.check_body(length)
        elif (codings := variables.get("HTTP_TRANSFER_ENCODING")) is not None:
            # Only from uWSGI's router in raw mode. A length, above, means that the front has taken the chunks off.
            if codings.lower() != "chunked":
                raise RequestError(501, "the transfer coding is not implemented")
            chunked = True
        upgrade = None
        if is_websocket(variables):
            upgrade = "websocket"
            if length or chunked:
                raise RequestError(400, "a WebSocket handshake has no body")
        return Head(
            variables,
            size,
            keep_alive=False,
            expects_continue=False,
            upgrade=upgrade,
            content_length=length,
            chunked=chunked,
        )


def _take_script_name_off(variables: dict[str, str]) -> None:
    """Have PATH_INFO begin behind SCRIPT_NAME, if it begins with it; whole segments only."""
    script_name = variables.get("SCRIPT_NAME", "").rstrip("/")
    path = variables.get("PATH_INFO", "")
    if script_name and (path == script_name or path.startswith(script_name + "/")):
        variables["SCRIPT_NAME"] = script_name
        variables["PATH_INFO"] = path[len(script_name) :]


def _variables(data: bytes) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the variables of a packet, whose lengths must fit exactly, and which of them had several values."""
    variables: dict[str, str] = {}
    contradicted: dict[str, None] = {}
    at, end = _HEADER_SIZE, len(data)
    while at < end:
        value_at = at + 2 + int.from_bytes(data[at : at + 2], "little")
        next_at = value_at + 2 + int.from_bytes(data[value_at : value_at + 2], "little")
        if value_at + 2 > end or next_at > end:
            raise RequestError(400, "the lengths in the uwsgi packet do not fit")
        name = _names[data[at + 2 : value_at]]
        value = data[value_at + 2 : next_at].decode("latin-1")
        is_field = name.startswith("HTTP_")
        if is_field and SPLITTERS.search(value):
            raise RequestError(400, "a header field in the uwsgi packet has a control character")
        if name in variables:
            value = _repeated(name, variables[name], value, is_list=is_field and name not in _SINGLE)
            if value != variables[name]:
                contradicted[name] = None
        variables[name] = value
        at = next_at
    return variables, tuple(name for name in contradicted if not name.startswith("HTTP_") or name in _SINGLE)


def _repeated(name: str, first: str, second: str, *, is_list: bool) -> str:
    """Return the value of a variable that a packet has twice, such as by a second `include uwsgi_params` in nginx."""
    if name == "HTTP_TRANSFER_ENCODING":
        return f"{first}, {second}"  # twice chunked is no coding of ours
    if first == second:
        return first
    if name in _FRAMING:
        if first and second:
            raise RequestError(400, f"the uwsgi packet has two {name} that differ")
        return second
    if is_list:
        return f"{first}{'; ' if name == 'HTTP_COOKIE' else ', '}{second}"
    return second


def encode_packet(variables: Iterable[tuple[str, str]], modifier1: int = 0, modifier2: int = 0) -> bytes:
    """Return the packet for a request; its body, or early frames, follow it on the connection.

    Args:
        variables: Names and latin-1 values, in the order to send.
        modifier1: What kind of request it is, 0 to 255.
        modifier2: 0 to 255.

    Raises:
        ValueError: The variables are more than a packet can hold.
    """
    block = bytearray()
    for pair in variables:
        for text in pair:
            data = text.encode("latin-1")
            if len(data) > _LARGEST_PACKET:
                raise ValueError(f"a variable of {len(data)} bytes is too long for a uwsgi packet")
            block += len(data).to_bytes(2, "little")
            block += data
    if len(block) > _LARGEST_PACKET:
        raise ValueError(f"variables of {len(block)} bytes are too long for a uwsgi packet")
    return b"%c%b%c%b" % (modifier1, len(block).to_bytes(2, "little"), modifier2, bytes(block))
