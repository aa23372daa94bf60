"""Handlers of uWSGI's signals; evaluates the lines of a body. Under uWSGI as under our server."""

import os
import threading
import time

import uwsgi
import uwsgidecorators
from uwsgidecorators import cron, filemon, rbtimer, signal, timer

__all__ = ["os", "threading", "time", "uwsgidecorators"]

FOLDER = os.environ.get("FOLDER", ".")


def note(name, number):
    """Append a line that says which handler ran where."""
    fd = os.open(os.path.join(FOLDER, "notes"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, ("%s %d %d %d\n" % (name, number, uwsgi.worker_id(), os.getpid())).encode())
    os.close(fd)


def noting(name):
    return lambda number: note(name, number)


@timer(1, signum=10)
def every_second(number):
    note("timer", number)


@timer(1, signum=11, target="workers")
def every_second_everywhere(number):
    note("everywhere", number)


@rbtimer(1, signum=12, target="worker1")
def in_the_first(number):
    note("first", number)


@cron(-1, -1, -1, -1, -1, signum=13)
def each_minute(number):
    note("cron", number)


@filemon(os.path.join(FOLDER, "watched"), signum=14)
def on_change(number):
    note("file", number)


@signal(15, target="worker")
def raised_by_hand(number):
    note("hand", number)


@signal(16)
def failing(number):
    note("failing", number)
    raise [RuntimeError("of a test"), SystemExit(3), KeyboardInterrupt()][number % 3]


@signal(17)
def slow(number):
    note("begins", number)
    time.sleep(float(os.environ.get("SLOW", "1")))
    note("ends", number)


@signal(18)
def killed(number):
    note("killed", number)
    os.kill(os.getpid(), 9)


@signal(19)
def forking(number):
    if not os.fork():
        return  # the child must not go on as a worker
    note("forked", number)


@signal(20)
def context(number):
    note("main-thread" if threading.get_native_id() == os.getpid() else "own-thread", number)
    note("request" if hasattr(uwsgi, "env") else "no-request", number)


uwsgi.register_signal(21, "worker2", noting("second"))
uwsgi.register_signal(22, "worker9", noting("ninth"))
uwsgi.add_rb_timer(23, 1, 2)
uwsgi.register_signal(23, "", noting("twice"))


def raised(function, *args):
    try:
        return function(*args)
    except Exception as exc:
        return "%s: %s" % (type(exc).__name__, exc)


def application(environ, start_response):
    lines = environ["wsgi.input"].read().decode().splitlines()
    body = repr([raised(eval, line, globals()) for line in lines]).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
