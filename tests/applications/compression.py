"""Echoes; ``/plain`` never compressed, ``/all`` to all that are connected."""

from uwsgi_ws import accept, broadcast

connections = set()


def application(environ, start_response):
    path = environ["PATH_INFO"]
    with accept(environ) as ws:
        if path == "/all":
            connections.add(ws)
        try:
            for message in ws:
                if path == "/all":
                    broadcast(connections, message)
                else:
                    ws.send(message, compress=path != "/plain")
        finally:
            connections.discard(ws)
    return []
