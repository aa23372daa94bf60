"""Requests and WebSockets of test_http2: one path for each kind."""

import gevent
import uwsgi

import uwsgi_ws


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if "HTTP_UPGRADE" in environ:
        return WEBSOCKETS[path](environ)
    if path == "/environ":
        body = "".join(f"{key}={value}\n" for key, value in sorted(environ.items()) if isinstance(value, str))
        start_response("200 OK", [("X-Mixed-Case", "yes")])
        return [body.encode()]
    if path == "/length":
        size = 0
        while piece := environ["wsgi.input"].read(65_536):
            size += len(piece)
        start_response("200 OK", [])
        return [b"%d" % size]
    if path == "/pieces":
        start_response("200 OK", [])
        return (b"%d," % n for n in range(5))
    if path == "/large":
        start_response("200 OK", [])
        return (b"%07d" % n * 1_000 for n in range(500))
    if path == "/empty":
        start_response("204 No Content", [])
        return []
    if path == "/short":
        start_response("200 OK", [("Content-Length", "10")])
        return [b"short"]
    if path == "/fails-late":
        start_response("200 OK", [])

        def pieces():
            yield b"x"
            raise RuntimeError("on purpose")

        return pieces()
    if path == "/slow":
        gevent.sleep(0.3)
    start_response("200 OK", [])
    return [b"hello"]


def echo(environ):
    ws = uwsgi_ws.accept(environ, subprotocols=["chat.v2"])
    for message in ws:
        ws.send(message)
    return []


def old(environ):
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())


def deaf(environ):
    ws = uwsgi_ws.accept(environ)
    while ws.is_open:
        gevent.sleep(0.05)
    return []


def waits(environ):
    ws = uwsgi_ws.accept(environ)
    assert ws.recv() == "ready"
    gevent.sleep(0.5)
    while ws.recv() != "done":
        pass
    ws.send("all read")
    ws.close(4001, "enough")
    return []


def talks(environ):
    ws = uwsgi_ws.accept(environ)
    for number in range(64):
        ws.send(b"%07d" % number * 10_000)
    return []


def selects(environ):
    import select

    uwsgi.websocket_handshake()
    fd = uwsgi.connection_fd()
    while True:
        select.select([fd], [], [])
        uwsgi.websocket_send(uwsgi.websocket_recv_nb())


WEBSOCKETS = {"/": echo, "/old": old, "/deaf": deaf, "/waits": waits, "/talks": talks, "/selects": selects}
