"""Sending lines of the log as datagrams: to syslog, and to whatever else hears at an address.

A receiver that does not read makes nobody wait (``LogOutput``). One that has gone is connected to again with each line,
so that one that comes back gets what follows. What UDP loses on the way nobody is told of.

Source: uWSGI's plugins rsyslog and logsocket; glibc's syslog(3) for the header of ``syslog``, which would wait itself.
"""

from __future__ import annotations

import _socket  # as in ``output``
import errno
import syslog
import time
from collections.abc import Callable

from uwsgi_ws.log.output import LogOutput
from uwsgi_ws.loggers import Logger

__all__ = ["DatagramOutput", "packets_of"]

_LARGEST = 65_507  # bytes, of UDP over IPv4


class DatagramOutput(LogOutput):
    """Datagrams to one receiver.

    Args:
        logger: Where to; the name of a host is looked up now.

    Raises:
        OSError: there is no such host, or no such kind of socket.
    """

    takes_records = True

    def __init__(self, logger: Logger) -> None:
        self._address: object = logger.target
        family: int = _socket.AF_UNIX
        if logger.port:
            family, _, _, _, self._address = _socket.getaddrinfo(logger.target, logger.port, 0, _socket.SOCK_DGRAM)[0]
        sock = _socket.socket(family, _socket.SOCK_DGRAM)
        try:
            super().__init__(sock.fileno(), is_shared=False)
        finally:
            sock.close()

    def _send(self, data: bytes) -> int:
        try:
            return self._send_connected(data)
        except BlockingIOError:
            raise
        except OSError:
            # It is not connected yet, or the receiver has been started anew.
            self._socket.connect(self._address)
        return self._send_connected(data)

    def _send_connected(self, data: bytes) -> int:
        try:
            self._socket.send(data[:_LARGEST], _socket.MSG_DONTWAIT)
        except OSError as exc:
            if exc.errno != errno.EMSGSIZE:
                raise
            # This kernel takes less at once.
            self._socket.send(data[:8192], _socket.MSG_DONTWAIT)
        return len(data)


def packets_of(logger: Logger, largest: int, splits: bool) -> Callable[[bytes], list[bytes]]:
    """Return a function that makes datagrams of a line.

    Args:
        logger: One that this is for.
        largest: Bytes of a packet to rsyslog.
        splits: Whether a line that is too long for one goes in several; else its end is cut off.
    """
    text = logger.text.encode("utf-8", "surrogateescape")
    match logger.kind:
        case "socket":
            return lambda line: [text + line]
        case "syslog":
            return lambda line: [_header(logger.facility | syslog.LOG_INFO, text) + line.removesuffix(b"\n")]
        case "rsyslog":
            text = text or f"{_socket.gethostname()} uwsgi".encode()
            priority = logger.facility | syslog.LOG_NOTICE

            def packets(line: bytes) -> list[bytes]:
                header, line = _header(priority, text), line.removesuffix(b"\n")
                room = max(1, largest - len(header))
                pieces = [line[start : start + room] for start in range(0, len(line) or 1, room)]
                return [header + piece for piece in (pieces if splits else pieces[:1])]

            return packets
        case _:
            raise AssertionError("no other is sent by datagrams")


def _header(priority: int, name: bytes) -> bytes:
    """Source: RFC 3164 4.1."""
    return b"<%d>%s %s: " % (priority, time.ctime()[4:19].encode(), name)
