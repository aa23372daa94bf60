"""Where a request is sent on to."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["https_url"]

_BEYOND_ASCII = re.compile(r"[^!-~]")


def https_url(variables: Mapping[str, str], port: str) -> str | None:
    """Return the request's own URL with https as its scheme.

    Args:
        variables: The request's CGI variables.
        port: Of the URL; empty for https's own.

    Returns:
        None when the client has not said how it calls this server.
    """
    host = re.sub(r":[0-9]*$", "", variables.get("HTTP_HOST", ""))
    if not host:
        return None
    target = variables["REQUEST_URI"]
    if not target.startswith("/"):  # RFC 9112 3.2: absolute-form, or *
        target = "/" + target.partition("://")[2].partition("/")[2]
    target = _BEYOND_ASCII.sub(lambda match: f"%{ord(match[0]):02X}", target)  # no part of a URL as it is
    return f"https://{host}{f':{port}' if port else ''}{target}"
