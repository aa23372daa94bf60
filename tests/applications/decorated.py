"""What ``uwsgidecorators`` makes of functions; evaluates the lines of a body. Under uWSGI as under our server."""

import functools
import os
import time

import uwsgi
import uwsgidecorators
from uwsgidecorators import harakiri, lock, mule, mulefunc, postfork, thread

__all__ = ["os"]

ran = []


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


@postfork
def each():
    """Run in each worker."""
    ran.append(("each", uwsgi.worker_id()))


@postfork(2)
def second():
    ran.append(("second", uwsgi.worker_id()))


@lock
def locked(value, *, other=None):
    return value, other, uwsgi.is_locked()


@lock
def failing():
    raise RuntimeError("of a test")


@thread
def in_thread(value):
    time.sleep(0.01)  # longer than the call: it must not have waited for this
    ran.append(("thread", value))


def threaded(value):
    found = in_thread(value)
    for _ in range(500):
        if ("thread", value) in ran:
            break
        time.sleep(0.01)  # an application's turn of polling, not the test's waiting
    return callable(found), ("thread", value) in ran


@harakiri(1)
def slow(seconds):
    time.sleep(seconds)
    return "done"


@mulefunc
def for_mule(value):
    raise AssertionError("it runs nowhere")


@mule(1)
def in_mule():
    raise AssertionError("it runs nowhere")


spools = [
    raised(functools.partial(getattr(uwsgidecorators, name), print)) for name in ("spool", "spoolraw", "spoolforever")
]
