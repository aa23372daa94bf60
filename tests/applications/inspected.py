"""WebSockets for ``--inspector`` to show: an echo, and a channel that all have joined."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import uwsgi_ws


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    ws = uwsgi_ws.accept(environ)
    ws.join("room")
    for message in ws:
        if message == "publish":
            uwsgi_ws.publish("room", "to all")
        else:
            ws.send(message)
    return []
