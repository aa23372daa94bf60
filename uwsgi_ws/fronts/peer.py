"""What a front knows of its client before the client has said anything."""

from __future__ import annotations

from dataclasses import dataclass

from uwsgi_ws.protocol.http.http1 import Limits

__all__ = ["Peer", "StreamSettings"]


@dataclass(frozen=True, slots=True)
class Peer:
    """Both ends of a client's connection, as CGI has them; empty strings for a unix socket's client."""

    remote_address: str
    remote_port: str
    server_name: str
    server_port: str
    scheme: str = "http"


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What a worker's connections have in common.

    Args:
        limits: Of a request.
        head_timeout: Seconds for a whole request head, counted from its first byte or the connection's beginning.
        idle_timeout: Seconds that a kept-alive connection may be idle.
        io_timeout: Seconds without progress while a body comes or a response goes.
    """

    limits: Limits
    head_timeout: float
    idle_timeout: float
    io_timeout: float
