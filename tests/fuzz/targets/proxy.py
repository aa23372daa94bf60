"""PROXY headers of both versions: what begins one, where it ends, and that no cut changes what it says."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

from fuzz.builds import Build, raised

MEASURED = ("protocol/proxy", "protocol/crc32c")
VECTORS = ("proxy", "bin")
SEEDS = [
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65535\r\n\0",
    b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(">BBH", 0x21, 0x21, 36) + bytes(36) + b"\0",
    b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(">BBH", 0x21, 0x31, 216 + 8) + bytes(216) + b"\x20\0\5\1\0\0\0\0\0",
]

#: Bytes after which every header has shown its end or its fault.
MOST = 16 + 4_096


def prepare(builds: Sequence[Build]) -> Callable[[bytes], None]:
    proxy, errors = builds[0].module("protocol.proxy"), builds[0].module("errors")

    def read(data: bytes) -> Any:
        try:
            return proxy.parse_header(data)
        except errors.PeerError as exc:
            return raised(exc)

    def check(data: bytes) -> None:
        data = data[:-1]
        whole = read(data)
        begins = proxy.is_header(data)
        assert begins is not False or not isinstance(whole, proxy.ProxyHeader)
        assert whole is not None or len(data) < MOST, "more is waited for without end"
        if isinstance(whole, proxy.ProxyHeader):
            size = whole.size
            assert 0 < size <= len(data)
            assert read(data[:size]) == whole, "what is behind it counts"
            if whole.source is not None and whole.source != ("", ""):
                address, port = whole.source
                assert str(ip_address(address)) == address
                assert 0 <= int(port) <= 65_535
                version = ip_address(address).version
                line = f"PROXY TCP{version} {address} {address} {port} {port}\r\n".encode()
                again = read(line)
                assert again.source == whole.source, "it is not what it was"
        else:
            size = len(data)
        for end in {0, 1, 5, 12, 15, 16, 28, size // 2, size - 1} - {-1}:
            if end < size:
                part = read(data[:end])
                assert part is None or part == whole, "a part says something else than all"

    return check
