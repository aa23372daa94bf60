"""Evaluates the lines of a body, one after the other; under uWSGI as under our server. ``/chat`` does the same."""

import os
import signal
import time

import uwsgi

at_import = uwsgi.cache_set("at import", "loaded")
__all__ = ["at_import", "os", "signal", "time"]


def count(key, times):
    for _ in range(times):
        uwsgi.cache_inc(key)


def raised(function, *args):
    try:
        return function(*args)
    except Exception as exc:
        return "%s: %s" % (type(exc).__name__, exc)


def answers(body):
    return repr([raised(eval, line, globals()) for line in body.decode().splitlines()]).encode()


def application(environ, start_response):
    if environ["PATH_INFO"] == "/chat":
        uwsgi.websocket_handshake()
        while True:
            uwsgi.websocket_send(answers(uwsgi.websocket_recv()))
    body = answers(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
