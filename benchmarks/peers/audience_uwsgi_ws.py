"""An audience: every client is in one channel, and whoever posts a message there reaches all of them."""

import uwsgi_ws


def application(environ, start_response):
    """Publish what is posted; have any other client listen, by itself or, at /waiting, in a loop of its own."""
    if environ["REQUEST_METHOD"] == "POST":
        uwsgi_ws.publish("all", environ["wsgi.input"].read().decode())
        start_response("200 OK", [])
        return []
    ws = uwsgi_ws.accept(environ)
    ws.join("all")
    if environ["PATH_INFO"] == "/waiting":
        for message in ws:
            ws.send(message)
        return []
    return ws.detach()
