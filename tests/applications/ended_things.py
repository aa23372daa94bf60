"""Reports what the worker holds, without a collection: an object that waits for one counts as held."""

import ctypes
import gc
import json

import uwsgi_ws

gc.disable()
KEPT, ORDERS = [], {}
KINDS = (
    "Connection",
    "ThreadConnection",
    "WebSocket",
    "SocketStream",
    "TlsStream",
    "Http2Stream",
    "Assembler",
    "Outbox",
    "ThreadOutbox",
    "StreamRequest",
    "Http2Request",
    "ThreadRequest",
    "RateLimit",
    "SSLObject",
    "Tunnel",
    "_Way",
    "_FramedWay",
    "Subscription",
    "Wakeup",
    "Http2Front",
    "Engine",
    "H2Stream",
    "StreamWorker",
)


class Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
if mallinfo2:
    mallinfo2.restype = Mallinfo2


def held():
    counts = {}
    for each in gc.get_objects():
        name = type(each).__name__
        if name in KINDS:
            counts[name] = counts.get(name, 0) + 1
    info = mallinfo2() if mallinfo2 else None
    return {"counts": counts, "bytes": info.uordblks + info.hblkhd if info else 0}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/held":
        body = json.dumps(held()).encode()
    elif path.startswith("/order/"):
        _, _, number, order = path.split("/")
        ORDERS[number] = order
        body = b"done"
    elif path == "/forget":
        KEPT.clear()
        body = b"done"
    else:
        _, number, keep = path.split("/")
        ws = uwsgi_ws.accept(environ)
        if keep == "keep":
            KEPT.append(ws)
        ws.join("all")
        return serve(ws, number)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def serve(ws, number):
    while ws.is_open:
        order = ORDERS.pop(number, "")
        if order == "return":
            return []
        if order == "raise":
            raise RuntimeError("ordered")
        if order == "exit":
            raise SystemExit("ordered")
        if order == "abort":
            ws.abort()
        if order == "close":
            ws.close(4000)
        try:
            ws.recv(0.01)
        except uwsgi_ws.ConnectionClosed:
            pass
    return []
