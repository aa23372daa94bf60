"""Responses that do not end by themselves."""

import itertools

PIECES = {"bytes": b"piece", "empty": b"", "text": "text", "object": None, "large": bytes(1 << 16)}
closed = []


class Endless:
    def __init__(self, path, first, piece):
        self.path = path
        self.pieces = itertools.chain(first, itertools.repeat(piece))

    def __iter__(self):
        return self.pieces

    def close(self):
        closed.append(self.path)
        if "close_raises" in self.path:
            raise RuntimeError("in close")


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/closed":
        start_response("200 OK", [])
        return [b"%d" % closed.count(environ["QUERY_STRING"])]
    if path == "/":
        start_response("200 OK", [])
        return [b"here"]
    _, how, piece, length = path.split("/")[:4]
    headers = [] if length == "none" else [("Content-Length", length)]
    write = start_response("204 No Content" if how == "nothing" else "200 OK", headers)
    if how == "write":
        while True:
            try:
                write(PIECES[piece])
            except OSError as exc:
                if "longer" not in str(exc):  # the client is gone
                    raise
                if "stops" in path:
                    return []
    if how == "write_uncaught":
        while True:
            write(PIECES[piece])
    first = [b"first"] if how == "after" else []
    return Endless(path, first, PIECES[piece])
