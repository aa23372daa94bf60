"""Responses of every form, right and wrong, of test_answers_of_applications."""

import ast


class Str(str):
    def __str__(self):
        return "wrong"

    __repr__ = __str__

    def __format__(self, spec):
        return "wrong\r\nX-Injected: yes"

    def lower(self):
        return "wrong"

    def __eq__(self, other):
        return False

    __hash__ = str.__hash__


class Pair(tuple):
    pass


class Headers(list):
    pass


def application(environ, start_response):
    if environ["PATH_INFO"] == "/subclasses":
        pairs = [("Connection", "keep-alive"), ("X-A", "b"), ("Content-Length", "5"), ("Content-Length", "5")]
        start_response(Str("201 Made"), Headers(Pair(map(Str, pair)) for pair in pairs))
        return [type("Bytes", (bytes,), {})(b"hello")]
    status, headers, body = ast.literal_eval(environ["wsgi.input"].read().decode("latin-1"))
    start_response(status, headers)
    return (piece for piece in body)
