"""WebSockets on a channel: /ignore and /close say what becomes of them at a gap; /fork has a child live on."""

import os
import time

import uwsgi_ws


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fork":
        child = os.fork()
        if child == 0:
            try:
                uwsgi_ws.publish("lobby", "from a copy")
            except uwsgi_ws.InvalidState:
                pass
            time.sleep(60)
            os._exit(0)
        body = b"%d %d" % (child, os.getpid())
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    if path == "/publish":
        began = time.monotonic()
        uwsgi_ws.publish("lobby", "x" * 1000)
        body = b"%.6f" % (time.monotonic() - began)
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    with uwsgi_ws.accept(environ) as ws:
        ws.join("lobby", on_gap=path.removeprefix("/"))
        ws.send("joined")
        for message in ws:
            uwsgi_ws.publish("lobby", message)
    return []
