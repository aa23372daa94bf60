"""What a soak asks for: answers, an echo, a room, events. Each worker writes down what it holds, twice a second."""

from __future__ import annotations

import gc
import json
import os
import time
from pathlib import Path

import gevent
import uwsgi
from greenlet import greenlet

import uwsgi_ws

SAMPLES = Path(os.environ["SOAK_SAMPLES"])


def sample():
    """Return how much this process holds of what must not grow."""
    gc.collect()
    objects = gc.get_objects()
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return {
        "at": time.monotonic(),
        "rss": pages * os.sysconf("SC_PAGE_SIZE"),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "greenlets": sum(isinstance(each, greenlet) for each in objects),
        "objects": len(objects),
    }


def write_down():
    with open(SAMPLES / f"{os.getpid()}.jsonl", "a", buffering=1) as file:
        while True:
            file.write(json.dumps(sample()) + "\n")
            gevent.sleep(0.5)


def begin():
    gevent.spawn(write_down)


uwsgi.post_fork_hook = begin


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/echo":
        uwsgi.websocket_handshake()
        while True:
            uwsgi.websocket_send(uwsgi.websocket_recv())
    if path == "/room":
        ws = uwsgi_ws.accept(environ)
        ws.join("room")
        for message in ws:
            uwsgi_ws.publish("room", message)
        return []
    if path == "/events":
        return uwsgi_ws.event_stream(environ, start_response, "room")
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
    return [body]
