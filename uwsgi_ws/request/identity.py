"""``--request-id``: a name for each request, by which its lines in all logs are found.

A proxy in front may have given it one in X-Request-ID. It is taken if it is short and has no characters that mean
something anywhere; else the request gets a new one.
"""

from __future__ import annotations

import os
import re
from contextvars import ContextVar

from uwsgi_ws.request.base import Request
from uwsgi_ws.request.steps import Handler

__all__ = ["REQUEST_ID", "name_request", "trace_of"]

#: In the environ.
KEY = "HTTP_X_REQUEST_ID"
_VALID = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}")
# W3C Trace Context 3.2: version, trace, parent and flags; all zeros mean nothing.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")

#: That of the request which this greenlet answers.
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


def name_request(request: Request, otherwise: Handler) -> None:
    """Have a request named while it is answered; a step."""
    environ = request.environ
    name = environ.get(KEY, "")
    if not _VALID.fullmatch(name):
        environ[KEY] = name = os.urandom(16).hex()
    REQUEST_ID.set(name)
    otherwise(request)
    REQUEST_ID.set(None)  # after an error the server still has a line to write


def trace_of(traceparent: object) -> str:
    """Return the trace that a ``traceparent`` header names; empty for none, and for one that is malformed."""
    found = _TRACEPARENT.fullmatch(traceparent) if isinstance(traceparent, str) else None
    return found[1] if found else ""
