"""Views with WebSockets in a plain WSGI application, which returns whatever it returns."""

import sys

from views import view


class Body:
    closed = 0

    def __init__(self, pieces):
        self.pieces = iter(pieces)

    def __iter__(self):
        return self.pieces

    def close(self):
        Body.closed += 1


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/closed":
        start_response("200 OK", [])
        return [b"%d" % Body.closed]
    if path == "/lazy":
        return lazy(environ, start_response)
    if path == "/before":
        start_response("200 OK", [("Content-Length", "4")])
    view(environ)
    if path == "/fails":
        start_response("500 INTERNAL SERVER ERROR", [("Content-Type", "text/html")])
        return [b"went wrong"]
    if path == "/odd":
        start_response("nothing", None)("no bytes")
        return None
    write = start_response("200 OK", [("Content-Length", "4"), ("Bad Name", "\r\n")])
    write(b"more than four")
    if path == "/exc_info":
        try:
            raise RuntimeError("on purpose")
        except RuntimeError:
            start_response("500 Oops", [], sys.exc_info())
    return Body([b"body", "no bytes", b"body"])


def lazy(environ, start_response):
    view(environ)
    start_response("200 OK", [])
    while True:  # whoever closes ends it
        yield b"piece"
