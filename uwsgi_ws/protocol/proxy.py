"""The PROXY protocol: what a proxy says, before anything else, about the client that it speaks for.

Version 1 is a line of text, version 2 binary. Which one it is shows in its first byte, and that it is neither soon
after: there is no guessing, a connection where the header is expected and missing is refused.

Source: haproxy's doc/proxy-protocol.txt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from uwsgi_ws.errors import PeerError
from uwsgi_ws.protocol.crc32c import crc32c

__all__ = ["ProxyHeader", "is_header", "parse_header"]

_LINE_START: Final = b"PROXY "
_LONGEST_LINE: Final = 107  # section 2.1, CRLF included
_LINE: Final = re.compile(
    r"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
)
_UNKNOWN_LINE: Final = re.compile(r"PROXY UNKNOWN( [^\r\n]*)?\r\n")
_LARGEST_PORT: Final = 65_535

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED_SIZE: Final = 16  # signature, version and command, family, length
#: Bytes after the fixed part; addresses take 216 at most. What is sent beside them are names and certificates' names.
_LARGEST_REST: Final = 4_096
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_ADDRESSES_SIZE: Final = {_TCP4: 12, _TCP6: 36, _UNIX: 216}
_CRC32C: Final = 0x03  # the type of the field that holds the header's checksum
_SSL: Final = 0x20  # the type of the field that tells of TLS, and the bit in it for "the client used it"
_CLIENT_SSL: Final = 0x01


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a PROXY header says.

    Args:
        size: Its bytes; the client's own follow.
        source: Address and port of the client, both empty if it is one of a unix socket; None when the proxy speaks
            for itself, as in a health check, or does not know: then the connection's own address counts.
        is_tls: The client came by TLS; only version 2 can say so.
    """

    size: int
    source: tuple[str, str] | None = None
    is_tls: bool = False


def is_header(data: bytes) -> bool | None:
    """Say whether ``data`` begins with a header, where one is not required; None while too little is there."""
    for start in (_LINE_START, _SIGNATURE):
        if data.startswith(start):
            return True
        if start.startswith(data) and data:
            return None
    return False


def parse_header(data: bytes) -> ProxyHeader | None:
    """Read the header that ``data`` begins with; None when all of ``data`` belongs to it and more is to come.

    Raises:
        PeerError: there is none, or it is malformed.
    """
    if data.startswith(_LINE_START[: len(data)]):
        return _parse_line(data)
    if data.startswith(_SIGNATURE[: len(data)]):
        return _parse_binary(data)
    raise PeerError("a PROXY header is expected here, and did not come")


def _parse_line(data: bytes) -> ProxyHeader | None:
    """Version 1 (section 2.1)."""
    end = data.find(b"\n", 0, _LONGEST_LINE) + 1
    if not end:
        if len(data) >= _LONGEST_LINE:
            raise PeerError("the PROXY line is too long")
        return None
    line = data[:end].decode("latin-1")
    if _UNKNOWN_LINE.fullmatch(line):
        return ProxyHeader(end)
    match = _LINE.fullmatch(line)
    if match is None:
        raise PeerError("the PROXY line is malformed")
    family, source, destination, source_port, destination_port = match.groups()
    address = IPv4Address if family == "TCP4" else IPv6Address
    try:
        client = address(source)
        address(destination)
    except AddressValueError:
        raise PeerError("the PROXY line has an address that is none") from None
    if max(int(source_port), int(destination_port)) > _LARGEST_PORT:
        raise PeerError("the PROXY line has a port that is none")
    return ProxyHeader(end, (str(client), source_port))


def _parse_binary(data: bytes) -> ProxyHeader | None:
    """Version 2 (section 2.2)."""
    if len(data) < _FIXED_SIZE:
        return None
    command, family = data[12], data[13]
    size = _FIXED_SIZE + int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise PeerError("the PROXY header has an unknown version or command")
    if size > _FIXED_SIZE + _LARGEST_REST:
        raise PeerError("the PROXY header is too long")
    if len(data) < size:
        return None
    if command == _LOCAL or family == _UNSPECIFIED:
        return ProxyHeader(size)  # whatever follows is to be skipped
    if family not in _ADDRESSES_SIZE:
        raise PeerError("the PROXY header is about something other than a stream")
    fields = _FIXED_SIZE + _ADDRESSES_SIZE[family]
    if size < fields:
        raise PeerError("the PROXY header is too short for its addresses")
    if family == _TCP4:
        source = (str(IPv4Address(data[16:20])), str(int.from_bytes(data[24:26], "big")))
    elif family == _TCP6:
        source = (str(IPv6Address(data[16:32])), str(int.from_bytes(data[48:50], "big")))
    else:
        source = ("", "")
    return ProxyHeader(size, source, _is_tls(data[:size], fields))


def _is_tls(header: bytes, at: int) -> bool:
    """Walk the fields behind the addresses, each a type, a length and a value; most are of no use here."""
    is_tls = has_checksum = False
    while at < len(header):
        value_at = at + 3
        end = value_at + int.from_bytes(header[at + 1 : value_at], "big")
        if value_at > len(header) or end > len(header):
            raise PeerError("the lengths in the PROXY header do not fit")
        if header[at] == _SSL and end > value_at:
            is_tls = bool(header[value_at] & _CLIENT_SSL)
        elif header[at] == _CRC32C:
            if has_checksum:  # checked one by one they would cost more than a header should
                raise PeerError("the PROXY header has two checksums")
            has_checksum = True
            _check(header, value_at, end)
        at = end
    return is_tls


def _check(header: bytes, begin: int, end: int) -> None:
    """Compare the checksum at ``header[begin:end]`` with that of the header, where zeros stand for it (2.2.4)."""
    blank = header[:begin] + bytes(end - begin) + header[end:]
    if header[begin:end] != crc32c(blank).to_bytes(4, "big"):
        raise PeerError("the checksum in the PROXY header does not fit")
