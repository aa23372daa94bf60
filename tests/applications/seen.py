"""Answers with what it sees of a request, as JSON; ``/ws`` echoes where the server has uWSGI's WebSockets."""

import json


def application(environ, start_response):
    if environ["PATH_INFO"] == "/ws" and environ.get("HTTP_UPGRADE", "").lower().count("websocket"):
        return echo()
    length = environ.get("CONTENT_LENGTH")
    source = environ["wsgi.input"]
    # What ends at the end of the body may be read to its end; without a length only then.
    if length:
        body = source.read(int(length))
    else:
        body = source.read() if "HTTP_TRANSFER_ENCODING" in environ or environ.get("wsgi.input_terminated") else b""
    seen = {
        "method": environ["REQUEST_METHOD"],
        "path": environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"],
        "query": environ.get("QUERY_STRING", ""),
        "fields": dict(fields(environ)),
        "body": body.decode("latin-1"),
    }
    content = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
    return [content]


def fields(environ):
    for name, value in environ.items():
        if name.startswith("HTTP_") or (name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value):
            yield name.removeprefix("HTTP_").replace("_", "-").lower(), value


def echo():
    import uwsgi

    uwsgi.websocket_handshake()
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())
