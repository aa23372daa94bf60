"""The number of the process that answers, for servers that run WSGI applications."""

import os


def application(environ, start_response):
    """Answer with the number."""
    number = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(number)))])
    return [number]
