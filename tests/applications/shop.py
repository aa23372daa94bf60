"""A site for tests of whole configurations: pages, uploads, files and a WebSocket."""

import json
import os

import uwsgi

EDITION = "first"
#: What a page tells of its environ.
TOLD = (
    "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "REMOTE_ADDR", "CONTENT_TYPE",
    "CONTENT_LENGTH", "HTTP_HOST", "HTTP_COOKIE", "HTTP_X_TWICE", "SERVER_PROTOCOL", "wsgi.url_scheme", "wsgi.version",
    "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once", "UWSGI_SCHEME", "HTTPS", "DOCUMENT_ROOT",
)  # fmt: skip


def websocket(environ):
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
    while True:
        message = uwsgi.websocket_recv()
        if message == b"return":
            return []
        uwsgi.websocket_send_binary(message) if message[:1] == b"\0" else uwsgi.websocket_send(b"echo " + message)


def upload(environ):
    """Read the body twice, as it is kept."""
    body = environ["wsgi.input"]
    first = body.read(3)
    body.seek(0)
    return {"first": first.decode(), "lines": [len(line) for line in body.readlines()]}


def process():
    return {
        "env": {name: os.environ.get(name) for name in ("DJANGO_SETTINGS_MODULE", "MODE", "LIST_a", "LIST_b")},
        "numbers": [uwsgi.numproc, uwsgi.cores, uwsgi.buffer_size, uwsgi.worker_id() in (1, 2), len(uwsgi.workers())],
        "opt": {name: repr(uwsgi.opt[name]) for name in ("gevent", "project", "module", "master", "callable")},
        "loop": repr(uwsgi.loop),
        "in its folder": os.path.exists("shop.ini"),
        "under its master": os.getppid() == uwsgi.masterpid(),
    }


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/chat":
        return websocket(environ)
    if path == "/error":
        raise RuntimeError("of a test")
    if path == "/file":
        file = open(os.path.join("static", "large.bin"), "rb")
        start_response("200 OK", [("Content-Type", "application/x-large"), ("Content-Length", "300000")])
        return environ["wsgi.file_wrapper"](file, 8192)
    if path == "/pieces":
        start_response("200 OK", [("Content-Length", "30000")])
        return (b"%05d" % number * 2 for number in range(3000))
    if path == "/nothing":
        start_response("204 No Content", [("X-Mine", "yes")])
        return []
    if path == "/upload":
        answer = upload(environ)
    elif path == "/process":
        answer = process()
    elif path == "/edition":
        answer = EDITION
    elif path == "/pid":
        answer = os.getpid()
    else:
        answer = {name: environ.get(name) or "" for name in TOLD}  # of CGI's, absent and empty mean the same
    status = "404 Not Found" if path == "/none" else "200 OK"
    body = json.dumps(answer).encode()
    headers = [("Content-Type", "application/json"), ("X-Mine", "yes"), ("Content-Length", str(len(body)))]
    start_response(status, [*headers, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    return [body]
