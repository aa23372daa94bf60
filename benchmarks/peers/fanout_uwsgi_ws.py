"""Fan-out on uwsgi_ws: every message of a client goes to all clients."""

import uwsgi_ws

clients = set()


def application(environ, start_response):
    """Serve one client."""
    websocket = uwsgi_ws.accept(environ)
    clients.add(websocket)
    try:
        while True:
            message = websocket.recv()
            for client in tuple(clients):
                client.send(message)
    except OSError:
        return []
    finally:
        clients.discard(websocket)
