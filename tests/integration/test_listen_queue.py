"""Clients that wait to be accepted: how many may, and what is said when there are more."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from support.http_client import request_bytes
from support.server import Server

APPLICATION = """
import time

def application(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"]))
    start_response("200 OK", [])
    return [b"x"]
"""


@pytest.mark.parametrize("options", [(), ("--master",)], ids=["alone", "master"])
def test_a_full_queue_is_told_once(serve: Callable[..., Server], options: tuple[str, ...]) -> None:
    server = serve(APPLICATION, "--listen", "1", "--gevent", "1", *options)
    with ExitStack() as stack:
        busy = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        busy.sendall(request_bytes("GET", "/?4"))
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", server.port))
        server.wait_for_log(rf"the queue of 127\.0\.0\.1:{server.port} is full: 2 clients wait to be accepted", 10)
        assert busy.recv(100).startswith(b"HTTP/1.1 200")
    assert server.log.count("is full") == 1
