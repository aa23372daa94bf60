"""Leaves its WebSockets to the server, does in their functions what a message orders, and reports what is held."""

import gc
import json
import os
import sys
import threading
import time

import gevent
import greenlet

import uwsgi_ws

ENDS, MARK = [], threading.Event()
KINDS = ("Detached", "Connection", "ThreadConnection", "_BorrowedGreenlet", "StreamRequest", "Http2Request")


def on_message(ws, message):
    if message == "ask":
        ws.send("well?")
        ws.send(f"so {ws.recv()}")
    elif message == "raise":
        raise ValueError("ordered")
    elif message == "exit":
        sys.exit(3)
    elif message == "raise what another end raises":
        raise uwsgi_ws.ConnectionClosed(1001, "another's")
    elif message == "timeout":
        gevent.Timeout(0.01).start()
        ws.recv()
    elif message == "close":
        ws.close(4000, "as ordered")
    elif message == "wait":
        MARK.wait()
        ws.send("waited")
    elif message == "turn":
        ws.detach(lambda ws, message: ws.send(message.upper()), on_close)
        ws.send("turned")
    elif message == "mark":
        MARK.set()
    elif message == "fork":
        child = os.fork()
        if not child:
            return  # it has no part in what comes
        os.waitpid(child, 0)
        ws.send("forked")
    elif message == "spawn":
        gevent.spawn(ws.send, "from a greenlet")
    elif message == "listen":
        with uwsgi_ws.subscribe("silent") as subscription:
            subscription.recv()
    elif message == "never":
        while True:
            time.sleep(60)
    else:
        ws.send(message)


def on_close(ws, end):
    ENDS.append([end.code, end.reason, ws.is_open])
    print("an end in", os.getpid(), flush=True)


def held():
    gc.collect()
    counts = dict.fromkeys((*KINDS, "greenlets"), 0)
    for each in gc.get_objects():
        name = type(each).__name__
        if name in counts:
            counts[name] += 1
        elif isinstance(each, greenlet.greenlet) and not each.dead:
            counts["greenlets"] += 1
    return counts


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path in ("/ends", "/held"):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(ENDS if path == "/ends" else held()).encode()]
    if path == "/publish":
        uwsgi_ws.publish("news", environ["wsgi.input"].read().decode())
        start_response("200 OK", [])
        return []
    ws = uwsgi_ws.accept(environ)
    if path == "/deaf":
        ws.join("news")
        return ws.detach()
    if path == "/failing":
        ws.detach(on_message, on_close)
        raise ValueError("ordered")
    if path == "/mistaken":
        return ws.detach("not a function")  # type: ignore[arg-type]
    if path == "/middle":  # what frameworks make of it does not matter
        ws.detach(on_message, on_close)
        start_response("200 OK", [])
        return iter([b"a response"])
    if path == "/late":
        ws.recv()
    return ws.detach(on_message=on_message, on_close=on_close)
