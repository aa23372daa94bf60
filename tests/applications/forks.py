"""A path is a way to get a child, and the body tells its process id; ``/echo`` echoes, ``/`` tells the process."""

import multiprocessing
import os
import pty
import subprocess
import sys
import threading
import time

import gevent
import uwsgi

import uwsgi_ws

lock = threading.Lock()
children = []  # multiprocessing ends those that nobody knows any more


def library():
    # As libraries do in a child: wait, and use what greenlets share.
    time.sleep(0.001)
    with lock:
        time.sleep(0.001)


os.register_at_fork(before=lambda: time.sleep(0), after_in_child=library)


def live():
    while True:
        with lock:
            time.sleep(0.01)


def forked(environ=None):
    pid = os.fork()
    if not pid:
        live()
    return pid


def with_terminal(environ):
    pid, _terminal = pty.fork()
    if not pid:
        live()
    return pid


def of_multiprocessing(method, **options):
    def way(environ):
        # Another interpreter knows nothing of this file.
        work = (live, ()) if method == "fork" else (time.sleep, (60,))
        child = multiprocessing.get_context(method).Process(target=work[0], args=work[1], **options)
        child.start()
        children.append(child)
        return child.pid

    return way


def of_subprocess(**options):
    def way(environ):
        children.append(subprocess.Popen(["sleep", "60"], **options))
        return children[-1].pid

    return way


def of_a_greenlet(environ):
    return gevent.spawn(forked).get()


def of_a_callback(environ):
    pids = []

    def callback():
        pids.append(os.fork())
        if not pids[0]:
            os.execvp("sleep", ["sleep", "60"])

    gevent.get_hub().loop.run_callback(callback)
    while not pids:
        gevent.sleep(0.001)
    return pids[0]


def that_runs_a_program(environ):
    pid = os.fork()
    if not pid:
        os.execvp("sleep", ["sleep", "60"])
    return pid


LASTING = {
    "os.fork": forked,
    "pty.fork": with_terminal,
    "multiprocessing fork": of_multiprocessing("fork"),
    "multiprocessing daemon": of_multiprocessing("fork", daemon=True),
    "multiprocessing forkserver": of_multiprocessing("forkserver"),
    "multiprocessing spawn": of_multiprocessing("spawn"),
    "subprocess": of_subprocess(),
    "subprocess preexec_fn": of_subprocess(preexec_fn=lambda: None, close_fds=False),
    "subprocess close_fds=False": of_subprocess(close_fds=False),
    "os.posix_spawn": lambda environ: os.posix_spawnp("sleep", ["sleep", "60"], os.environ),
    "exec": that_runs_a_program,
    "greenlet": of_a_greenlet,
    "callback": of_a_callback,
}


def returns(environ):
    return os.fork() or b"a second answer"


def returns_later(environ):
    pid = os.fork()
    if not pid:
        time.sleep(0.05)
    return pid or b"a second answer"


def raises(environ):
    pid = os.fork()
    if not pid:
        1 / 0  # noqa: B018  # the traceback shows this line, in which the name of the error is not to stand
    return pid


def exits(environ):
    pid = os.fork()
    if not pid:
        sys.exit(3)
    return pid


def yields(environ):
    pid = os.fork()
    if not pid:
        yield b"a second answer"
        yield b"and more"
    yield b"%8d" % pid


def greenlet_returns(environ):
    return gevent.spawn(os.fork).get()


def callback_returns(environ):
    pids = []
    gevent.get_hub().loop.run_callback(lambda: pids.append(os.fork()))
    while not pids:
        gevent.sleep(0.001)
    return pids[0]


def talks(environ):
    pid = os.fork()
    if not pid:
        for act in (
            lambda: uwsgi.websocket_send("from a child"),
            lambda: uwsgi.websocket_recv(),
            lambda: uwsgi.disconnect(),
            lambda: environ["wsgi.input"].read(),
            lambda: uwsgi_ws.publish("all", "from a child"),
            lambda: uwsgi_ws.broadcast(list(clients), "from a child"),
        ):
            try:
                act()
            except (OSError, SystemError, uwsgi_ws.InvalidState):
                pass
    return pid or b"a second answer"


WAYS = {
    function.__name__: function
    for function in (returns, returns_later, raises, exits, yields, greenlet_returns, callback_returns, talks)
} | LASTING
clients = set()


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/chat":
        ws = uwsgi_ws.accept(environ)
        clients.add(ws)
        ws.join("all")
        try:
            for message in ws:
                way = message.removeprefix("fork by ") if isinstance(message, str) else message
                ws.send(message if way == message else str(WAYS[way](environ)))
        finally:
            clients.discard(ws)
            uwsgi.log("%d: a client has left" % os.getpid())
        return []
    answer = os.getpid()
    if path == "/fork":
        answer = WAYS[environ["wsgi.input"].read().decode()](environ)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "8")])
    return [b"%8d" % answer] if isinstance(answer, int) else answer
