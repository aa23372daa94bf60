"""Permessage-deflate (RFC 7692): what client and server agree on, and messages compressed and inflated by it.

Without context takeover, the default in both directions, messages do not refer to earlier ones. Then a connection keeps
nothing: all of a worker's connections use one compressor for each window (`Compressors`), and a message that goes to
many is compressed once. With it a connection keeps what later messages may refer to, its window both ways, and no more:
of a compressor that is made anew for each message from that, zlib makes the same bytes as of one that is kept. That
takes some 5 us more, and 8 KiB a connection rather than 45.

What is inflated is bounded while it grows: no more is asked of zlib than the message may still have.

Secrets and text that an attacker may choose must not be compressed together: the length would tell whether they are
alike (CRIME). A message may be sent without compression for that reason.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from uwsgi_ws.errors import InvalidDeflate, MessageTooBig

__all__ = ["NAME", "Agreement", "Compressors", "Deflate", "DeflateSettings", "Inflater", "negotiate"]

NAME = "permessage-deflate"

#: 7.2.1: what a message's end lacks, as it is always the same.
_TAIL = b"\x00\x00\xff\xff"
#: What compressing a text of one byte gives, and nothing else: an empty message (7.2.3.6).
_EMPTY = b"\x00"

#: RFC 7230's token, or a quoted string that holds one (RFC 6455 9.1).
_PARAMETER = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*(?:"([^"\\]*)"|([^\s;,"]+))\s*)?')
_BITS = re.compile("[89]|1[0-5]")
#: zlib has no raw stream with a smaller window.
_SMALLEST = 9


class DeflateSettings(NamedTuple):
    """What a server compresses with.

    Attributes:
        window_bits: Of its own messages: 9 to 15, for windows of 512 bytes to 32 KiB.
        memory_level: zlib's, 1 to 9.
        level: zlib's, 1 to 9.
        min_size: Bytes from which a message is compressed.
        has_takeover: Whether messages may refer to earlier ones of their connection, both ways.
    """

    window_bits: int = 15
    memory_level: int = 8
    level: int = 6
    min_size: int = 128
    has_takeover: bool = False


@dataclass(frozen=True, slots=True)
class Agreement:
    """The parameters that a connection has agreed on (7.1).

    Attributes:
        server_bits: The window of the server's messages.
        client_bits: The window of the client's messages.
        server_takeover: Whether the server's messages may refer to earlier ones.
        client_takeover: Whether the client's messages may.
        header: The value of the response's Sec-WebSocket-Extensions.
    """

    server_bits: int
    client_bits: int
    server_takeover: bool
    client_takeover: bool
    header: str


def negotiate(variables: Mapping[str, str], settings: DeflateSettings) -> Agreement | None:
    """Return what a server agrees to of a client's offers: the first one that it can; None for no extension.

    An offer with a parameter that is unknown, given twice or out of bounds is declined, not refused (7.1).

    Args:
        variables: The request's.
        settings: The server's.
    """
    value = variables.get("HTTP_SEC_WEBSOCKET_EXTENSIONS")
    if value is None or NAME not in value.lower():
        return None
    for name, parameters in _offers(value):
        agreement = _agree(parameters, settings) if name.lower() == NAME and parameters is not None else None
        if agreement is not None:
            return agreement
    return None


def _offers(value: str) -> Iterator[tuple[str, dict[str, str | None] | None]]:
    """Yield the extensions that a header names, each with its parameters; None where these are malformed."""
    position = 0
    while position < len(value):
        name = ""
        parameters: dict[str, str | None] | None = {}
        while True:
            found = _PARAMETER.match(value, position)
            if found is None:
                return
            position = found.end()
            if not name:
                name = found[1]
            elif parameters is not None:
                key = found[1].lower()
                has_value = found[2] is not None or found[3] is not None
                argument = (found[2] or found[3] or "") if has_value else None
                if key in parameters:
                    parameters = None
                else:
                    parameters[key] = argument
            if value[position : position + 1] != ";":
                break
            position += 1
        if value[position : position + 1] not in (",", ""):
            return
        yield name, parameters
        position += 1


def _agree(parameters: dict[str, str | None], settings: DeflateSettings) -> Agreement | None:
    server_bits, client_bits = settings.window_bits, 15
    server_takeover = client_takeover = settings.has_takeover
    answer = [NAME]
    for key, value in parameters.items():
        if key in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return None
        elif key == "server_max_window_bits":
            if value is None or not _BITS.fullmatch(value) or int(value) < _SMALLEST:
                return None
            server_bits = min(server_bits, int(value))
        elif key == "client_max_window_bits":
            if value is not None and not _BITS.fullmatch(value):
                return None
            most = settings.window_bits if settings.has_takeover else 15
            client_bits = min(15 if value is None else int(value), most)
        else:
            return None
    if "server_no_context_takeover" in parameters:
        server_takeover = False
    if "client_no_context_takeover" in parameters:
        client_takeover = False
    if not server_takeover:
        answer.append("server_no_context_takeover")
    if not client_takeover:
        answer.append("client_no_context_takeover")
    if server_bits < 15:
        answer.append(f"server_max_window_bits={server_bits}")
    if "client_max_window_bits" in parameters and client_bits < 15:
        answer.append(f"client_max_window_bits={client_bits}")
    return Agreement(server_bits, client_bits, server_takeover, client_takeover, "; ".join(answer))


class Compressors:
    """Compresses messages that refer to no earlier one; a worker's, with one of zlib's compressors for each window.

    A full flush behind each message makes the next one independent, so nothing is made anew for each.

    Args:
        settings: The server's.
        lock: Held while a message is compressed, where several threads do so.
    """

    def __init__(self, settings: DeflateSettings, lock: AbstractContextManager[object] | None = None) -> None:
        self.settings = settings
        self._lock = lock or nullcontext()
        self._by_bits: dict[int, Any] = {}
        self._shared: dict[Agreement, Deflate] = {}

    def deflate(self, agreement: Agreement) -> Deflate:
        """Return a connection's end of the extension: where no message refers to earlier ones, all have the same."""
        if agreement.server_takeover or agreement.client_takeover:
            return Deflate(agreement, self)
        deflate = self._shared.get(agreement)
        if deflate is None:
            deflate = self._shared[agreement] = Deflate(agreement, self)
        return deflate

    def compress(self, payload: bytes, bits: int) -> bytes:
        """Return a message's payload for peers with a window of so many bits."""
        with self._lock:
            compressor = self._by_bits.get(bits)
            if compressor is None:
                compressor = self._by_bits[bits] = new_compressor(self.settings, bits)
            return _ended(compressor.compress(payload) + compressor.flush(zlib.Z_FULL_FLUSH))


