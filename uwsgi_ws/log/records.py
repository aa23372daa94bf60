"""``--log-json``: lines of the log as JSON objects, one a line.

Source: field names are those that log collectors take without being told: ``time``, ``level``, ``logger``, ``message``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone

__all__ = ["record", "text_of"]


def record(level: str, logger: str, message: str, fields: Mapping[str, object] | None = None) -> str:
    """Return a line of the log.

    It is ASCII, and has no control character: nothing that a client sends can end it, or begin another one.

    Args:
        level: ``info``, ``warning``, ``error`` and so on.
        logger: What writes it.
        message: For people.
        fields: What else there is to say; None and empty texts are left out.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    known: dict[str, object] = {"time": now, "level": level, "logger": logger, "pid": os.getpid(), "message": message}
    known.update((name, value) for name, value in (fields or {}).items() if value is not None and value != "")
    return json.dumps(known, separators=(",", ":"))


def text_of(value: object) -> str:
    """Return what a variable of CGI means: its bytes are one character each there, and usually UTF-8."""
    if not isinstance(value, str):
        return ""
    return value.encode("latin-1", "backslashreplace").decode("utf-8", "backslashreplace")
