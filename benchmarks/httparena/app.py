"""HttpArena's WebSocket profiles: each message comes back, text as text."""

import uwsgi_ws


def application(environ, start_response):
    """Echo on /ws."""
    if environ["PATH_INFO"] != "/ws":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"only /ws is here\n"]
    ws = uwsgi_ws.accept(environ)
    for message in ws:
        ws.send(message)
    return []
