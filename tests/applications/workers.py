"""``/`` tells the process, ``/chat`` echoes (but tells the process to "who"), ``/eval`` evaluates its body."""

import os
import sys

import gevent
import uwsgi

VERSION = 1
sys.stderr.write("loaded by worker %d\n" % uwsgi.worker_id())


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/chat":
        uwsgi.websocket_handshake()
        try:
            while True:
                message = uwsgi.websocket_recv()
                uwsgi.websocket_send(str(os.getpid()) if message == b"who" else message)
        finally:
            gevent.sleep(0)  # it may still do things that switch
            sys.stderr.write("the application's finally has run\n")
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/eval":
        return [repr(eval(body.decode(), globals(), {"environ": environ})).encode()]
    return [("%d %d" % (os.getpid(), VERSION)).encode()]
