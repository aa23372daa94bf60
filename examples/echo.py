# python -m uwsgi_ws --http 127.0.0.1:8080 --gevent 100 --wsgi-file examples/echo.py
"""An echo, and a page to try it with at http://127.0.0.1:8080/. Runs on uWSGI as it stands."""

from pathlib import Path

import uwsgi

PAGE = Path(__file__).with_name("echo.html").read_bytes()


def application(environ, start_response):
    if environ["PATH_INFO"] == "/ws" or "HTTP_SEC_WEBSOCKET_KEY" in environ:
        return echo(start_response)
    if environ["PATH_INFO"] == "/":
        return respond(start_response, "200 OK", "text/html", PAGE)
    return respond(start_response, "404 Not Found", "text/plain", b"Not found\n")


def echo(start_response):
    try:
        uwsgi.websocket_handshake()  # takes what it needs from the request's own headers
    except OSError:
        return respond(start_response, "400 Bad Request", "text/plain", b"This address speaks WebSocket\n")
    try:
        while True:
            uwsgi.websocket_send(uwsgi.websocket_recv())
    except OSError:  # the client has gone: that is how the loop ends
        return []


def respond(start_response, status, content_type, body):
    headers = [
        ("Content-Type", f"{content_type}; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-cache"),
    ]
    start_response(status, headers)
    return [body]
