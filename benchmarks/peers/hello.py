"""HTTP hello for servers that only run WSGI applications."""

HELLO = b"Hello, world!\n"


def application(environ, start_response):
    """Answer with a greeting."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(HELLO)))])
    return [HELLO]
