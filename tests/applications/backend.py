"""What routes lead to: it echoes requests and WebSockets."""

import hashlib

import uwsgi


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if "HTTP_SEC_WEBSOCKET_KEY" in environ:
        uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
        if path == "/ws/flood":
            for _ in range(500):
                uwsgi.websocket_send_binary(bytes(10_000))
            return b""
        while True:
            message = uwsgi.websocket_recv()
            if message == b"environ":
                uwsgi.websocket_send(environ["REMOTE_ADDR"] + " " + environ["HTTP_HOST"] + " " + path)
            elif isinstance(message, bytes) and message[:1] == b"\xff":
                uwsgi.websocket_send_binary(message)
            else:
                uwsgi.websocket_send(message)
    if path == "/bad-head":
        start_response("200 OK", [("Content-Length", "10"), ("X-A", "b")])
        return [b"short"]
    if path == "/nothing":
        start_response("204 No Content", [])
        return []
    if path == "/pieces":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"one ", b"two ", b"three"])
    if path == "/upload":
        size, digest = 0, hashlib.sha256()
        while True:
            piece = environ["wsgi.input"].read(65536)
            if not piece:
                break
            size += len(piece)
            digest.update(piece)
        body = "%d %s" % (size, digest.hexdigest())
    else:
        body = " ".join(
            [
                environ["REQUEST_METHOD"],
                environ["REQUEST_URI"],
                environ["QUERY_STRING"],
                environ["REMOTE_ADDR"],
                environ["HTTP_HOST"],
                environ.get("HTTP_X_FORWARDED_FOR", "-"),
                environ.get("HTTP_X_SECRET", "-"),
                environ.get("UWSGI_APPID", "-"),
            ]
        )
    start_response(
        "418 I'm a teapot" if path == "/teapot" else "200 OK",
        [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
    )
    return [body.encode("latin-1")]
