"""``/chat`` echoes, ``/most`` tells how many requests there were at once, and all other paths wait."""

import gevent
import uwsgi

most = 0
present = 0


def application(environ, start_response):
    global most, present
    path = environ["PATH_INFO"]
    if path == "/chat":
        uwsgi.websocket_handshake()
        while True:
            uwsgi.websocket_send(uwsgi.websocket_recv())
    start_response("200 OK", [])
    if path == "/most":
        return [b"%d" % most]
    present += 1
    most = max(most, present)
    if path == "/slow":
        gevent.sleep(0.02)
    present -= 1
    return [b"hello"]
