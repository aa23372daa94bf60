"""Fan-out on uwsgi_ws: every message of a client goes to all clients."""

import uwsgi_ws

clients = set()


def application(environ, start_response):
    """Serve one client."""
    websocket = uwsgi_ws.accept(environ)
    clients.add(websocket)
    try:
        while True:
            uwsgi_ws.broadcast(clients, websocket.recv())
    except OSError:
        return []
    finally:
        clients.discard(websocket)
