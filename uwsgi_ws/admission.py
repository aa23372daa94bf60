"""Who may come in: judged before any application runs."""

from __future__ import annotations

from uwsgi_ws.errors import HandshakeError
from uwsgi_ws.fronts.base import Request
from uwsgi_ws.protocol import handshake

__all__ = ["Admission"]


class Admission:
    """The worker's policy.

    Args:
        origins: What ``--websockets-origin`` lists; empty lets every Origin in, as uWSGI does.
    """

    def __init__(self, origins: tuple[str, ...] = ()) -> None:
        self._origins = origins

    def judge(self, request: Request) -> None:
        """Let the request pass, or raise.

        A request that asks for a WebSocket must do it right, even where the application would not have looked.

        Raises:
            HandshakeError: 400, 405 or 426 for a malformed opening handshake, 403 for a foreign Origin.
        """
        variables = request.environ
        if not handshake.is_websocket(variables):
            return
        handshake.check_request(variables)
        if self._origins and not handshake.is_origin_allowed(variables, request.scheme, self._origins):
            raise HandshakeError(403, "this Origin may not connect here")
