"""What a front knows of its client before the client has said anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from uwsgi_ws.protocol.http.http1 import Limits

__all__ = ["Peer", "StreamSettings"]


class Peer(NamedTuple):
    """Both ends of a client's connection, as CGI has them; empty strings for a unix socket's client."""

    remote_address: str
    remote_port: str
    server_name: str
    server_port: str
    scheme: str = "http"

    @property
    def name(self) -> str:
        """What to call the client in the log."""
        return self.remote_address or "unix"

    def variables(self) -> dict[str, str]:
        """Return what CGI says of both ends (RFC 3875 4.1.8 and 4.1.14), in a dict of the caller's own."""
        return {
            "SERVER_NAME": self.server_name,
            "SERVER_PORT": self.server_port,
            "REMOTE_ADDR": self.remote_address,
            "REMOTE_PORT": self.remote_port,
        }


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What a worker's connections have in common.

    Args:
        limits: Of a request.
        head_timeout: Seconds for a whole request head, counted from its first byte or the connection's beginning.
        idle_timeout: Seconds that a kept-alive connection may be idle.
        io_timeout: Seconds without progress while a body comes or a response goes.
        marks_perl: Whether the environ of a request for Perl says so, as uwsgi packets do.
    """

    limits: Limits
    head_timeout: float
    idle_timeout: float
    io_timeout: float
    marks_perl: bool = False
