"""``--health-path``: a path by which a proxy or an orchestrator asks a worker whether to send clients to it."""

from __future__ import annotations

from collections.abc import Callable

from uwsgi_ws.request.answers import respond_status
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.steps import Handler

__all__ = ["HealthPath"]


class HealthPath:
    """The step that answers requests for the path; they have no access line.

    Args:
        path: As in PATH_INFO.

    Attributes:
        takes_clients: Tells whether clients should be sent to the worker.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.takes_clients: Callable[[], bool] = lambda: True

    def answer(self, request: Request, otherwise: Handler) -> None:
        """Answer 200, or 503 once no client should come any more; let all other requests pass."""
        if request.environ["PATH_INFO"] != self._path or request.environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            otherwise(request)
            return
        request.log_this = False
        status = 200 if self.takes_clients() else 503
        respond_status(request, status, [("Cache-Control", "no-store")])
