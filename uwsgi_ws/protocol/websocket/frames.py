"""Frames on the wire (RFC 6455 5.2): headers read and written, close payloads, the opcodes' names.

It refuses to know messages, state and masking of payloads.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from uwsgi_ws.errors import FrameError, InvalidText

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "NAMES",
    "NORMAL_ENDS",
    "PING",
    "PONG",
    "SHORT_HEADERS",
    "SHORT_MESSAGES",
    "TEXT",
    "CloseCode",
    "FrameHeader",
    "encode",
    "encode_close",
    "encode_compressed_header",
    "encode_header",
    "is_valid_close_code",
    "parse_close",
    "parse_header",
]

# Opcodes, RFC 6455 11.8.
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
#: The RFC's words for them.
NAMES = {
    CONTINUATION: "CONTINUATION",
    TEXT: "TEXT",
    BINARY: "BINARY",
    CLOSE: "CLOSE",
    PING: "PING",
    PONG: "PONG",
}

FIN = 0x80
RSV = 0x70
RSV1 = 0x40  #: Of a compressed message's first frame (RFC 7692 6).
MASKED = 0x80
_NO_KEY = bytes(4)
#: Longest payload of a control frame (RFC 6455 5.5).
MAX_CONTROL = 125
#: Payload bytes of a frame whose length takes two bytes.
MAX_MEDIUM = 65_535

#: The two bytes of every unmasked header with a 7-bit length, by opcode and length: no struct on the hot path.
SHORT_HEADERS = tuple([bytes((FIN | opcode, length)) for length in range(126)] for opcode in range(16))

#: What the first two bytes of a client's frame say if it is a whole message of up to 125 bytes: opcode and frame size.
#: One look-up in place of a dozen comparisons on the hot path; ``parse_header`` is the whole truth.
SHORT_MESSAGES = {
    bytes((FIN | opcode, MASKED | length)): (opcode, 6 + length) for opcode in (TEXT, BINARY) for length in range(126)
}


class CloseCode(IntEnum):
    """Why a connection ends (RFC 6455 7.4.1, and IANA's registry); 3000 to 4999 are for applications and libraries.

    Applications get plain integers: what is handed to them, and what goes into a log, is made one.
    """

    #: "A normal closure, meaning that the purpose for which the connection was established has been fulfilled."
    NORMAL_CLOSURE = 1000
    #: "An endpoint is 'going away', such as a server going down or a browser having navigated away from a page."
    GOING_AWAY = 1001
    #: "An endpoint is terminating the connection due to a protocol error."
    PROTOCOL_ERROR = 1002
    #: "It has received a type of data it cannot accept."
    UNSUPPORTED_DATA = 1003
    #: Never sent: "no status code was actually present" in the peer's close frame.
    NO_STATUS_RECEIVED = 1005
    #: Never sent: "the connection was closed abnormally, e.g., without sending or receiving a Close control frame".
    ABNORMAL_CLOSURE = 1006
    #: "It has received data within a message that was not consistent with the type of the message", such as a text that
    #: is not UTF-8.
    INVALID_DATA = 1007
    #: "It has received a message that violates its policy. This is a generic status code."
    POLICY_VIOLATION = 1008
    #: "It has received a message that is too big for it to process."
    MESSAGE_TOO_BIG = 1009
    #: The client's: "it has expected the server to negotiate one or more extension, but the server didn't".
    MANDATORY_EXTENSION = 1010
    #: The server's: "it encountered an unexpected condition that prevented it from fulfilling the request".
    INTERNAL_ERROR = 1011
    #: IANA: the server restarts; the client may come back, after a while of its own choice.
    SERVICE_RESTART = 1012
    #: IANA: the server is overloaded; the client should come back later, or go elsewhere.
    TRY_AGAIN_LATER = 1013
    #: IANA: a gateway got an invalid response from the server behind it.
    BAD_GATEWAY = 1014
    #: Never sent: "the connection was closed due to a failure to perform a TLS handshake".
    TLS_HANDSHAKE = 1015


#: Close codes by which a peer ends a conversation that went well.
NORMAL_ENDS = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RECEIVED)


class FrameHeader(NamedTuple):
    """What comes before a client's payload.

    ``size`` counts the header's own bytes, its masking key included; ``length`` the payload's, compressed or not.
    """

    fin: bool
    opcode: int
    length: int
    key: bytes
    size: int
    is_compressed: bool = False


def parse_header(
    data: bytes | bytearray, start: int, takes_unmasked: bool = False, takes_compressed: bool = False
) -> FrameHeader | None:
    """Read a client's frame header at ``data[start:]``; None when it is not all there yet.

    What can be judged from two bytes is judged from two bytes, so that a bad frame fails at once.

    Args:
        data: Bytes from the peer.
        start: Where the frame begins.
        takes_unmasked: Whether a client's frame may come unmasked; its key then is one that changes nothing.
        takes_compressed: Whether a message's first frame may have RSV1 set.

    Raises:
        FrameError: 1002 for each MUST of RFC 6455 5.1, 5.2 and 5.5 that the header breaks.
    """
    available = len(data) - start
    if available < 2:
        return None
    first, second = data[start], data[start + 1]
    opcode = first & 0x0F
    is_compressed = bool(first & RSV)
    if is_compressed and not (takes_compressed and first & RSV == RSV1 and opcode in (TEXT, BINARY)):
        if takes_compressed:
            raise FrameError("reserved bits set where the extension has no use for them")
        raise FrameError("reserved bits set, and no extension was negotiated")
    if opcode not in NAMES:
        raise FrameError(f"reserved opcode {opcode:#x}")
    is_masked = second & MASKED
    if not is_masked and not takes_unmasked:
        raise FrameError("unmasked frame from a client")
    length = second & 0x7F
    if opcode >= CLOSE:
        if not first & FIN:
            raise FrameError("fragmented control frame")
        if length > MAX_CONTROL:
            raise FrameError("control frame with more than 125 bytes")
    body = start + 2
    if length == 126:
        if available < 4:
            return None
        length = int.from_bytes(data[body : body + 2], "big")
        body += 2
        if length < 126:
            raise FrameError("length not in its shortest form")
    elif length == 127:
        if available < 10:
            return None
        length = int.from_bytes(data[body : body + 8], "big")
        body += 8
        if length >> 63:
            raise FrameError("length with its most significant bit set")
        if length < 65_536:
            raise FrameError("length not in its shortest form")
    if not is_masked:
        return FrameHeader(first >= FIN, opcode, length, _NO_KEY, body - start, is_compressed)
    key = bytes(data[body : body + 4])
    if len(key) < 4:
        return None
    return FrameHeader(first >= FIN, opcode, length, key, body + 4 - start, is_compressed)


def encode_header(opcode: int, length: int) -> bytes:
    """Return the header of one whole unmasked message of ``length`` bytes, in the shortest form."""
    if length < 126:
        return SHORT_HEADERS[opcode][length]
    if length < 65_536:
        return bytes((FIN | opcode, 126, length >> 8, length & 0xFF))
    return bytes((FIN | opcode, 127)) + length.to_bytes(8, "big")


def encode_compressed_header(opcode: int, length: int) -> bytes:
    """Return the header of one whole compressed message."""
    header = encode_header(opcode, length)
    return bytes((header[0] | RSV1,)) + header[1:]


def encode(opcode: int, payload: bytes) -> bytes:
    """Return one whole unmasked message as a single frame."""
    return encode_header(opcode, len(payload)) + payload


def is_valid_close_code(code: int) -> bool:
    """Say whether ``code`` may stand in a close frame (RFC 6455 7.4, IANA's registry).

    1004 is reserved, 1005, 1006 and 1015 never go on the wire; 1012-1014 came by registration.
    """
    return 3000 <= code <= 4999 or 1000 <= code <= 1003 or 1007 <= code <= 1014


def encode_close(code: int | None, reason: str = "") -> bytes:
    """Return a close frame; ``code`` None makes an empty one.

    Raises:
        ValueError: a code that may not be sent, a reason longer than 123 bytes of UTF-8, or one without a code.
    """
    if code is None:
        if reason:
            raise ValueError("a close reason needs a close code")
        return encode(CLOSE, b"")
    if not is_valid_close_code(code):
        raise ValueError(f"{code} is not a close code that may be sent")
    payload = code.to_bytes(2, "big") + reason.encode()
    if len(payload) > MAX_CONTROL:
        raise ValueError(f"close reason of {len(payload) - 2} bytes, 123 allowed")
    return encode(CLOSE, payload)


def parse_close(payload: bytes) -> tuple[int | None, str]:
    """Return a close frame's code (None when empty) and reason.

    Raises:
        FrameError: 1002 for a payload of one byte or a code that may not be sent.
        InvalidText: 1007 for a reason that is not UTF-8.
    """
    if not payload:
        return None, ""
    if len(payload) == 1:
        raise FrameError("close frame with a payload of one byte")
    code = int.from_bytes(payload[:2], "big")
    if not is_valid_close_code(code):
        raise FrameError(f"close frame with code {code}")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        pass  # raised below: a connection remembers its fault, but not by which frames of the stack it came
    raise InvalidText("close reason is not UTF-8")
