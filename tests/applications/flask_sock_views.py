"""Views with Flask-Sock, and applications that speak WebSocket by themselves over the client's socket."""

from __future__ import annotations

import base64
import gc
import hashlib
import os
import selectors

import flask
import simple_websocket
from flask_sock import Sock

app = flask.Flask(__name__)
if options := os.environ.get("SOCK_SERVER_OPTIONS"):
    app.config["SOCK_SERVER_OPTIONS"] = flask.json.loads(options)
sock = Sock(app)

told: list[str] = []


@sock.route("/echo")
def echo(ws):
    while True:
        ws.send(ws.receive())


@sock.route("/told")
def tell(ws):
    try:
        while True:
            ws.receive()
    except simple_websocket.ConnectionClosed as exc:
        told.append(f"{int(exc.reason)} {exc.message}")
        raise


@sock.route("/closes")
def closes(ws):
    ws.send(ws.subprotocol or "none")
    ws.close(4000, "that is all")


@sock.route("/talks")
def talks(ws):
    """Returns at once, with much that the client has yet to take."""
    for number in range(100):
        ws.send(f"{number}" * 1_000)


@sock.route("/fails")
def fails(ws):
    raise RuntimeError("on purpose")


@sock.route("/waits")
def waits(ws):
    ws.send(f"{ws.receive(timeout=0.05)}")
    ws.send(f"{ws.sock.getpeername()[0]}")
    ws.send(ws.receive())


@app.route("/")
def index():
    return "\n".join(told)


@app.route("/left")
def left():
    """Descriptors and objects; nothing waits for the collector."""
    gc.disable()
    names = [type(each).__name__ for each in gc.get_objects()]
    objects = sum(names.count(name) for name in ("HandedOver", "ClientSocket", "_FromApplication", "SocketStream"))
    return flask.jsonify(len(os.listdir("/proc/self/fd")), objects)


def head(environ):
    key = environ["HTTP_SEC_WEBSOCKET_KEY"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key).digest()).decode()
    return (
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\nX-Made-By: hand\r\n\r\n"
    ).encode()


def by_hand(environ, start_response):
    """What a library could do: the head in pieces, a frame behind it, and no closing handshake of its own."""
    client = environ["werkzeug.socket"]
    path = environ["PATH_INFO"]
    answer = head(environ)
    if path == "/raw":
        client.setsockopt(6, 1, 1)
        client.sendall(answer[:40])
        client.sendall(answer[40:] + b"\x81\x05")
        client.sendall(b"hello")
        with client.makefile("rb") as file, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            while not selector.select():
                pass
            client.sendall(b"\x82\x06" + file.read(6))
    elif path == "/raw/gunicorn":
        client.sendall(answer + b"\x81\x00")
        raise StopIteration
    elif path == "/raw/half":
        client.sendall(answer + b"\x81\x05he")
    elif path == "/raw/shut":
        client.sendall(answer + b"\x88\x02\x0f\xa0")
        client.close()
    elif path == "/raw/early":
        client.recv(1)
    else:
        client.sendall(path.removeprefix("/raw/").encode() + b"\r\n\r\n")
    return []


def application(environ, start_response):
    if environ["PATH_INFO"].startswith("/raw"):
        return by_hand(environ, start_response)
    return app(environ, start_response)
