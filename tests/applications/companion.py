#!/usr/bin/env python3
"""A companion for tests, in Python: one function for each path. It runs by itself, as a Go program does."""

import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.companion import Closed, Companion, Request, block, record

if os.environ.get("COMPANION_FAILS"):
    print("uwsgi_ws companion: app.psgi line 3: it does not load", file=sys.stderr)
    sys.exit(int(os.environ["COMPANION_FAILS"]))


def echo(request: Request) -> None:
    log_end(request, lambda: back(request))


def back(request: Request) -> None:
    while True:
        kind, message = request.recv()
        request.send(kind, message)


def log_end(request: Request, run: Callable[[], None]) -> None:
    try:
        run()
    except Closed as closed:
        request.send("G", f"{request.query} ended {closed.code} {closed.reason}".encode())


def close(request: Request) -> None:
    request.recv()
    request.close(4001, "enough")
    request.recv()


def nonblocking(request: Request) -> None:
    while True:
        select.select([request.sock], [], [])
        kind, message = request.recv()
        request.send(kind, message)


def join(request: Request) -> None:
    request.send("J", request.query.encode())
    while True:
        kind, message = request.recv()
        if message == b"leave":
            request.send("L", request.query.encode())
        elif message == b"count":
            request.send("T", str(request.count(request.query)).encode())
        else:
            request.publish(request.query, message, kind, flags=int(message.startswith(b"others")))


def subscribe(request: Request) -> None:
    request.send("I", request.query.encode())
    request.send("T", b"subscribed")
    while True:
        kind, fields = request.expect("T", "D", "M")
        if kind == "M":
            text = f"{fields['channel']} {fields['opcode']} {fields['data']}"
            request.send("T", text.encode("latin-1"))
        elif fields["data"] == "stop":
            request.send("O", request.query.encode())


def ping(request: Request) -> None:
    request.recv()
    request.send("P", (5).to_bytes(8, "big"))
    _, fields = request.expect("P")
    request.send("T", f"{fields['number']} {fields['seconds'] is not None and fields['seconds'] < 5}".encode())
    request.recv()


def die(request: Request) -> None:
    request.recv()
    os.kill(os.getpid(), 9)


def nonsense(request: Request) -> None:
    request.recv()
    request.sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    request.recv()


def fail(request: Request) -> None:
    request.recv()
    raise ValueError("broken on purpose")


def finish(request: Request) -> None:
    request.recv()


def flood(request: Request) -> None:
    """Send far more than a client takes that does not read."""
    request.recv()
    for number in range(200):
        request.send("D", number.to_bytes(4, "big") + bytes(100_000))
        if number == 0:
            request.send("G", b"flooding")
    request.send("G", b"flooded")
    request.recv()


SOCKETS = {each.__name__: each for each in (
    echo, close, nonblocking, join, subscribe, ping, die, nonsense, fail, finish, flood
)}  # fmt: skip


def answer(request: Request) -> None:
    name = request.path[1:]
    if name in SOCKETS:
        offered = request.variables.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "")
        error = request.accept("chat.v2" if "chat.v2" in offered else "", [("X-Worker", os.environ["UWSGI_WS_WORKER"])])
        if error:
            request.respond("400 Bad Request", [], error.encode())
        else:
            SOCKETS[name](request)
    elif name == "body":
        body = request.body()
        headers = [("X-Method", request.variables["REQUEST_METHOD"]), ("Content-Length", str(len(body)))]
        request.respond("200 OK", headers, body)
    elif name == "client":
        request.respond("200 OK", [], f"{request.variables['REMOTE_ADDR']} {request.variables['REMOTE_PORT']}".encode())
    elif name == "pid":
        request.respond("200", [("Content-Type", "text/plain")], str(os.getpid()).encode())
    elif name == "environ":
        request.respond("200 OK", [], repr((request.modifier1, request.variables, dict(os.environ))).encode())
    elif name == "slow":
        time.sleep(float(request.query))  # an application that takes so long
        request.respond("200 OK", [], b"slow")
    elif name == "pieces":
        request.sock.sendall(record("S", block([(":status", "200 OK"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])))
        for piece in (b"one ", b"two ", b"three"):
            request.send("B", piece)
            time.sleep(0.01)  # so that each piece comes for itself
    elif name == "bad-head":
        request.respond("200 OK", [("X", "a\r\nb")])
    elif name == "raise":
        raise ValueError("broken on purpose")
    elif name == "half":
        request.respond("200 OK", [("Content-Length", "100")], b"half")
        request.send("G", b"halfway")
        raise ValueError("broken half-way")
    elif name == "crash":
        os._exit(3)
    elif name == "garbage":
        request.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        request.read()
    elif name == "early-text":
        request.send("T", b"no handshake")
        request.read()
    else:
        request.respond("404 Not Found")


if __name__ == "__main__":
    Companion(answer).serve()
