"""The package's own API for applications; ``uwsgi_ws`` itself shows it under its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from uwsgi_ws.errors import HandshakeError
from uwsgi_ws.protocol import handshake
from uwsgi_ws.websocket.connection import Connection
from uwsgi_ws.wsgi.current import current_request
from uwsgi_ws.wsgi.runner import check_head

__all__ = ["accept"]


def accept(
    environ: dict[str, Any],
    *,
    subprotocols: Sequence[str] = (),
    origins: Iterable[str] | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> Connection:
    """Complete the opening handshake of the current request.

    Args:
        environ: What the application was called with.
        subprotocols: Those it speaks, the best first; the first that the client offers is agreed on, if any.
        origins: Only pages of these may connect, such as ``https://example.org``, or ``same`` for the server's own;
            None leaves it to ``--websockets-origin``. Clients that are not browsers send no Origin and pass.
        headers: Further response headers, such as a cookie.

    Returns:
        The open connection. It is closed when the application returns, at the latest.

    Raises:
        HandshakeError: the request does not ask for a WebSocket (426), or its Origin may not (403). Left alone, it
            becomes the response.
        InvalidState: the request has been answered already.
        SystemError: no request is being handled in this greenlet.
    """
    request = current_request()
    if origins is not None and not handshake.is_origin_allowed(environ, environ["wsgi.url_scheme"], tuple(origins)):
        raise HandshakeError(403, "this Origin may not connect here")
    subprotocol = handshake.choose_subprotocol(environ, subprotocols)
    answer = list(headers)
    check_head("101", answer)
    if subprotocol is not None:
        answer.append(("Sec-WebSocket-Protocol", subprotocol))
    assert request.acceptor is not None, "a request that runs an application has an acceptor"
    return request.acceptor.accept(request, answer, subprotocol)
