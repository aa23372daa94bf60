"""WebSockets in the views of frameworks, which answer whatever their view returns, behind an opening handshake too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.eventually import eventually
from support.peers import require_module
from support.server import Server
from support.websocket_client import TEXT, RawClient, close_frame

PLAIN = """
import sys

class Body:
    closed = 0
    def __init__(self, pieces):
        self.pieces = iter(pieces)
    def __iter__(self):
        return self.pieces
    def close(self):
        Body.closed += 1

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/closed":
        start_response("200 OK", [])
        return [b"%d" % Body.closed]
    if path == "/lazy":
        return lazy(environ, start_response)
    if path == "/before":
        start_response("200 OK", [("Content-Length", "4")])
    view(environ)
    if path == "/fails":
        start_response("500 INTERNAL SERVER ERROR", [("Content-Type", "text/html")])
        return [b"went wrong"]
    if path == "/odd":
        start_response("nothing", None)("no bytes")
        return None
    write = start_response("200 OK", [("Content-Length", "4"), ("Bad Name", "\\r\\n")])
    write(b"more than four")
    if path == "/exc_info":
        try:
            raise RuntimeError("on purpose")
        except RuntimeError:
            start_response("500 Oops", [], sys.exc_info())
    return Body([b"body", "no bytes", b"body"])

def lazy(environ, start_response):
    view(environ)
    start_response("200 OK", [])
    while True:  # whoever closes ends it
        yield b"piece"
"""

VIEW = """
import uwsgi, uwsgi_ws

def view(environ):
    if environ["QUERY_STRING"] == "uwsgi":
        uwsgi.websocket_handshake()
        uwsgi.websocket_send(uwsgi.websocket_recv())
    else:
        ws = uwsgi_ws.accept(environ)
        ws.send(ws.recv())
"""

FLASK = """
import flask
app = application = flask.Flask(__name__)

@app.route("/<path>", websocket=True)
def answer(path):
    view(flask.request.environ)
    if path == "stream":
        return flask.Response(b"%d" % n for n in range(3))
    if path == "fails":
        raise RuntimeError("on purpose")
    return "" if path == "empty" else "done"
"""

DJANGO = """
import django.core.handlers.wsgi, django.conf, django.http, django.urls

def answer(request, path):
    view(request.environ)
    if path == "stream":
        return django.http.StreamingHttpResponse(b"%d" % n for n in range(3))
    if path == "fails":
        raise RuntimeError("on purpose")
    return django.http.HttpResponse("" if path == "empty" else "done")

urlpatterns = [django.urls.path("<path>", answer)]
django.conf.settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None)
django.setup()
application = django.core.handlers.wsgi.WSGIHandler()
"""

Serve = Callable[..., Server]


def ends_with(server: Server, path: str, code: int, *, closes: bool = False) -> None:
    """The message comes back, then a close frame with ``code`` and nothing else."""
    with RawClient.open(server.port, path) as client:
        client.send_text("hello")
        client.expect(TEXT, b"hello")
        if closes:
            client.send(close_frame(code))
        client.expect_close(code)
        if not closes:
            client.send(close_frame(code))
        client.expect_eof()


@pytest.mark.parametrize("threads", ["--gevent", "--threads"])
@pytest.mark.parametrize("api", ["uwsgi", "typed"])
def test_a_head_and_a_body_behind_a_handshake_are_dropped_quietly(serve: Serve, threads: str, api: str) -> None:
    server = serve(VIEW + PLAIN, threads, "10")
    for path in ("/plain", "/before", "/odd"):
        ends_with(server, f"{path}?{api}", 1000)
    ends_with(server, f"/lazy?{api}", 1000, closes=True)
    ends_with(server, f"/fails?{api}", 1011)
    eventually(lambda: server.log.count("/fails") == 1)
    assert "ERROR" not in server.log
    assert "headers already sent" not in server.log


def test_an_exception_that_start_response_is_told_of_is_raised(serve: Serve) -> None:
    server = serve(VIEW + PLAIN, allow_traceback=True)
    ends_with(server, "/exc_info?uwsgi", 1011)
    server.wait_for_log("RuntimeError: on purpose")


@pytest.mark.parametrize("framework", ["flask", "django"])
@pytest.mark.parametrize("api", ["uwsgi", "typed"])
def test_views_of_frameworks_may_be_websockets(serve: Serve, framework: str, api: str) -> None:
    require_module(framework)
    server = serve(VIEW + (FLASK if framework == "flask" else DJANGO), allow_traceback=True)
    for path in ("empty", "text", "stream"):
        ends_with(server, f"/{path}?{api}", 1000)
    assert "Traceback" not in server.log
    ends_with(server, f"/fails?{api}", 1011)
    assert "headers already sent" not in server.log
