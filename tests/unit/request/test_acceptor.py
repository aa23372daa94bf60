"""What an application meets when its client is gone before the opening handshake is answered."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from uwsgi_ws.errors import ClientGone
from uwsgi_ws.request.acceptor import Acceptor
from uwsgi_ws.stats import Stats

VARIABLES = {"HTTP_UPGRADE": "websocket", "HTTP_SEC_WEBSOCKET_KEY": "eA==", "REQUEST_METHOD": "GET"}


def test_a_client_that_leaves_during_the_opening_handshake_is_gone_and_no_fault() -> None:
    def upgrade(reason: str, headers: Any) -> Any:
        raise BrokenPipeError(32, "Broken pipe")

    unused: Any = None
    request: Any = SimpleNamespace(
        websocket=None, is_head_written=False, environ={**VARIABLES, "PATH_INFO": "/"}, upgrade=upgrade
    )
    acceptor = Acceptor(SimpleNamespace(compressors=None), unused, unused, Stats())  # type: ignore[arg-type]
    with pytest.raises(ClientGone, match="left before its WebSocket was accepted"):
        acceptor.accept(request, [], None, "Switching Protocols")
