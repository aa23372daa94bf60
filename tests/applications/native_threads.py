"""What only native threads show: blocking calls, locks, and one connection in several threads."""

import socket
import sys
import threading
import time

import uwsgi

import uwsgi_ws

own = threading.local()
gates = {}


def gate(environ):
    return gates.setdefault(environ["QUERY_STRING"], threading.Event())


def facts(environ):
    from gevent import monkey

    return repr(
        [
            socket.socket.__module__,
            time.sleep.__module__,
            monkey.is_module_patched("threading"),
            uwsgi.cores,
            uwsgi.loop,
            uwsgi.opt.get("threads"),
            uwsgi_ws.count("nobody's"),
            threading.current_thread() is not threading.main_thread(),
            len(uwsgi.workers()),
        ]
    )


def local(environ):
    own.visits = getattr(own, "visits", 0) + 1
    return f"{threading.get_ident()} {own.visits}"


def wait(environ):
    uwsgi.log("waits")
    return str(gate(environ).wait(10))


def go(environ):
    gate(environ).set()
    return "gone"


def interval(environ):
    return str(sys.getswitchinterval())


def sleep(environ):
    time.sleep(float(environ["QUERY_STRING"]))
    uwsgi.log("awake")
    return "slept"


def outside(environ):
    # No request is here in a thread of the application's own.
    caught = []

    def look():
        try:
            uwsgi.websocket_recv()
        except SystemError as exc:
            caught.append(str(exc))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return caught[0]


def locked(environ):
    uwsgi.lock()
    try:
        uwsgi.log("has the lock")
        uwsgi.async_sleep(0.2)
        return str(uwsgi.is_locked())
    finally:
        uwsgi.unlock()


def body(environ):
    return str(len(environ["wsgi.input"].read()))


def echo(ws):
    try:
        for message in ws:
            ws.send(message)
    finally:
        uwsgi.log(f"echo is over {ws.close_code}")


def count(environ):
    return str(uwsgi_ws.count("room"))


def room(ws):
    ws.join("room")
    for message in ws:
        if message == "who":
            ws.send(str(uwsgi.worker_id()))
        else:
            uwsgi_ws.publish("room", message)


def busy(ws):
    # Computes or sleeps, and has no time for its client.
    time.sleep(2)


def away(ws):
    # Has read for itself, and then has no time for its client.
    ws.send(ws.recv())
    ws.send(ws.recv())
    time.sleep(1)
    ws.send("back")
    ws.send(ws.recv())


def pair(ws):
    # Two threads receive, and answer.
    other = threading.Thread(target=echo, args=(ws,))
    other.start()
    echo(ws)
    other.join()


def told(ws):
    # One thread receives, the others send.
    def send():
        for number in range(100):
            ws.send("x" * number * 50)

    threads = [threading.Thread(target=send) for _ in range(4)]
    ws.send(ws.recv())
    for thread in threads:
        thread.start()
    assert ws.recv() == "enough"
    for thread in threads:
        thread.join()
    ws.send("all")


def noise(ws):
    # A thread sends; what another one broadcasts meanwhile shares its writes.
    def tell():
        while ws.is_open:
            uwsgi_ws.broadcast([ws], "told")

    teller = threading.Thread(target=tell)
    teller.start()
    try:
        while True:
            ws.send("said")
    finally:
        teller.join()


def crowded(ws):
    # The process has all the descriptors that it may have.
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        ws.send(ws.recv())
        ws.send(ws.recv())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def patient(ws):
    ws.send(ws.recv())
    ws.send(str(ws.recv(timeout=0.05)))
    ws.send(ws.recv(timeout=10))


def flood(ws):
    while True:
        ws.send(bytes(1_000_000))


def application(environ, start_response):
    name = environ["PATH_INFO"][1:]
    if "HTTP_UPGRADE" in environ:
        globals()[name](uwsgi_ws.accept(environ))
        return []
    content = globals()[name](environ).encode()
    start_response("200 OK", [("Content-Length", str(len(content)))])
    return [content]
