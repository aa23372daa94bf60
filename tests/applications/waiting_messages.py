"""Connections whose application does not read, and what their messages cost meanwhile."""

import ctypes
import json
import time

import uwsgi

import uwsgi_ws


class Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2
AWAKE = set()


def sleep(number):
    while number not in AWAKE:
        time.sleep(0.01)


def blocking(ws):
    count = 0
    while len(ws.recv()) < 4:
        count += 1
    return count


def nothing(ws):
    return 0


def iterating(ws):
    for count, message in enumerate(ws):
        if len(message) == 4:
            return count


def timed(ws):
    count = 0
    while (message := ws.recv(0.5)) is None or len(message) < 4:
        count += message is not None
    return count


def polling(ws):
    count = 0
    while (message := uwsgi.websocket_recv_nb()) == b"" or len(message) < 4:
        if message:
            count += 1
        else:
            time.sleep(0.001)
    return count


def streaming(ws):
    count = 0
    while len("".join(ws.recv_streaming())) < 4:
        count += 1
    return count


def application(environ, start_response):
    path, number = environ["PATH_INFO"][1:].split("/")
    if path in ("memory", "wake"):
        info = mallinfo2()
        AWAKE.add(number)
        body = json.dumps(info.uordblks + info.hblkhd).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    ws = uwsgi_ws.accept(environ)
    ws.recv()
    sleep(number)
    ws.send(str(globals()[path](ws)))
    ws.recv(5)
    return []
