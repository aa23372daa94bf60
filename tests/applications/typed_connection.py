"""The typed API: one application for each path."""

import threading

import uwsgi

import uwsgi_ws
from uwsgi_ws import ConnectionClosed


def echo(ws):
    try:
        for message in ws:
            ws.send(message)
        uwsgi.log(f"iteration ended with {ws.close_code} {ws.close_reason!r} {ws.is_open}")
    except ConnectionClosed as exc:
        uwsgi.log(f"iteration raised {exc.code} {exc.reason!r} {exc.is_clean} {type(exc.__cause__).__name__}")
        raise


def patient(ws):
    assert ws.recv(timeout=0) is None
    assert ws.recv(timeout=0.02) is None
    ws.send("none")
    ws.send(ws.recv(timeout=10))


def streaming(ws):
    for _ in range(2):
        pieces = []
        for piece in ws.recv_streaming():
            pieces.append(piece)
            ws.send(piece)
        ws.send(f"end {type(pieces[0]).__name__} {sum(map(len, pieces))}")
    ws.send(ws.recv())


def impatient(ws):
    try:
        next(ws.recv_streaming(timeout=0.02))
    except TimeoutError:
        ws.send("late")
    echo(ws)


def taste(ws):
    ws.send(next(ws.recv_streaming()))
    ws.send(ws.recv())


def latency(ws):
    assert ws.latency is None
    ws.ping(b"now")
    ws.recv()
    ws.send(str(ws.latency is not None and 0 <= ws.latency < 10))
    try:
        ws.ping(bytes(126))
    except ValueError:
        ws.send("too long")


def buffers(ws):
    for value in (b"bytes", bytearray(b"array"), memoryview(b"a view")[2:], "text"):
        ws.send(value)
    for value in (1, None, ["x"]):
        try:
            ws.send(value)
        except TypeError:
            ws.send("TypeError")


def bye(ws):
    ws.close(4000, "bye")
    ws.close(1000)
    for attempt in (ws.recv, lambda: ws.recv(timeout=0), lambda: ws.send("x"), ws.ping):
        try:
            attempt()
        except ConnectionClosed as exc:
            uwsgi.log(f"closed {exc.code} {exc.reason}")


def wrong_code(ws):
    for code in (1005, 1006, 1015, 999, 5000):
        try:
            ws.close(code)
        except ValueError:
            ws.send("refused")
    echo(ws)


def block(ws):
    try:
        with ws:
            ws.send("in")
            raise KeyError
    except KeyError:
        ws.close(1000)


def late_close(ws):
    threading.Timer(0.05, ws.close, [4001, "from elsewhere"]).start()
    try:
        ws.recv()
    except ConnectionClosed as exc:
        uwsgi.log(f"woken {exc.code} {exc.reason}")


def flood(ws):
    while True:
        ws.send(bytes(100_000))


def facts(ws):
    ws.send(f"{ws.path} {ws.subprotocol} {ws.is_open} {ws.close_code}")


def application(environ, start_response):
    ws = uwsgi_ws.accept(
        environ, subprotocols=["v2", "v1"], origins=["https://example.org"], headers=[("X-Extra", "1")]
    )
    globals()[environ["PATH_INFO"][1:]](ws)
    return []
