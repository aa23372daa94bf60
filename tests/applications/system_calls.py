"""What a worker is asked for while its system calls fail."""

from __future__ import annotations

import gc

import uwsgi
from greenlet import greenlet

import uwsgi_ws


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/greenlets":
        gc.collect()
        body = str(sum(isinstance(each, greenlet) for each in gc.get_objects())).encode()
    elif path == "/echo":
        uwsgi.websocket_handshake()
        while True:
            uwsgi.websocket_send(uwsgi.websocket_recv())
    elif path == "/room":
        ws = uwsgi_ws.accept(environ)
        ws.join("room")
        ws.send("joined")  # in threads the client may know of its WebSocket before
        for message in ws:
            uwsgi_ws.publish("room", message)
        return []
    else:
        body = environ["wsgi.input"].read() or b"hello"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
