"""Thousands of WebSockets while the instance reloads; behind the ``long`` marker, ``make long``."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
from support.eventually import eventually
from support.many_clients import ManyClients
from support.workers import APPLICATION, address, hammering

SIZE = 5_000


@pytest.mark.long
@pytest.mark.timeout(300)
def test_five_thousand_clients_are_told_of_a_reload_and_come_back(serve_many: Any) -> None:
    """All get 1012, none 1006, none is refused, in bounded time, while others make requests."""
    options = ["--gevent", "6000", "--listen", "1000", "--websockets-drain-rate", "2000", "-L"]
    server = serve_many(APPLICATION, *options, processes=4)
    with ManyClients(address(server)[1], SIZE, "/chat", talkers=100) as clients:
        eventually(lambda: clients.open == SIZE, 60)
        with hammering(server) as problems:
            came_before = len(clients.opened_at)
            began = time.monotonic()
            os.kill(server.pid, signal.SIGHUP)
            eventually(lambda: sum(clients.codes.values()) >= SIZE, 60)
            took = time.monotonic() - began
            eventually(lambda: clients.open == SIZE, 60)
        back = [moment - began for moment in clients.opened_at[came_before:]]
        per_second = [sum(second <= moment < second + 1 for moment in back) for second in range(int(max(back)) + 1)]
        print(f"{SIZE} closed in {took:.1f} s; reconnects in each second: {per_second}")
        assert clients.codes == {1012: SIZE}
        assert clients.refused == 0
        assert problems == []
        assert took < 30
