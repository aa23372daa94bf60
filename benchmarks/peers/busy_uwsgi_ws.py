"""On uwsgi_ws: every client gets back what it sends; what begins with a b goes to the clients of all workers."""

import uwsgi_ws


def application(environ, start_response):
    """Serve one client."""
    websocket = uwsgi_ws.accept(environ)
    websocket.join("room")
    for message in websocket:
        if message.startswith("b"):
            uwsgi_ws.publish("room", message)
        else:
            websocket.send(message)
    return []
