"""uWSGI's functions: one application for each path. Its threads are greenlets under ``--gevent``."""

import queue
import select
import threading
import time

import gevent
import uwsgi

requests = queue.Queue()


def spawn(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def stranger():
    # Spawned while the module is imported: it belongs to no request.
    while True:
        context, message = requests.get()
        try:
            uwsgi.websocket_send(message)
        except SystemError as exc:
            uwsgi.websocket_send(f"SystemError: {exc}", request_context=context)
        uwsgi.websocket_send_binary(message, request_context=context)


spawn(stranger)


def attempt(function, *arguments):
    try:
        return repr(function(*arguments))
    except Exception as exc:
        kind = "OSError" if isinstance(exc, OSError) else type(exc).__name__
        return f"{kind}: {exc} errno={getattr(exc, 'errno', None)}"


def echo():
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())


def fragile():
    echo_or_end("fragile")


def echo_or_end(name):
    try:
        echo()
    except OSError as exc:
        uwsgi.log(f"{name} ended: {exc}")
        raise


def poll():
    uwsgi.websocket_send(attempt(uwsgi.websocket_recv_nb))
    fd = uwsgi.connection_fd()
    while True:
        select.select([fd], [], [])
        message = uwsgi.websocket_recv_nb()
        if message:
            uwsgi.websocket_send(message)


def mixed():
    # An empty message and none look alike, as in uWSGI.
    while not (message := uwsgi.websocket_recv_nb()):
        time.sleep(0.005)  # an application's turn of polling, not the test's waiting
    uwsgi.websocket_send(message)
    uwsgi.websocket_send(uwsgi.websocket_recv())


def context():
    requests.put((uwsgi.request_context(), uwsgi.websocket_recv()))
    uwsgi.websocket_recv()


def child():
    gevent.spawn(lambda: uwsgi.websocket_send("from a child")).join()
    gevent.spawn(gevent.spawn, uwsgi.websocket_send, "from a grandchild").get().join()


def latch():
    results = [attempt(uwsgi.websocket_recv)]
    for function, *arguments in (
        (uwsgi.websocket_recv,),
        (uwsgi.websocket_recv_nb,),
        (uwsgi.websocket_send, "x"),
        (uwsgi.websocket_send_binary, b"x"),
    ):
        results.append(attempt(function, *arguments))
    uwsgi.log("latched " + "|".join(results))
    uwsgi.log(f"fd {uwsgi.connection_fd() >= 0}")


def types():
    class Text(str):
        pass

    for value in ("é", "é".encode(), Text("t"), "", b""):
        assert uwsgi.websocket_send(value) is None
        assert uwsgi.websocket_send_binary(value) is None
    for value in (bytearray(b"x"), memoryview(b"x"), 1, None):
        for send in (uwsgi.websocket_send, uwsgi.websocket_send_binary):
            assert attempt(send, value).startswith("TypeError: "), value
    uwsgi.websocket_send(attempt(uwsgi.websocket_handshake))
    uwsgi.websocket_send(attempt(uwsgi.websocket_recv, "no context"))


def disconnect():
    uwsgi.websocket_send("now")
    uwsgi.log("disconnect " + repr(uwsgi.disconnect()))
    uwsgi.log("then " + attempt(uwsgi.websocket_send, "x"))


def crowd():
    context = uwsgi.request_context()

    def send(letter):
        for _ in range(5):
            uwsgi.websocket_send_binary(letter * 1_000_000, context)
            uwsgi.websocket_send_binary(letter, context)

    for sender in [spawn(send, letter) for letter in (b"a", b"b", b"c")]:
        sender.join()


def stuck():
    context = uwsgi.request_context()
    senders = []
    for number in range(20):
        senders.append(spawn(uwsgi.websocket_send_binary, bytes([number]) * 1_000_000, context))
        time.sleep(0.005)  # native threads might overtake one another
    uwsgi.log("queued")
    uwsgi.log("heard " + uwsgi.websocket_recv().decode())
    for sender in senders:
        sender.join()
    echo()


def timeout():
    for _ in range(3):
        with gevent.Timeout(0.02, False):  # type: ignore[arg-type]  # False is gevent's word for no exception
            uwsgi.websocket_recv()
    uwsgi.websocket_send("patient")
    echo()


def receivers():
    # Two that receive at once take turns.
    context = uwsgi.request_context()

    def relay():
        try:
            while True:
                uwsgi.websocket_send(uwsgi.websocket_recv(context), context)
        except OSError:
            pass

    for receiver in [spawn(relay), spawn(relay)]:
        receiver.join()


def back():
    return


def fault():
    raise ValueError("a fault of the application's")


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/plain":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [attempt(uwsgi.websocket_handshake).encode() + b"|" + attempt(uwsgi.websocket_recv).encode()]
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
    globals()[path[1:]]()
    return []
