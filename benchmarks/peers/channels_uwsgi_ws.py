"""Fan-out over all workers on uwsgi_ws: every message of a client goes to all clients, by a channel."""

import uwsgi_ws


def application(environ, start_response):
    """Serve one client."""
    websocket = uwsgi_ws.accept(environ)
    websocket.join("room")
    try:
        while True:
            uwsgi_ws.publish("room", websocket.recv())
    except OSError:
        return []
