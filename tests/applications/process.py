"""Evaluates the body of a request."""

import sys

assert "uwsgi" in sys.modules
import gevent  # noqa: E402
import uwsgi  # noqa: E402

at_import = uwsgi.started_on, uwsgi.opt


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(eval(environ["wsgi.input"].read().decode(), globals())).encode()]


def raised(function, *args):
    try:
        return function(*args)
    except Exception as exc:
        return type(exc).__name__, str(exc)


def in_greenlet(function, *args):
    return gevent.spawn(raised, function, *args).get()


def outside(function, *args):
    return gevent.get_hub().threadpool.apply(raised, (function, *args))


def locking():
    seen = [uwsgi.is_locked(), uwsgi.lock(), uwsgi.is_locked()]
    waiter = gevent.spawn(uwsgi.lock)
    gevent.sleep(0)
    seen += [waiter.ready(), uwsgi.unlock()]
    waiter.join(5)
    return [*seen, waiter.ready(), uwsgi.is_locked(), uwsgi.unlock(), uwsgi.is_locked(), uwsgi.unlock()]


def comm():
    with open("/proc/self/comm") as file:
        return file.read()


def connected():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return uwsgi.is_connected(server.fileno())


def logged():
    return uwsgi.log("a line of mine"), uwsgi.log_this_request()
