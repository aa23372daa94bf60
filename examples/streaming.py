# python -m uwsgi_ws --http 127.0.0.1:8080 --gevent 1000 --wsgi-file examples/streaming.py
"""Pictures made by the server, 30 a second, on a canvas at http://127.0.0.1:8080/, each with its latency.

A picture is one binary message: its number and the last latency in milliseconds, four bytes each, then a byte a pixel.
The page says which number it has drawn, and no more than three pictures are ever under way: so a slow network makes
them fewer, never late.
"""

import math
import struct
import time
from pathlib import Path

import uwsgi_ws

HERE = Path(__file__).parent
FILES = {
    "/": ("streaming.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/connection.js": ("connection.js", "text/javascript"),
}

WIDTH, HEIGHT, RATE, UNDER_WAY = 320, 180, 30, 3
WAVE = bytes(round(127.5 + 127.5 * math.sin(2 * math.pi * x / 256)) for x in range(256)) * 4


def application(environ, start_response):
    if environ["PATH_INFO"] == "/ws":
        return stream(uwsgi_ws.accept(environ))
    name, kind = FILES.get(environ["PATH_INFO"], (None, "text/plain"))
    start_response("200 OK" if name else "404 Not Found", [("Content-Type", f"{kind}; charset=utf-8")])
    return [(HERE / name).read_bytes() if name else b"Not found\n"]


def stream(ws):
    ws.send(f"{WIDTH} {HEIGHT}")
    sent = drawn = 0
    left = {}  # when each picture that is under way has left
    latency = 0.0
    due = time.monotonic()
    try:
        while True:
            # Wait for the time of the next picture; longer while too many are under way.
            wait = None if sent - drawn >= UNDER_WAY else max(0, due - time.monotonic())
            message = ws.recv(timeout=wait)
            if message is not None:
                latency = (time.monotonic() - left[int(message)]) * 1000
                left = {number: when for number, when in left.items() if number > int(message)}
                drawn = int(message)
                continue
            sent += 1
            left[sent] = time.monotonic()
            ws.send(struct.pack(">If", sent, latency) + picture(left[sent]))
            due = max(due + 1 / RATE, time.monotonic())
    except uwsgi_ws.ConnectionClosed:
        pass
    except (KeyError, ValueError):
        ws.close(1003, "the number of a picture was expected")
    return []


def picture(seconds):
    """Return a byte for each pixel: waves that run over each other."""
    rows = []
    for y in range(HEIGHT):
        shift = round(60 * math.sin(y / 23 + seconds) + 40 * math.sin(y / 51 - 1.7 * seconds) + 90 * seconds) % 256
        rows.append(WAVE[shift : shift + WIDTH])
    return b"".join(rows)
