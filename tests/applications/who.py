"""``/chat`` echoes, ``/wait`` ends when its body does, and ``/`` tells the process."""

import os
import sys

import gevent
import uwsgi


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/chat":
        uwsgi.websocket_handshake()
        try:
            while True:
                uwsgi.websocket_send(uwsgi.websocket_recv())
        finally:
            gevent.sleep(0)  # it may still do things that switch
            sys.stderr.write("the application's finally has run\n")
    if path == "/stop":
        uwsgi.stop()
    elif path == "/reload":
        uwsgi.reload()
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("%d %s" % (os.getpid(), os.getcwd())).encode()]
