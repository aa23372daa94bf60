"""What a request or a WebSocket may cost where a test does not care."""

from __future__ import annotations

from typing import Any

from uwsgi_ws.protocol.http.http1 import Limits
from uwsgi_ws.protocol.websocket.keepalive import KeepalivePolicy
from uwsgi_ws.websocket.live import ConnectionSettings


def make_limits(**changes: Any) -> Limits:
    """Return the limits of a server with default options, but for ``changes``."""
    usual: dict[str, Any] = {"head_size": 65_536, "target_size": 8_192, "body_size": None, "underscores": "drop"}
    return Limits(**{**usual, **changes})


def make_connection_settings(**changes: Any) -> ConnectionSettings:
    """Return settings that bound next to nothing and have nobody pinged, but for ``changes``."""
    usual: dict[str, Any] = {
        "max_message_size": 1_000_000,
        "keepalive": KeepalivePolicy(0, 0),
        "send_timeout": 10.0,
        "max_outbox": 1_000_000,
        "messages_per_second": 0,
        "bytes_per_second": 0,
        "takes_unmasked": False,
        "is_traced": False,
    }
    return ConnectionSettings(**{**usual, **changes})
