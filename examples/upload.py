# python -m uwsgi_ws --http 127.0.0.1:8080 --gevent 1000 --wsgi-file examples/upload.py
"""Large files over a WebSocket, with progress, at http://127.0.0.1:8080/.

The page says a file's name and size, then sends it in binary messages; the server answers each with how much has come,
and at the end with the SHA-256 of all, which the page compares with its own. TCP slows a page that sends faster than
the server takes; nothing of the file is kept in memory, nor, here, anywhere else.
"""

import hashlib
import json
from pathlib import Path

import uwsgi_ws

HERE = Path(__file__).parent
FILES = {
    "/": ("upload.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/connection.js": ("connection.js", "text/javascript"),
}
LARGEST = 1 << 30  # bytes of a file


def application(environ, start_response):
    if environ["PATH_INFO"] == "/ws":
        return serve(uwsgi_ws.accept(environ))
    name, kind = FILES.get(environ["PATH_INFO"], (None, "text/plain"))
    start_response("200 OK" if name else "404 Not Found", [("Content-Type", f"{kind}; charset=utf-8")])
    return [(HERE / name).read_bytes() if name else b"Not found\n"]


def serve(ws):
    try:
        for message in ws:
            asked = json.loads(message)
            receive(ws, str(asked["name"]), int(asked["size"]))
    except uwsgi_ws.ConnectionClosed:
        pass  # the page has gone, perhaps in the middle of a file
    except (ValueError, KeyError, TypeError):
        ws.close(1003, "a name and a size were expected")
    return []


def receive(ws, name, size):
    if not 0 <= size <= LARGEST:
        ws.send(json.dumps({"name": name, "error": f"at most {LARGEST >> 20} MiB"}))
        return
    digest, come = hashlib.sha256(), 0
    while come < size:
        piece = ws.recv()
        if not isinstance(piece, bytes) or come + len(piece) > size:
            raise ValueError("more than was announced, or text")
        digest.update(piece)
        come += len(piece)
        ws.send(json.dumps({"name": name, "come": come}))
    ws.send(json.dumps({"name": name, "come": come, "sha256": digest.hexdigest()}))
