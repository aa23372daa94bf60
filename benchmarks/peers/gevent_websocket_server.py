"""gevent-websocket on gevent.pywsgi: `gevent_websocket_server.py echo|fanout|http PORT`."""

import sys

from gevent import pywsgi
from geventwebsocket.handler import WebSocketHandler
from hello import application as hello

clients = set()


def echo(websocket):
    """Send every message back, text as text."""
    while (message := websocket.receive()) is not None:
        websocket.send(message, binary=isinstance(message, (bytes, bytearray)))


def fanout(websocket):
    """Send every message to all clients."""
    clients.add(websocket)
    try:
        while (message := websocket.receive()) is not None:
            for client in tuple(clients):
                client.send(message)
    finally:
        clients.discard(websocket)


def websocket_application(serve):
    """Wrap a function of one WebSocket as a WSGI application."""

    def application(environ, start_response):
        serve(environ["wsgi.websocket"])
        return []

    return application


if __name__ == "__main__":
    mode, address = sys.argv[1], ("127.0.0.1", int(sys.argv[2]))
    if mode == "http":
        server = pywsgi.WSGIServer(address, hello, log=None)
    else:
        application = websocket_application({"echo": echo, "fanout": fanout}[mode])
        server = pywsgi.WSGIServer(address, application, log=None, handler_class=WebSocketHandler)
    server.serve_forever()
