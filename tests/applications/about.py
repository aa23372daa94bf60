"""Tells about its process and its environment."""

import json
import os  # noqa: F401  # tests evaluate with it
import sys  # noqa: F401  # the same

import uwsgi


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/chat":
        uwsgi.websocket_handshake()
        while True:
            uwsgi.websocket_send(b"echo " + uwsgi.websocket_recv())
    if path == "/error":
        raise RuntimeError("of a test")
    if path == "/twice":
        body = environ["wsgi.input"]
        first = body.read(3), body.tell()
        body.seek(0)
        answer = [first[0].decode(), first[1], body.read().decode(), body.tell()]
    elif path == "/exec":
        answer = repr(eval(environ["wsgi.input"].read()))
    else:
        answer = {"path": path, "method": environ["REQUEST_METHOD"], "query": environ["QUERY_STRING"]}
    status = "404 Not Found" if path == "/none" else "200 OK"
    body = json.dumps(answer).encode()
    headers = [("Content-Type", "application/json"), ("X-Mine", "yes"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]
