# python -m uwsgi_ws --http 127.0.0.1:8080 --gevent 100 --wsgi-file examples/typed.py
"""The echo with the project's own API: text comes back as text, binary as binary."""

import uwsgi_ws


def application(environ, start_response):
    ws = uwsgi_ws.accept(environ, subprotocols=["chat.v2"])
    for message in ws:  # str for text, bytes for binary; ends when the peer closes normally
        ws.send(message)
    return []
