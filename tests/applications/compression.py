"""Echoes; ``/plain`` never compressed, ``/all`` to all that are connected, ``/channel`` by way of a channel."""

import os

from uwsgi_ws import accept, broadcast, publish

connections = set()


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if "HTTP_UPGRADE" not in environ:
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"<!doctype html><title>a page</title>"]
    with accept(environ) as ws:
        if path == "/all":
            connections.add(ws)
        elif path == "/channel":
            ws.join("secrets", since=environ["QUERY_STRING"] or None)
            ws.send(str(os.getpid()))
        try:
            for message in ws:
                if path == "/all":
                    broadcast(connections, message)
                elif path == "/channel":
                    publish("secrets", message, history=10)
                    publish("secrets", message, history=10, compress=False)
                else:
                    ws.send(message, compress=path != "/plain")
        finally:
            connections.discard(ws)
    return []
