"""Loops whose client may be gone without a word: one function for each path."""

import gevent
import uwsgi


def echo():
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())


def sleep():
    gevent.sleep(1.2)
    uwsgi.log("awake")
    uwsgi.websocket_send("too late")


def big():
    uwsgi.websocket_send_binary(bytes(12_000_000))
    echo()


def application(environ, start_response):
    uwsgi.websocket_handshake()
    path = environ["PATH_INFO"][1:]
    try:
        {"echo": echo, "sleep": sleep, "big": big}[path]()
    except OSError as exc:
        uwsgi.log(f"{path} ended: {exc}")
    return []
