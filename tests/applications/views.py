"""A view that takes part in a WebSocket, by either API; for the applications of frameworks beside it."""

import uwsgi

import uwsgi_ws


def view(environ):
    if environ["QUERY_STRING"] == "uwsgi":
        uwsgi.websocket_handshake()
        uwsgi.websocket_send(uwsgi.websocket_recv())
    else:
        ws = uwsgi_ws.accept(environ)
        message = ws.recv()
        assert message is not None
        ws.send(message)
