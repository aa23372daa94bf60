"""What a server has understood of a request, as a header field of the answer, for WSGI and for ASGI.

With ``GARDEN_RECORD`` in the environment it goes to that file as well, a line for each request: behind a proxy not
every answer reaches the one who asked.
"""

import base64
import json
import os

RECORD = os.environ.get("GARDEN_RECORD", "")


def field(method, target, body, mark=""):
    """Return the value of the answer's X-Saw."""
    text = json.dumps([method, target, base64.b64encode(body).decode(), mark])
    if RECORD:
        file = os.open(RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, text.encode() + b"\n")
        os.close(file)
    return base64.b64encode(text.encode()).decode()


def application(environ, start_response):
    """A WSGI application."""
    try:
        body = environ["wsgi.input"].read()
    except Exception:
        start_response("400 Bad Request", [("Content-Length", "0"), ("Connection", "close")])
        return []
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ["PATH_INFO"]
    saw = field(
        environ["REQUEST_METHOD"], target, body, environ.get("HTTP_X_GARDEN_MARK") or environ.get("HTTP_VIA", "")
    )
    start_response("200 OK", [("X-Saw", saw), ("Content-Length", "0")])
    return []


async def asgi(scope, receive, send):
    """An ASGI application."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    target = scope.get("raw_path") or scope["path"].encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    saw = field(scope["method"], target.decode("latin-1"), body).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-saw", saw), (b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
