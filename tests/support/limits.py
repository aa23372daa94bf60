"""What a request may cost where a test does not care."""

from __future__ import annotations

from typing import Any

from uwsgi_ws.protocol.http.http1 import Limits


def make_limits(**changes: Any) -> Limits:
    """Return the limits of a server with default options, but for ``changes``."""
    usual: dict[str, Any] = {"head_size": 65_536, "target_size": 8_192, "body_size": None, "underscores": "drop"}
    return Limits(**{**usual, **changes})