def new_compressor(settings: DeflateSettings, bits: int, window: bytes = b"") -> Any:
    """Return one of zlib's compressors, whose messages may refer to what is in the window."""
    more = (zlib.Z_DEFAULT_STRATEGY, window) if window else ()
    return zlib.compressobj(settings.level, zlib.DEFLATED, -bits, settings.memory_level, *more)


def _moved(window: bytes, data: bytes, bits: int) -> bytes:
    """Return a window of so many bits after further data."""
    size = 1 << bits
    return data[-size:] if len(data) >= size else (window + data)[-size:]


def _ended(data: bytes) -> bytes:
    """Return what zlib has made of a message, without the end that the peer knows."""
    return data.removesuffix(_TAIL) or _EMPTY


class Deflate:
    """A connection's end of the extension.

    Args:
        agreement: What has been agreed on.
        compressors: The worker's.
    """

    __slots__ = ("_agreement", "_compressors", "_received", "_sent", "bits", "min_size")

    def __init__(self, agreement: Agreement, compressors: Compressors) -> None:
        self._agreement = agreement
        self._compressors = compressors
        # What messages may refer to: the end of those that went compressed, and of those that came so.
        self._sent = self._received = b""
        self.bits = agreement.server_bits
        self.min_size = compressors.settings.min_size

    @property
    def has_takeover(self) -> bool:
        """Whether our messages may refer to earlier ones."""
        return self._agreement.server_takeover

    def compress(self, payload: bytes) -> bytes | None:
        """Return the payload of a message to this peer alone, which must go out before those made later.

        None where it would not be shorter.
        """
        if not self._agreement.server_takeover:
            return self.compress_alone(payload)
        if len(payload) < self.min_size:
            return None
        compressor = new_compressor(self._compressors.settings, self.bits, self._sent)
        compressed = _ended(compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))
        if len(compressed) >= len(payload):
            return None
        self._sent = _moved(self._sent, payload, self.bits)
        return compressed

    def compress_alone(self, payload: bytes) -> bytes | None:
        """Return the payload of a message that others with this window may get as well; None as ``compress``."""
        if len(payload) < self.min_size:
            return None
        compressed = self._compressors.compress(payload, self.bits)
        return compressed if len(compressed) < len(payload) else None

    def forget_sent(self) -> None:
        """Have the next message refer to no earlier one: the peer's window has moved on."""
        self._sent = b""

    def note_received(self, data: bytes) -> None:
        """Have the peer's next messages refer to data that came compressed."""
        self._received = _moved(self._received, data, self._window)

    def inflater(self, limit: int) -> Inflater:
        """Return what inflates the next message.

        Args:
            limit: Bytes that it may have.
        """
        if not self._agreement.client_takeover:
            return Inflater(zlib.decompressobj(-self._window), limit)
        return Inflater(zlib.decompressobj(-self._window, self._received), limit, self)

    @property
    def _window(self) -> int:
        return max(self._agreement.client_bits, _SMALLEST)


class Inflater:
    """Inflates one message, piece by piece as it comes.

    Args:
        decompressor: zlib's.
        limit: Bytes that the message may have.
        deflate: Is told of the message, where later ones may refer to it.
    """

    __slots__ = ("_decompressor", "_deflate", "_left", "_limit")

    def __init__(self, decompressor: Any, limit: int, deflate: Deflate | None = None) -> None:
        self._decompressor = decompressor
        self._deflate = deflate
        self._limit = limit
        self._left = limit

    def inflate(self, piece: bytes) -> bytes:
        """Return what a piece stands for.

        Raises:
            InvalidDeflate: it cannot be inflated.
            MessageTooBig: the message is longer than its limit.
        """
        parts = []
        while piece:
            if self._decompressor.eof:  # 7.2.3.4: a block that calls itself the last one
                self._decompressor = zlib.decompressobj(-15)
            try:
                part = self._decompressor.decompress(piece, self._left + 1)
            except zlib.error as exc:
                problem = str(exc)
                break
            if len(part) > self._left:
                raise MessageTooBig(self._limit + 1, self._limit)
            self._left -= len(part)
            parts.append(part)
            piece = self._decompressor.unused_data if self._decompressor.eof else b""
        else:
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            if self._deflate is not None:
                self._deflate.note_received(data)
            return data
        # Outside of the `except`: a connection remembers what failed it, but not the payload.
        raise InvalidDeflate(f"a compressed message cannot be inflated: {problem}")

    def finish(self) -> bytes:
        """Return the rest of the message, all of which has come; raises as ``inflate``."""
        return self.inflate(_TAIL)
