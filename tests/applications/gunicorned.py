"""What gunicorn serves in tests: ``/chat`` echoes, ``/lobby`` tells what ``/say`` publishes in any worker."""

import os
import socket
import time

import gevent
import uwsgi
from gevent import monkey

import uwsgi_ws

PATCHED = monkey.is_module_patched("socket") and socket.socket.__module__.startswith("gevent")


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path in ("/chat", "/lobby"):
        with uwsgi_ws.accept(environ) as ws:
            if path == "/lobby":
                ws.join("lobby")
            for message in ws:
                ws.send(str(os.getpid()) if message == "who" else message)
        return []
    body = "%d" % os.getpid()
    if path == "/say":
        uwsgi_ws.publish("lobby", environ["QUERY_STRING"])
    elif path == "/count":
        body = "%d" % uwsgi_ws.count("lobby")
    elif path == "/slow":
        gevent.sleep(float(environ["QUERY_STRING"]))
    elif path == "/block":
        end = time.monotonic() + float(environ["QUERY_STRING"])
        while time.monotonic() < end:
            pass
    elif path == "/raise":
        raise RuntimeError("the application's own")
    elif path == "/fork":
        if not os.fork():
            return [b""]
        os.wait()
    elif path == "/eval":
        body = repr(eval(environ["wsgi.input"].read().decode(), globals(), {"environ": environ, "uwsgi": uwsgi}))
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Worker", str(uwsgi.worker_id()))])
    return [body.encode()]
