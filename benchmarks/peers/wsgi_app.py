"""WebSocket echo and HTTP hello on uWSGI's API: the same file runs under uWSGI and under uwsgi_ws."""

import uwsgi

HELLO = b"Hello, world!\n"


def application(environ, start_response):
    """Echo messages on a WebSocket; answer any other request with a greeting."""
    if "HTTP_SEC_WEBSOCKET_KEY" not in environ:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(HELLO)))])
        return [HELLO]
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
    # This API does not say which kind of message came, so the path tells which kind to send.
    send = uwsgi.websocket_send_binary if environ["PATH_INFO"] == "/binary" else uwsgi.websocket_send
    try:
        while True:
            send(uwsgi.websocket_recv())
    except OSError:
        return []
