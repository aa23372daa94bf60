"""An echo whose clients take memory, as much as they ask for, until they leave; and what opens descriptors."""

from __future__ import annotations

import os

import uwsgi

kept = []


def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/fill":  # up to a descriptor of this number
        while not kept or kept[-1] < int(query):
            kept.append(os.open("/dev/null", os.O_RDONLY))
    elif "HTTP_SEC_WEBSOCKET_KEY" in environ:
        uwsgi.websocket_handshake()
        mine = bytearray(int(query or 0) << 20)
        mine[::4096] = b"x" * len(mine[::4096])  # each page of it is in use
        while True:
            uwsgi.websocket_send(uwsgi.websocket_recv())
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
