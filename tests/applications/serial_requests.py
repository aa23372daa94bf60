"""Tells whether requests run one at a time, and in which thread."""

import asyncio
import queue
import threading
import time

import uwsgi

local = threading.local()  # what a database's connection hangs on, in Django and SQLAlchemy
loaded_in = threading.get_ident()
running = most = 0
is_locking = False
waiting = queue.Queue()  # of messages, from one WebSocket to another


def websocket(path):
    uwsgi.websocket_handshake()
    while True:
        message = uwsgi.websocket_recv()
        if path == "/sleep":
            time.sleep(float(message))
        elif path == "/take":
            message = waiting.get(timeout=20)
        elif path == "/is-locking":
            message = str(is_locking).encode()
        elif path == "/put":
            waiting.put(message)
        elif path == "/lock":
            uwsgi.lock()
            try:
                uwsgi.websocket_send(b"locked")
                uwsgi.websocket_recv()
            finally:
                uwsgi.unlock()
        uwsgi.websocket_send(message)


def application(environ, start_response):
    global running, most
    path = environ["PATH_INFO"]
    if "HTTP_SEC_WEBSOCKET_KEY" in environ and path != "/refused":
        return websocket(path)
    running += 1
    most = max(most, running)
    try:
        body = str(len(environ["wsgi.input"].read())) if path == "/upload" else page(path)
    finally:
        running -= 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]


async def cooperate():
    await asyncio.sleep(0.05)
    return "done"


def page(path):
    global is_locking
    if path == "/asyncio":
        return asyncio.run(cooperate())
    if path == "/most":
        return str(most)
    if path == "/connection":
        if not hasattr(local, "connection"):
            local.connection = object()
        return str(id(local.connection))
    if path == "/here":
        return str(threading.get_ident() == loaded_in)
    if path == "/lock":
        is_locking = True
        uwsgi.lock()
        uwsgi.unlock()
        return "unlocked"
    if path == "/patched":
        from gevent import monkey

        return str(monkey.is_module_patched("threading"))
    if path == "/threads":
        return str(threading.active_count())
    uwsgi.async_sleep(0.05)  # lets the event loop run, where others would come in
    return "page"
