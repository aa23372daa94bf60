"""Echoes, and broadcasts to many clients at once."""

import json
import os

import uwsgi

import uwsgi_ws

clients = set()


def echo(ws):
    for message in ws:
        ws.send(message)


def room(ws):
    for message in ws:
        uwsgi_ws.broadcast(clients, message)


def others(ws):
    for message in ws:
        taken = uwsgi_ws.broadcast(clients, message, exclude=ws)
        ws.send(f"taken by {taken}")


def mixed(ws):
    # Broadcasts and plain sends keep the order of the calls.
    for message in ws:
        uwsgi_ws.broadcast([ws], message + " 1")
        ws.send(message + " 2")
        uwsgi_ws.broadcast([ws], message + " 3")
        uwsgi_ws.broadcast([ws], message + " 4")
        ws.ping(message.encode())
        uwsgi_ws.broadcast([ws], message + " 5")


def flood(ws):
    # Far more than the kernel takes for a client that does not read: how many each got, in kilobytes.
    how = ws.recv()
    payload = b"x" * 65_536
    results = []
    for number in range(400):
        results.append(uwsgi_ws.broadcast(clients, b"%06d" % number + payload, exclude=ws, slow=how))
        uwsgi.suspend()
    ws.send(json.dumps(results))
    ws.recv()


def blocked(ws):
    # Answers one message, and then leaves the worker no moment to write in.
    ws.send(ws.recv())
    second = ws.recv()
    descriptor = os.open(second, os.O_RDONLY)
    ws.send(os.read(descriptor, 10).decode())
    os.close(descriptor)
    ws.recv()


def wrong(ws):
    for arguments in (([ws], 1), ([ws], None)):
        try:
            uwsgi_ws.broadcast(*arguments)
        except TypeError as exc:
            ws.send(str(exc))
    try:
        uwsgi_ws.broadcast([ws], "x", slow="never")  # type: ignore[arg-type]  # what is tried
    except ValueError as exc:
        ws.send(str(exc))
    ws.send(str(uwsgi_ws.broadcast([], "x")))


def count(ws):
    # The handshake is over a moment before a thread's application goes on.
    for _ in ws:
        ws.send(str(len(clients)))


def stay(ws):
    for _ in ws:
        pass


def application(environ, start_response):
    with uwsgi_ws.accept(environ) as ws:
        handler = globals()[environ["PATH_INFO"][1:]]
        member = handler in (room, stay, others)
        if member:
            clients.add(ws)
        try:
            handler(ws)
        finally:
            clients.discard(ws)
    return []
